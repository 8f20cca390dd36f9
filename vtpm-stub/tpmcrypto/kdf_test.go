package tpmcrypto

import (
	"bytes"
	"crypto/hmac"
	"hash"
	"io"
	"math/rand"
	"testing"
)

// Computed with OpenSSL 3.0: KBKDF (key aa*32, salt "STORAGE", info
// bb*32 || cc, 640 bits) and SSKDF (key 1234567890 as 32 bytes, info
// "DUPLICATE\0" || aa*32 || bb*32, 384 bits).
func TestKDFAgainstOpenSSL(t *testing.T) {
	u, v := fill(0xaa, 32), fill(0xbb, 32)
	z := append(make([]byte, 28), 0x49, 0x96, 0x02, 0xd2)
	for _, c := range []struct{ alg, a, e string }{
		{"SHA1", "ee44a6212f838c42a0a663efcde33d3f149dab788dc4539dc0757425e55e8d7a39e812b09bd103ccd294f708a7f47b79ee21ecf9a26627a37898417e3b613b245ec982a3cf0d89d72eda8b280691f038",
			"5716361a7dd671c13f7630c65f10b6c753e1dde50f7ffec7f7a20f8d7008436694f8708696c870c3f4219fd0b0cc3c03"},
		{"SHA256", "99c69d3b45cea6bfe57b1e8b90a443426fd6c3ee0f613fcc4e28e194a225e00003d7b01357591b224fe3052647fd23f67bb283dffa175b262897bda8f32799b7a163c05a4b5869fa8d65187c3bf36f1a",
			"df8a027aba2f45587beaad214d8dc6301ff76d8c4a4df1a619979076a7cace57dcfadccff0f5d3dff2182eacd21c6aa1"},
		{"SHA384", "768368339c84b286dda531b0356cafd4b869dcfbf378357f70260753c9deb9aa604fd9d8a7142fa9d372394d8e6146c74f7acbe3dcecf262ee799b572646a48f1647582fc6788d3109b819f2a60884c7",
			"7afc0df148e4f1618d8e5e9d44dcfb7ab2612105d869c9607b0a634d375d311a329eaa70ad53255d8536013d6eb77a4f"},
	} {
		a := named(t, c.alg)
		if got := KDFa(a, u, "STORAGE", v, []byte{0xcc}, 640); !bytes.Equal(got, unhex(t, c.a)) {
			t.Errorf("KDFa %s: %x", c.alg, got)
		}
		// A label that brings its zero byte gets no second one.
		if got := KDFa(a, u, "STORAGE\x00", v, []byte{0xcc}, 640); !bytes.Equal(got, unhex(t, c.a)) {
			t.Errorf("KDFa %s with terminated label: %x", c.alg, got)
		}
		if got := KDFe(a, z, "DUPLICATE", u, v, 384); !bytes.Equal(got, unhex(t, c.e)) {
			t.Errorf("KDFe %s: %x", c.alg, got)
		}
	}
}

// Bits that are no multiple of 8 are masked off the first byte, not shifted.
func TestKDFOddBits(t *testing.T) {
	for _, bits := range []int{0, 1, 7, 8, 9, 521, 528, 8192} {
		a := KDFa(AlgSHA256, []byte("k"), "L", nil, nil, bits)
		e := KDFe(AlgSHA256, []byte("z"), "L", nil, nil, bits)
		for _, out := range [][]byte{a, e} {
			if len(out) != (bits+7)/8 {
				t.Fatalf("%d bits: %d bytes", bits, len(out))
			}
			if r := bits % 8; r != 0 && out[0]>>r != 0 {
				t.Fatalf("%d bits: first byte %#x", bits, out[0])
			}
		}
		// KDFe does not depend on the length, so only the mask differs.
		full := KDFe(AlgSHA256, []byte("z"), "L", nil, nil, (bits+7)/8*8)
		if len(e) > 1 && !bytes.Equal(e[1:], full[1:]) {
			t.Fatalf("%d bits: shifted", bits)
		}
	}
}

