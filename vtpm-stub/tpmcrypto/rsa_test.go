package tpmcrypto

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"math/big"
	"testing"
)

// testKey is made once per bit size from a fixed source.
func testKey(t testing.TB, bits int) *RSAPrivateKey {
	t.Helper()
	k, err := GenerateRSA(bits, 0, PrimaryDRBG([]byte("test key"), []byte{byte(bits >> 8)}, "test"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestGenerateRSA(t *testing.T) {
	sizes := []int{1024, 2048}
	if !testing.Short() {
		sizes = append(sizes, 3072, 4096)
	}
	for _, bits := range sizes {
		k := testKey(t, bits)
		if bits <= 2048 && !bytes.Equal(k.Public().Modulus(), testKey(t, bits).Public().Modulus()) {
			t.Fatalf("%d: the same bytes gave another key", bits)
		}
		p := new(big.Int).SetBytes(k.Prime())
		n := new(big.Int).SetBytes(k.Public().Modulus())
		q, rem := new(big.Int).QuoRem(n, p, new(big.Int))
		if rem.Sign() != 0 || n.BitLen() != bits || !p.ProbablyPrime(20) || !q.ProbablyPrime(20) {
			t.Fatalf("%d: not a product of two primes of the right size", bits)
		}
		// 186-5 A.1.3: both factors at least sqrt(2) 2^(k-1), that is p^2 >= 2^(2k-1).
		for _, f := range []*big.Int{p, q} {
			if new(big.Int).Mul(f, f).BitLen() != bits {
				t.Errorf("%d: a factor is below the range", bits)
			}
		}
		if d := new(big.Int).Sub(p, q); d.BitLen() <= bits/2-100 {
			t.Errorf("%d: factors too close", bits)
		}
		loaded, err := NewRSAPrivateKey(k.Public().Modulus(), 0, k.Prime())
		if err != nil {
			t.Fatal(err)
		}
		// The other prime serves as well.
		other, err := NewRSAPrivateKey(k.Public().Modulus(), 0, q.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		m := append([]byte{0}, fill(0x77, bits/8-1)...)
		c, err := k.Public().RawEncrypt(m)
		if err != nil {
			t.Fatal(err)
		}
		want := new(big.Int).Exp(new(big.Int).SetBytes(m), big.NewInt(65537), n)
		if !bytes.Equal(c, want.FillBytes(make([]byte, bits/8))) {
			t.Fatalf("%d: RSAEP differs from math/big", bits)
		}
		for _, x := range []*RSAPrivateKey{k, loaded, other} {
			if got, err := x.RawDecrypt(c); err != nil || !bytes.Equal(got, m) {
				t.Fatalf("%d: RSADP: %v", bits, err)
			}
		}
	}
}

func TestGenerateRSAExponents(t *testing.T) {
	for _, e := range []uint32{3, 17, 65539, 0x7fffffff} {
		k, err := GenerateRSA(1024, e, rand.Reader, nil)
		if err != nil || k.Public().Exponent() != int(e) {
			t.Fatalf("e = %d: %v", e, err)
		}
		if _, err := NewRSAPrivateKey(k.Public().Modulus(), e, k.Prime()); err != nil {
			t.Fatalf("e = %d: %v", e, err)
		}
	}
	for _, e := range []uint32{1, 2, 4, 65536, 0x80000001, 0xffffffff} {
		if _, err := GenerateRSA(1024, e, rand.Reader, nil); err != ErrExponent {
			t.Errorf("e = %d: %v", e, err)
		}
	}
	for _, bits := range []int{0, 512, 1023, 2047, 2056, 8192} {
		if _, err := GenerateRSA(bits, 0, rand.Reader, nil); err != ErrKeySize {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}

func TestGenerateRSACancel(t *testing.T) {
	calls := 0
	_, err := GenerateRSA(2048, 0, rand.Reader, func() bool { calls++; return calls == 3 })
	if err != ErrCanceled || calls != 3 {
		t.Fatalf("%v after %d calls", err, calls)
	}
}

// A source that never gives a prime must end the search with an error.
func TestGenerateRSABrokenSource(t *testing.T) {
	if _, err := GenerateRSA(1024, 0, constReader(0xff), nil); !errors.Is(err, ErrExhausted) {
		t.Errorf("constant source: %v", err)
	}
	if _, err := GenerateRSA(1024, 0, constReader(0), nil); !errors.Is(err, ErrExhausted) {
		t.Errorf("zero source: %v", err)
	}
	if _, err := GenerateRSA(1024, 0, bytes.NewReader(make([]byte, 63)), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short source: %v", err)
	}
}

type constReader byte

func (c constReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

func TestNewRSAPrivateKeyRefusals(t *testing.T) {
	k := testKey(t, 1024)
	n, p := k.Public().Modulus(), k.Prime()
	flip := func(b []byte, i int, m byte) []byte {
		c := bytes.Clone(b)
		c[i] ^= m
		return c
	}
	one := append(make([]byte, len(p)-1), 1)
	for name, c := range map[string]struct {
		n, p []byte
		e    uint32
	}{
		"another prime":   {n, flip(p, 5, 4), 0},
		"even prime":      {n, flip(p, len(p)-1, 1), 0},
		"prime one":       {n, one, 0},
		"prime is n":      {n, n, 0},
		"empty prime":     {n, nil, 0},
		"short prime":     {n, p[1:], 0},
		"even modulus":    {flip(n, len(n)-1, 1), p, 0},
		"small modulus":   {flip(n, 0, 0x80), p, 0},
		"odd size":        {n[1:], p, 0},
		"empty":           {nil, nil, 0},
		"even exponent":   {n, p, 65536},
		"square":          {new(big.Int).Mul(new(big.Int).SetBytes(p), new(big.Int).SetBytes(p)).FillBytes(make([]byte, len(n))), p, 0},
		"exponent shares": {n, p, 1},
	} {
		if _, err := NewRSAPrivateKey(c.n, c.e, c.p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRSASchemes(t *testing.T) {
	for _, bits := range []int{1024, 2048} {
		k := testKey(t, bits)
		pub, err := NewRSAPublicKey(k.Public().Modulus(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range Hashes() {
			digest := Sum(h, []byte("message"))
			sig, err := k.SignPKCS1(h, digest)
			if err != nil || pub.VerifyPKCS1(h, digest, sig) != nil {
				t.Errorf("%d %#x PKCS1: %v", bits, h, err)
			}
			sig, err = k.SignPSS(h, digest)
			// 1024 bits leave no room for SHA-512 twice: 128 - 64 - 2 = 62.
			if err != nil || pub.VerifyPSS(h, digest, sig) != nil {
				t.Errorf("%d %#x PSS: %v", bits, h, err)
			}
			if err == nil && pub.VerifyPKCS1(h, digest, sig) != ErrSignature {
				t.Errorf("%d %#x: PSS signature passes as PKCS1", bits, h)
			}
			if _, err := k.SignPKCS1(h, digest[1:]); err != ErrSize {
				t.Errorf("%#x: short digest: %v", h, err)
			}
			max := pub.MaxOAEPMessage(h)
			if max < 0 {
				if _, err := pub.EncryptOAEP(h, nil, nil); err != ErrSize {
					t.Errorf("%#x: OAEP without room: %v", h, err)
				}
				continue
			}
			for _, n := range []int{0, 1, max} {
				c, err := pub.EncryptOAEP(h, []byte("SECRET\x00"), fill(9, n))
				if err != nil {
					t.Fatal(err)
				}
				if m, err := k.DecryptOAEP(h, []byte("SECRET\x00"), c); err != nil || !bytes.Equal(m, fill(9, n)) {
					t.Errorf("%#x OAEP %d: %v", h, n, err)
				}
				if _, err := k.DecryptOAEP(h, []byte("IDENTITY\x00"), c); err != ErrDecrypt {
					t.Errorf("%#x OAEP label: %v", h, err)
				}
			}
			if _, err := pub.EncryptOAEP(h, nil, make([]byte, max+1)); err != ErrSize {
				t.Errorf("%#x OAEP too long: %v", h, err)
			}
		}
		c, err := pub.EncryptPKCS1([]byte("abc"))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := k.DecryptPKCS1(c); err != nil || string(m) != "abc" {
			t.Error(m, err)
		}
		if _, err := pub.EncryptPKCS1(make([]byte, bits/8-10)); err != ErrSize {
			t.Error("PKCS1 too long", err)
		}
		if _, err := k.DecryptPKCS1(c[1:]); err != ErrSize {
			t.Error("short ciphertext", err)
		}
		for _, c := range [][]byte{fill(0xff, bits/8), pub.Modulus()} {
			if _, err := k.RawDecrypt(c); err != ErrValue {
				t.Error("value above the modulus", err)
			}
			if _, err := pub.RawEncrypt(c); err != ErrValue {
				t.Error("value above the modulus", err)
			}
		}
	}
}

// Signatures are those of crypto/rsa, and both take the same ones.
func TestPKCS1AgainstStd(t *testing.T) {
	for _, bits := range []int{1024, 2048} {
		k := testKey(t, bits)
		for _, h := range Hashes() {
			digest := Sum(h, []byte("message"))
			std, err := rsa.SignPKCS1v15(nil, k.std, h.CryptoHash(), digest)
			if err != nil {
				t.Fatal(err)
			}
			if own, err := k.SignPKCS1(h, digest); err != nil || !bytes.Equal(own, std) {
				t.Errorf("%d %#x: %v\n%x, want\n%x", bits, h, err, own, std)
			}
			for name, sig := range map[string][]byte{"short": std[1:], "long": append([]byte{0}, std...), "none": nil,
				"modulus": k.pub.Modulus(), "zero": make([]byte, bits/8), "ones": fill(0xff, bits/8)} {
				if k.pub.VerifyPKCS1(h, digest, sig) != ErrSignature {
					t.Errorf("%d %#x: a signature %q passes", bits, h, name)
				}
			}
		}
		// Bleichenbacher's forgery: padding that ends early, with anything behind it.
		digest := Sum(AlgSHA256, []byte("message"))
		em, _ := encodePKCS1(AlgSHA256, digest, bits/8)
		start := bytes.Index(em, []byte{0, 0x30})
		forged := append(append([]byte{0, 1}, fill(0xff, 8)...), em[start:]...)
		forged = append(forged, make([]byte, bits/8-len(forged))...)
		sig, err := k.RawDecrypt(forged)
		if err != nil {
			t.Fatal(err)
		}
		if k.pub.VerifyPKCS1(AlgSHA256, digest, sig) != ErrSignature {
			t.Error("a signature with octets behind the digest passes")
		}
	}
	digest := make([]byte, 64)
	if em, ok := encodePKCS1(AlgSHA512, digest, 19+64+11); !ok || !bytes.Equal(em[:12], append([]byte{0, 1}, append(fill(0xff, 8), 0, 0x30)...)) {
		t.Errorf("the shortest encoding: %x", em)
	}
	if _, ok := encodePKCS1(AlgSHA512, digest, 19+64+10); ok {
		t.Error("an encoding without room for its padding")
	}
}

// PSS salts of every length verify, as other signers choose theirs.
func TestPSSSaltLengths(t *testing.T) {
	k := testKey(t, 1024)
	digest := Sum(AlgSHA256, []byte("m"))
	for _, n := range []int{1, 20, 32, 94} {
		sig, err := rsa.SignPSS(rand.Reader, k.std, AlgSHA256.CryptoHash(), digest, &rsa.PSSOptions{SaltLength: n})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Public().VerifyPSS(AlgSHA256, digest, sig); err != nil {
			t.Errorf("salt of %d bytes: %v", n, err)
		}
	}
}

func FuzzNewRSAPrivateKey(f *testing.F) {
	k := testKey(f, 1024)
	f.Add(k.Public().Modulus(), uint32(0), k.Prime())
	f.Add(k.Public().Modulus(), uint32(3), k.Prime())
	sq := new(big.Int).Mul(new(big.Int).SetBytes(k.Prime()), new(big.Int).SetBytes(k.Prime()))
	f.Add(sq.Bytes(), uint32(0), k.Prime())
	f.Add(fill(0xff, 128), uint32(0), fill(0xff, 64))
	f.Add([]byte{}, uint32(0), []byte{})
	// A composite factor: 3 * something is found by mutation; this one is
	// (2^512 - 1) * (2^512 - 569).
	c := new(big.Int).Lsh(big.NewInt(1), 512)
	c1, c2 := new(big.Int).Sub(c, big.NewInt(1)), new(big.Int).Sub(c, big.NewInt(569))
	f.Add(new(big.Int).Mul(c1, c2).Bytes(), uint32(0), c1.Bytes())
	f.Fuzz(func(t *testing.T, n []byte, e uint32, p []byte) {
		k, err := NewRSAPrivateKey(n, e, p)
		if err != nil {
			return
		}
		digest := make([]byte, 32)
		if sig, err := k.SignPKCS1(AlgSHA256, digest); err == nil {
			if k.Public().VerifyPKCS1(AlgSHA256, digest, sig) != nil {
				t.Fatal("a signature was made that does not verify")
			}
		}
		if m, err := k.RawDecrypt(fill(0x42, len(n))); err == nil {
			if c, err := k.Public().RawEncrypt(m); err != nil || !bytes.Equal(c, fill(0x42, len(n))) {
				t.Fatal("a wrong plaintext was returned", err)
			}
		}
		_, _ = k.DecryptOAEP(AlgSHA256, nil, fill(0x42, len(n))) // must not panic
		_, _ = k.DecryptPKCS1(fill(0x42, len(n)))                // must not panic
	})
}

func BenchmarkGenerateRSA2048(b *testing.B) {
	for b.Loop() {
		if _, err := GenerateRSA(2048, 0, rand.Reader, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGenerateRSA2048Std(b *testing.B) {
	for b.Loop() {
		if _, err := rsa.GenerateKey(rand.Reader, 2048); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoadRSA2048(b *testing.B) {
	k := testKey(b, 2048)
	n, p := k.Public().Modulus(), k.Prime()
	for b.Loop() {
		if _, err := NewRSAPrivateKey(n, 0, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRawDecrypt2048(b *testing.B) {
	k := testKey(b, 2048)
	c := fill(0x42, 256)
	for b.Loop() {
		if _, err := k.RawDecrypt(c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignPKCS1_2048(b *testing.B) {
	k := testKey(b, 2048)
	digest := make([]byte, 32)
	for b.Loop() {
		if _, err := k.SignPKCS1(AlgSHA256, digest); err != nil {
			b.Fatal(err)
		}
	}
}
