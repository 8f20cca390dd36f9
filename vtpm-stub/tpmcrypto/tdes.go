package tpmcrypto

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"encoding/hex"
	"math/bits"
)

// TDES (SP 800-67) with two or three keys. It is for clients that have such keys; nothing here
// chooses it.

func newTDES(key []byte) (cipher.Block, error) {
	var k [24]byte
	defer clear(k[:])
	copy(k[copy(k[:], key):], key) // the third key of two is the first
	return des.NewTripleDESCipher(k[:])
}

// SetParity gives each octet of a new TDES key odd parity in its last bit (P1 E.1). Other
// ciphers' keys are left alone.
func SetParity(a Alg, key []byte) {
	if a != AlgTDES {
		return
	}
	for i, b := range key {
		key[i] = b&0xFE | byte(bits.OnesCount8(b&0xFE)+1)&1
	}
}

// weakDES are the weak and semi-weak keys of DES (SP 800-67 3.4.2).
var weakDES = [...]string{
	"0101010101010101", "fefefefefefefefe", "e0e0e0e0f1f1f1f1", "1f1f1f1f0e0e0e0e",
	"011f011f010e010e", "1f011f010e010e01", "01e001e001f101f1", "e001e001f101f101",
	"01fe01fe01fe01fe", "fe01fe01fe01fe01", "1fe01fe00ef10ef1", "e01fe01ff10ef10e",
	"1ffe1ffe0efe0efe", "fe1ffe1ffe0efe0e", "e0fee0fef1fef1fe", "fee0fee0fef1fef1",
}

// weakTDES reports whether one of the keys, with parity, is weak, or two neighbours are equal, which
// leaves DES.
func weakTDES(key []byte) bool {
	for i := 0; i+8 <= len(key); i += 8 {
		k := key[i : i+8]
		if i > 0 && bytes.Equal(k, key[i-8:i]) {
			return true
		}
		for _, w := range weakDES {
			if hex.EncodeToString(k) == w {
				return true
			}
		}
	}
	return false
}
