package tpmcrypto

import (
	"crypto/rand"
	"crypto/rsa"
	"testing"
)

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
func BenchmarkPrimary2048(b *testing.B) {
	i := 0
	for b.Loop() {
		i++
		if _, err := GenerateRSA(2048, 0, PrimaryDRBG([]byte{byte(i), byte(i >> 8)}, nil, ""), nil); err != nil {
			b.Fatal(err)
		}
	}
}
