package tpmcrypto

import (
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"crypto/subtle"
	"hash"
)

// Sizes of the largest hash, for fixed buffers.
const (
	MaxDigestSize = 64
	MaxBlockSize  = 136 // SHA3-256's rate; SHA-512 has 128
)

// Hashes lists the supported hash algorithms.
func Hashes() []Alg {
	return []Alg{AlgSHA1, AlgSHA256, AlgSHA384, AlgSHA512, AlgSHA3_256, AlgSHA3_384, AlgSHA3_512}
}

// DigestSize returns the digest size of a hash in bytes, 0 when a is not a
// supported hash.
func (a Alg) DigestSize() int {
	switch a {
	case AlgSHA1:
		return 20
	case AlgSHA256, AlgSHA3_256:
		return 32
	case AlgSHA384, AlgSHA3_384:
		return 48
	case AlgSHA512, AlgSHA3_512:
		return 64
	}
	return 0
}

// BlockSize returns the block size of a hash in bytes, 0 when a is not a
// supported hash.
func (a Alg) BlockSize() int {
	switch a {
	case AlgSHA1, AlgSHA256:
		return 64
	case AlgSHA384, AlgSHA512:
		return 128
	case AlgSHA3_256:
		return 136
	case AlgSHA3_384:
		return 104
	case AlgSHA3_512:
		return 72
	}
	return 0
}

// IsHash reports whether a is a supported hash.
func (a Alg) IsHash() bool { return a.DigestSize() != 0 }

// CryptoHash returns the standard library's name of a hash, 0 when a is not a
// supported hash.
func (a Alg) CryptoHash() crypto.Hash {
	switch a {
	case AlgSHA1:
		return crypto.SHA1
	case AlgSHA256:
		return crypto.SHA256
	case AlgSHA384:
		return crypto.SHA384
	case AlgSHA512:
		return crypto.SHA512
	case AlgSHA3_256:
		return crypto.SHA3_256
	case AlgSHA3_384:
		return crypto.SHA3_384
	case AlgSHA3_512:
		return crypto.SHA3_512
	}
	return 0
}

// NewHash returns a new hash, nil when a is not a supported hash.
func NewHash(a Alg) hash.Hash {
	switch a {
	case AlgSHA1:
		return sha1.New()
	case AlgSHA256:
		return sha256.New()
	case AlgSHA384:
		return sha512.New384()
	case AlgSHA512:
		return sha512.New()
	case AlgSHA3_256:
		return sha3.New256()
	case AlgSHA3_384:
		return sha3.New384()
	case AlgSHA3_512:
		return sha3.New512()
	}
	return nil
}

// Hasher computes digests and HMACs without allocating once each algorithm has
// been used. The zero value is ready. It is not safe for concurrent use.
//
// Methods append to dst and return the extended slice. An algorithm that is
// not a supported hash is a bug of the caller and panics: callers have checked
// the identifier where they parsed it.
type Hasher struct {
	h   [7]hash.Hash
	pad [MaxBlockSize]byte
	sum [MaxDigestSize]byte
}

func (s *Hasher) get(a Alg) hash.Hash {
	i := hashIndex(a)
	if s.h[i] == nil {
		s.h[i] = NewHash(a)
	}
	s.h[i].Reset()
	return s.h[i]
}

func hashIndex(a Alg) int {
	switch a {
	case AlgSHA1:
		return 0
	case AlgSHA256:
		return 1
	case AlgSHA384:
		return 2
	case AlgSHA512:
		return 3
	case AlgSHA3_256:
		return 4
	case AlgSHA3_384:
		return 5
	case AlgSHA3_512:
		return 6
	}
	panic("tpmcrypto: internal error: not a hash algorithm")
}

// Sum appends the digest of the concatenated parts.
func (s *Hasher) Sum(a Alg, dst []byte, parts ...[]byte) []byte {
	h := s.get(a)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(dst)
}

// Extend replaces digest by H(digest || parts...): P1 11.4.8. len(digest) must
// be the digest size of a.
func (s *Hasher) Extend(a Alg, digest []byte, parts ...[]byte) {
	h := s.get(a)
	h.Write(digest)
	for _, p := range parts {
		h.Write(p)
	}
	copy(digest, h.Sum(s.sum[:0]))
}

// HMAC appends the HMAC (FIPS 198-1) of the concatenated parts.
func (s *Hasher) HMAC(a Alg, dst, key []byte, parts ...[]byte) []byte {
	h := s.get(a)
	block := s.pad[:a.BlockSize()]
	clear(block)
	if len(key) > len(block) {
		h.Write(key)
		h.Sum(block[:0])
		h.Reset()
	} else {
		copy(block, key)
	}
	for i := range block {
		block[i] ^= 0x36
	}
	h.Write(block)
	for _, p := range parts {
		h.Write(p)
	}
	inner := h.Sum(s.sum[:0])
	h.Reset()
	for i := range block {
		block[i] ^= 0x36 ^ 0x5c
	}
	h.Write(block)
	h.Write(inner)
	clear(block)
	return h.Sum(dst)
}

// Sum returns the digest of the concatenated parts. It panics when a is not a
// supported hash.
func Sum(a Alg, parts ...[]byte) []byte {
	var s Hasher
	return s.Sum(a, nil, parts...)
}

// HMAC returns the HMAC of the concatenated parts. It panics when a is not a
// supported hash.
func HMAC(a Alg, key []byte, parts ...[]byte) []byte {
	var s Hasher
	return s.HMAC(a, nil, key, parts...)
}

// Equal compares two secrets in a time that depends on the lengths only.
func Equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
