package tpmcrypto

import (
	"crypto/hmac"
	"encoding/binary"
	"hash"
)

// MACKey is an HMAC key that is used often: what depends on the key alone is computed
// once. It is not safe for concurrent use.
type MACKey struct {
	key []byte
	mac hash.Hash
}

// NewMACKey makes one of a copy of key. It panics when a is not a supported hash.
func NewMACKey(a Alg, key []byte) *MACKey {
	hashIndex(a) // panics
	return &MACKey{
		key: append([]byte(nil), key...),
		mac: hmac.New(func() hash.Hash { return NewHash(a) }, key),
	}
}

// Is reports whether it was made of key.
func (k *MACKey) Is(key []byte) bool { return Equal(k.key, key) }

// Sum appends the HMAC (FIPS 198-1) of the concatenated parts to dst.
func (k *MACKey) Sum(dst []byte, parts ...[]byte) []byte {
	k.mac.Reset()
	for _, p := range parts {
		k.mac.Write(p)
	}
	return k.mac.Sum(dst)
}

// KDFa is the function KDFa with this key.
func (k *MACKey) KDFa(label string, contextU, contextV []byte, bits int) []byte {
	checkKDFBits(bits)
	var dst []byte
	lab, length := terminated(label), binary.BigEndian.AppendUint32(nil, uint32(bits))
	for i := uint32(1); len(dst) < (bits+7)/8; i++ {
		dst = k.Sum(dst, binary.BigEndian.AppendUint32(nil, i), lab, contextU, contextV, length)
	}
	return trimKDF(dst, 0, bits)
}
