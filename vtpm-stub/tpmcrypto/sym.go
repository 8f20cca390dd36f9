package tpmcrypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// SymBlockSize returns the block size of a block cipher in bytes, 0 when a is
// not a supported one.
func (a Alg) SymBlockSize() int {
	switch a {
	case AlgAES, AlgCamellia:
		return 16
	case AlgTDES:
		return 8
	}
	return 0
}

// SymKeyBits reports whether a block cipher supports keys of that many bits.
func (a Alg) SymKeyBits(bits int) bool {
	return a.SymBlockSize() != 0 && (bits == 128 || bits == 192 || bits == 256 && a != AlgTDES)
}

// NewBlock returns the block cipher a with the given key.
func NewBlock(a Alg, key []byte) (cipher.Block, error) {
	if a.SymBlockSize() == 0 {
		return nil, ErrMode
	}
	if !a.SymKeyBits(len(key) * 8) {
		return nil, ErrKeySize
	}
	switch a {
	case AlgCamellia:
		return newCamellia(key), nil
	case AlgTDES:
		return newTDES(key)
	}
	return aes.NewCipher(key)
}

// WeakKey reports whether key must be discarded when it was derived: for AES
// one whose upper half is zero (P1 11.4.10.4), for TDES one with a weak key of DES (P1 E.1).
func WeakKey(a Alg, key []byte) bool {
	switch a {
	case AlgAES:
	case AlgTDES:
		return weakTDES(key)
	default:
		return false
	}
	var x byte
	for _, b := range key[:len(key)/2] {
		x |= b
	}
	return x == 0
}

// Encrypt encrypts data in place in one of the five modes of P1 11.4.7.1 and
// replaces iv by the value that a next call continues with (P3 table 57). iv
// is one block, and empty for ECB. CBC and ECB take whole blocks; the others
// any length.
func Encrypt(b cipher.Block, mode Alg, iv, data []byte) error {
	return crypt(b, mode, iv, data, true)
}

// Decrypt reverses Encrypt, in place, with the same rules.
func Decrypt(b cipher.Block, mode Alg, iv, data []byte) error {
	return crypt(b, mode, iv, data, false)
}

func crypt(b cipher.Block, mode Alg, iv, data []byte, encrypt bool) error {
	bs := b.BlockSize()
	if mode == AlgECB {
		if len(iv) != 0 {
			return ErrIV
		}
	} else if len(iv) != bs {
		return ErrIV
	}
	if (mode == AlgECB || mode == AlgCBC) && len(data)%bs != 0 {
		return ErrSize
	}
	switch mode {
	case AlgCTR:
		ctr(b, iv, data)
	case AlgOFB:
		ofb(b, iv, data)
	case AlgCBC:
		cbc(b, iv, data, encrypt)
	case AlgCFB:
		cfb(b, iv, data, encrypt)
	case AlgECB:
		ecb(b, data, encrypt)
	default:
		return ErrMode
	}
	return nil
}

// ctr increments the whole IV as one big-endian number. A last partial block
// consumes a counter value, as P3 returns "the value of the counter after the
// last block".
func ctr(b cipher.Block, iv, data []byte) {
	if len(data) == 0 {
		return
	}
	cipher.NewCTR(b, iv).XORKeyStream(data, data)
	n := (len(data) + len(iv) - 1) / len(iv)
	for i := len(iv) - 1; i >= 0 && n > 0; i-- {
		n += int(iv[i])
		iv[i] = byte(n)
		n >>= 8
	}
}

func ofb(b cipher.Block, iv, data []byte) {
	for len(data) > 0 {
		b.Encrypt(iv, iv)
		data = data[subtle.XORBytes(data, data, iv):]
	}
}

func cbc(b cipher.Block, iv, data []byte, encrypt bool) {
	if len(data) == 0 {
		return
	}
	if encrypt {
		cipher.NewCBCEncrypter(b, iv).CryptBlocks(data, data)
		copy(iv, data[len(data)-len(iv):])
		return
	}
	last := append([]byte(nil), data[len(data)-len(iv):]...)
	cipher.NewCBCDecrypter(b, iv).CryptBlocks(data, data)
	copy(iv, last)
}

// cfb leaves the last ciphertext block in iv, padded with zeros when it was a
// partial one. P3 table 57 describes iv in OFB's words, which would not let a
// next call continue; the last ciphertext block does.
func cfb(b cipher.Block, iv, data []byte, encrypt bool) {
	for len(data) > 0 {
		b.Encrypt(iv, iv)
		n := min(len(iv), len(data))
		if encrypt {
			subtle.XORBytes(data, data[:n], iv)
			copy(iv, data[:n])
		} else {
			for i := range n {
				c := data[i]
				data[i] ^= iv[i]
				iv[i] = c
			}
		}
		clear(iv[n:])
		data = data[n:]
	}
}

func ecb(b cipher.Block, data []byte, encrypt bool) {
	bs := b.BlockSize()
	for ; len(data) > 0; data = data[bs:] {
		if encrypt {
			b.Encrypt(data[:bs], data[:bs])
		} else {
			b.Decrypt(data[:bs], data[:bs])
		}
	}
}
