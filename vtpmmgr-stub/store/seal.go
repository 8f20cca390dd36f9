package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
)

// XAES-256-GCM (C2SP XAES-256-GCM v1): AES-256-GCM under a key derived from the
// first half of a 192-bit nonce. Random nonces never run out, so the store needs
// no nonce counter that a restored disk could repeat.

const (
	keySize   = 32
	nonceSize = 24
	tagSize   = 16
	sealOver  = nonceSize + tagSize
)

// errOpen is the one error of every failed decryption.
var errOpen = errors.New("store: authentication failed")

// Box seals and opens byte strings under one key.
type Box struct {
	block cipher.Block
	k1    [aes.BlockSize]byte
	rand  io.Reader
}

// NewBox makes a Box of a 32-byte key; nonces come from rand.
func NewBox(key []byte, rand io.Reader) (*Box, error) {
	if len(key) != keySize {
		return nil, errors.New("store: internal error: key is not 32 bytes")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	b := &Box{block: block, rand: rand}
	block.Encrypt(b.k1[:], b.k1[:])
	b.double()
	return b, nil
}

// double multiplies k1 by x in GF(2^128), as CMAC's subkey step does.
func (b *Box) double() {
	var msb byte
	for i := len(b.k1) - 1; i >= 0; i-- {
		msb, b.k1[i] = b.k1[i]>>7, b.k1[i]<<1|msb
	}
	b.k1[len(b.k1)-1] ^= msb * 0b10000111
}

// aead derives the AES-256-GCM of one nonce; it takes the last 12 bytes of it.
func (b *Box) aead(nonce []byte) (cipher.AEAD, error) {
	var key [keySize]byte
	for i := byte(0); i < 2; i++ {
		half := key[16*i : 16*i+16]
		copy(half, []byte{0, i + 1, 'X', 0})
		copy(half[4:], nonce[:12])
		for j := range half {
			half[j] ^= b.k1[j]
		}
		b.block.Encrypt(half, half)
	}
	block, err := aes.NewCipher(key[:])
	clear(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Seal appends nonce | tag | cipher text to dst. 40 bytes longer than plain.
func (b *Box) Seal(dst, plain, aad []byte) ([]byte, error) {
	var nonce [nonceSize]byte
	if _, err := io.ReadFull(b.rand, nonce[:]); err != nil {
		return nil, err
	}
	a, err := b.aead(nonce[:])
	if err != nil {
		return nil, err
	}
	ct := a.Seal(nil, nonce[12:], plain, aad)
	dst = append(dst, nonce[:]...)
	dst = append(dst, ct[len(plain):]...)
	return append(dst, ct[:len(plain)]...), nil
}

// Open appends the plain text of box to dst.
func (b *Box) Open(dst, box, aad []byte) ([]byte, error) {
	if len(box) < sealOver {
		return nil, errOpen
	}
	a, err := b.aead(box)
	if err != nil {
		return nil, err
	}
	ct := make([]byte, 0, len(box)-nonceSize)
	ct = append(ct, box[sealOver:]...)
	ct = append(ct, box[nonceSize:sealOver]...)
	out, err := a.Open(dst, box[12:nonceSize], ct, aad)
	if err != nil {
		return nil, errOpen
	}
	return out, nil
}

// DeriveKey derives a 32-byte key for one purpose from the root key.
func DeriveKey(root []byte, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, root, nil, "xenvtpm manager store v1: "+purpose, keySize)
}

// sectorAAD binds a sector to its store, place and generation.
func sectorAAD(id [16]byte, sector uint32, gen uint64) []byte {
	aad := append(make([]byte, 0, 44), "xenvtpm sector 1"...)
	aad = append(aad, id[:]...)
	aad = binary.BigEndian.AppendUint32(aad, sector)
	return binary.BigEndian.AppendUint64(aad, gen)
}