func TestXORObfuscate(t *testing.T) {
	for _, n := range []int{0, 1, 31, 32, 33, 1000} {
		data := make([]byte, n)
		XORObfuscate(AlgSHA256, data, []byte("key"), []byte("nu"), []byte("nv"))
		if !bytes.Equal(data, KDFa(AlgSHA256, []byte("key"), "XOR", []byte("nu"), []byte("nv"), n*8)) {
			t.Errorf("%d bytes: mask differs from KDFa", n)
		}
	}
}

// CAVP HMAC_DRBG.rsp, [SHA-256], no reseed, COUNT = 0: the answer is the
// second block of 1024 bits.
func TestDRBGVector(t *testing.T) {
	d := newDRBG(AlgSHA256,
		unhex(t, "ca851911349384bffe89de1cbdc46e6831e44d34a4fb935ee285dd14b71a7488"),
		unhex(t, "659ba96c601dc69fc902940805ec0ca8"), nil)
	out := make([]byte, 128)
	d.Read(out)
	d.Read(out)
	want := "e528e9abf2dece54d47c7e75e5fe302149f817ea9fb4bee6f4199697d04d5b89d54fbb978a15b5c443c9ec21036d2460b6f73ebad0dc2aba6e624abf07745bc107694bb7547bb0995f70de25d6b29e2d3011bb19d27676c07162c8b5ccde0668961df86803482cb37ed6d5c0bb8d50cf1f50d476aa0458bdaba806f48be9dcb8"
	if !bytes.Equal(out, unhex(t, want)) {
		t.Fatalf("%x", out)
	}
}

func TestDRBGSeparation(t *testing.T) {
	first := func(d *DRBG) string {
		b := make([]byte, 32)
		d.Read(b)
		return string(b)
	}
	seen := map[string]string{}
	add := func(name string, d *DRBG) {
		v := first(d)
		if old, ok := seen[v]; ok {
			t.Errorf("%s and %s give the same bytes", name, old)
		}
		seen[v] = name
	}
	add("base", PrimaryDRBG([]byte("seed"), []byte("tmpl"), "use"))
	add("seed", PrimaryDRBG([]byte("seeD"), []byte("tmpl"), "use"))
	add("template", PrimaryDRBG([]byte("seed"), []byte("tmpL"), "use"))
	add("use", PrimaryDRBG([]byte("seed"), []byte("tmpl"), "usE"))
	r := PrimaryDRBG([]byte("seed"), []byte("tmpl"), "use")
	r.Reseed([]byte("proof"), nil)
	add("reseeded", r)
	if first(PrimaryDRBG([]byte("seed"), []byte("tmpl"), "use")) == "" || len(seen) != 5 {
		t.Fatal(len(seen))
	}
	if _, ok := seen[first(PrimaryDRBG([]byte("seed"), []byte("tmpl"), "use"))]; !ok {
		t.Error("not deterministic")
	}
}

// Whatever the sizes of the reads, the bytes are those of one long KDFa.
func TestKDFSource(t *testing.T) {
	want := KDFa(AlgSHA384, []byte("sensitive"), "label", []byte("context"), nil, 8192)
	rnd := rand.New(rand.NewSource(6))
	for range 20 {
		s := NewKDFSource(AlgSHA384, []byte("sensitive"), []byte("label"), []byte("context"))
		var got []byte
		for len(got) < 1024 {
			b := make([]byte, min(1+rnd.Intn(100), 1024-len(got)))
			if _, err := io.ReadFull(s, b); err != nil {
				t.Fatal(err)
			}
			got = append(got, b...)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("bytes were skipped or repeated")
		}
		if n, err := s.Read(make([]byte, 1)); n != 0 || err != ErrExhausted {
			t.Fatal(n, err)
		}
	}
}

