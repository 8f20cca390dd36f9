package drbg

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 8439 section 2.3.2.
func TestChaCha20Block(t *testing.T) {
	var key [8]uint32
	k := unhex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	for i := range key {
		key[i] = le32(k[4*i:])
	}
	n := unhex(t, "000000090000004a00000000")
	var out [16]uint32
	chacha20(&out, &key, 1, [3]uint32{le32(n), le32(n[4:]), le32(n[8:])})
	got := make([]byte, 64)
	if rest := put(got, out[:]); len(rest) != 0 {
		t.Fatalf("%d bytes not written", len(rest))
	}
	want := unhex(t, "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"+
		"d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e")
	if !bytes.Equal(got, want) {
		t.Errorf("block = %x, want %x", got, want)
	}
}

func seeded(b byte) *DRBG {
	d := new(DRBG)
	var seed [SeedSize]byte
	for i := range seed {
		seed[i] = b + byte(i)
	}
	d.Mix(&seed)
	return d
}

// The state of RFC 8439's appendix A.1 test vector 1 is key 0, counter 0: its
// first half is the state after an all-zero Mix, its second half is output.
func TestKeyErasure(t *testing.T) {
	d := new(DRBG)
	out := make([]byte, 100)
	d.Read(out)
	block0 := unhex(t, "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"+
		"da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586")
	block1 := unhex(t, "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"+
		"29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f")
	want := append(append([]byte{}, block0[32:]...), block1...)
	want = want[:96]
	if !bytes.Equal(out[:96], want) {
		t.Errorf("output = %x, want %x", out[:96], want)
	}
	for i, w := range d.key {
		if w != le32(block0[4*i:]) {
			t.Fatalf("key word %d is %#x: not the first half of block 0", i, w)
		}
	}
}

func TestReadLengths(t *testing.T) {
	for _, n := range []int{0, 1, 31, 32, 33, 95, 96, 97, 4096, 10000} {
		long := make([]byte, n+1)
		seeded(1).Read(long)
		short := make([]byte, n)
		seeded(1).Read(short)
		if !bytes.Equal(short, long[:n]) {
			t.Errorf("%d bytes are not a prefix of %d bytes", n, n+1)
		}
	}
}

func TestOutputsDiffer(t *testing.T) {
	seen := map[string]string{}
	add := func(name string, d *DRBG) {
		out := make([]byte, 32)
		d.Read(out)
		if other := seen[string(out)]; other != "" {
			t.Errorf("%s repeats %s", name, other)
		}
		seen[string(out)] = name
	}
	d := seeded(1)
	add("first", d)
	add("second", d)
	d.Mix(&[SeedSize]byte{})
	add("after mixing zeros", d)
	add("other seed", seeded(2))
	twice := seeded(1)
	twice.Mix(&[SeedSize]byte{1})
	add("mixed before the first read", twice)
}

func TestNoAllocation(t *testing.T) {
	d, b := seeded(1), make([]byte, 500)
	if n := testing.AllocsPerRun(100, func() { d.Read(b) }); n != 0 {
		t.Errorf("Read allocates %v times", n)
	}
	var seed [SeedSize]byte
	if n := testing.AllocsPerRun(100, func() { d.Mix(&seed) }); n != 0 {
		t.Errorf("Mix allocates %v times", n)
	}
}
