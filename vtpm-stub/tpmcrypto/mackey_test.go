package tpmcrypto

import (
	"bytes"
	"testing"
)

// TestMACKey: an HMAC key that is kept gives what HMAC and KDFa give, each time.
func TestMACKey(t *testing.T) {
	for _, a := range Hashes() {
		for _, n := range []int{0, 20, a.BlockSize(), a.BlockSize() + 1} {
			key := fill(0x5a, n)
			k := NewMACKey(a, key)
			if !k.Is(fill(0x5a, n)) || k.Is(fill(0x5a, n+1)) || n > 0 && k.Is(fill(0x5b, n)) {
				t.Errorf("%#x: Is", a)
			}
			for i := range 4 {
				part := fill(byte(i), 50*i)
				if got, want := k.Sum([]byte("x"), []byte("head"), part), HMAC(a, key, []byte("head"), part); !bytes.Equal(got, append([]byte("x"), want...)) {
					t.Errorf("%#x, key of %d, HMAC %d: %x, want %x", a, n, i, got, want)
				}
				bits := 1 + 301*i
				if got, want := k.KDFa("CONTEXT", part, []byte("v"), bits), KDFa(a, key, "CONTEXT", part, []byte("v"), bits); !bytes.Equal(got, want) {
					t.Errorf("%#x, key of %d, %d bits: %x, want %x", a, n, bits, got, want)
				}
			}
		}
	}
}