// HMAC against the standard library for keys around the block size.
func TestHMACAgainstStd(t *testing.T) {
	var s Hasher
	for _, a := range Hashes() {
		for _, n := range []int{0, 1, a.BlockSize() - 1, a.BlockSize(), a.BlockSize() + 1, 300} {
			key := fill(0x5e, n)
			m := hmac.New(func() hash.Hash { return NewHash(a) }, key)
			m.Write([]byte("message"))
			if want := m.Sum(nil); !bytes.Equal(s.HMAC(a, nil, key, []byte("mess"), []byte("age")), want) {
				t.Errorf("%#x, key of %d bytes", a, n)
			}
		}
	}
}

func TestHasherAllocs(t *testing.T) {
	var s Hasher
	dst, key, msg := make([]byte, 0, 64), make([]byte, 32), make([]byte, 100)
	digest := make([]byte, 32)
	s.HMAC(AlgSHA256, dst, key, msg)
	if n := testing.AllocsPerRun(100, func() {
		s.Sum(AlgSHA256, dst, msg, key)
		s.HMAC(AlgSHA256, dst, key, msg)
		s.Extend(AlgSHA256, digest, msg)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// spongeStates returns saved states of every sponge that no Sequence saves: one
// that was read from, one whose place is the end of the block, and one with more
// behind it.
func spongeStates(t testing.TB) (states [][]byte) {
	for _, a := range []Alg{AlgSHA3_256, AlgSHA3_384, AlgSHA3_512, AlgSHAKE256_512} {
		s := newSHAKESequence()
		block := 136
		if a != AlgSHAKE256_512 {
			s, _ = NewHashSequence(a)
			block = a.BlockSize()
		}
		b, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		read, full := bytes.Clone(b), bytes.Clone(b)
		read[len(b)-1] = 1
		full[len(b)-2] = byte(block)
		states = append(states, read, full, append(bytes.Clone(read), 0, 0))
	}
	return states
}

func TestUnmarshalSequenceSponge(t *testing.T) {
	for _, b := range spongeStates(t) {
		if _, err := UnmarshalSequence(b); err != ErrSize {
			t.Errorf("%x with place and direction %d: %v", b[:2], b[len(b)-2:], err)
		}
	}
}

func FuzzUnmarshalSequence(f *testing.F) {
	h, _ := NewHashSequence(AlgSHA256)
	m, _ := NewHMACSequence(AlgSHA3_512, []byte("key"))
	for _, s := range []*Sequence{h, m} {
		s.Write([]byte("data"))
		b, _ := s.MarshalBinary()
		f.Add(b)
	}
	f.Add([]byte{})
	f.Add([]byte{0, 11, 64})
	for _, b := range spongeStates(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := UnmarshalSequence(b)
		if err != nil {
			return
		}
		s.Write([]byte("more"))
		size := s.Alg().DigestSize()
		if s.Alg() == AlgSHAKE256_512 {
			size = 64
		}
		if len(s.Sum(nil)) != size {
			t.Fatal("digest size")
		}
		again, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		r, err := UnmarshalSequence(again)
		if err != nil || !bytes.Equal(r.Sum(nil), s.Sum(nil)) {
			t.Fatal("state changes when saved", err)
		}
	})
}

// The way for many blocks gives what HMAC gives block by block, for each hash.
func TestDRBGFill(t *testing.T) {
	for _, a := range Hashes() {
		for _, n := range []int{1, a.DigestSize(), 2*a.DigestSize() + 1, 300, 512, 1000} {
			one, many := newDRBG(a, []byte("entropy"), nil, nil), newDRBG(a, []byte("entropy"), nil, nil)
			x, y := make([]byte, n), make([]byte, n)
			one.step(x)
			many.fill(y)
			if !bytes.Equal(x, y) || !bytes.Equal(one.v, many.v) {
				t.Errorf("%#x: %d octets differ", a, n)
			}
			if many.inner != [stateSize]byte{} || many.outer != [stateSize]byte{} {
				t.Errorf("%#x: the key's state stays in memory", a)
			}
		}
	}
}
