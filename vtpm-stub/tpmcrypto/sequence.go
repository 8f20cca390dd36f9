package tpmcrypto

import (
	"crypto/sha3"
	"encoding"
	"encoding/binary"
	"hash"
)

// Sequence is a running hash or HMAC whose state can be saved: what a sequence
// object of TPM2_HashSequenceStart or TPM2_HMAC_Start holds; or the running
// message representative of ML-DSA, see MLDSAPublicKey.StartMu.
type Sequence struct {
	alg   Alg
	inner hash.Hash
	outer []byte // key XOR opad, one block; nil for a plain hash
}

// NewHashSequence starts a digest. It returns ErrHash when a is not a
// supported hash.
func NewHashSequence(a Alg) (*Sequence, error) {
	if !a.IsHash() {
		return nil, ErrHash
	}
	return &Sequence{alg: a, inner: NewHash(a)}, nil
}

// NewHMACSequence starts an HMAC under key.
func NewHMACSequence(a Alg, key []byte) (*Sequence, error) {
	s, err := NewHashSequence(a)
	if err != nil {
		return nil, err
	}
	block := make([]byte, a.BlockSize())
	if len(key) > len(block) {
		copy(block, Sum(a, key))
	} else {
		copy(block, key)
	}
	for i := range block {
		block[i] ^= 0x36
	}
	s.inner.Write(block)
	for i := range block {
		block[i] ^= 0x36 ^ 0x5c
	}
	s.outer = block
	return s, nil
}

// Alg returns the hash algorithm.
func (s *Sequence) Alg() Alg { return s.alg }

// Write adds data. It never fails.
func (s *Sequence) Write(p []byte) (int, error) { return s.inner.Write(p) }

// Sum appends the digest or HMAC of all data so far and leaves the state as it
// is.
func (s *Sequence) Sum(dst []byte) []byte {
	if s.outer == nil {
		return s.inner.Sum(dst)
	}
	h := NewHash(s.alg)
	h.Write(s.outer)
	h.Write(s.inner.Sum(nil))
	return h.Sum(dst)
}

// MarshalBinary saves the state: u16 algorithm, u8 length of the outer block
// (0 for a plain hash), outer block, state of the inner hash in the standard
// library's format. It holds secrets.
func (s *Sequence) MarshalBinary() ([]byte, error) {
	state, err := s.inner.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(s.alg))
	b = append(b, byte(len(s.outer)))
	b = append(b, s.outer...)
	return append(b, state...), nil
}

// UnmarshalSequence restores what MarshalBinary saved.
func UnmarshalSequence(b []byte) (*Sequence, error) {
	if len(b) < 3 {
		return nil, ErrSize
	}
	s := newSHAKESequence()
	if a := Alg(binary.BigEndian.Uint16(b)); a != s.alg {
		var err error
		if s, err = NewHashSequence(a); err != nil {
			return nil, err
		}
	}
	n := int(b[2])
	b = b[3:]
	if len(b) < n || n != 0 && n != s.alg.BlockSize() {
		return nil, ErrSize
	}
	if n > 0 {
		s.outer = append([]byte(nil), b[:n]...)
	}
	b = b[n:]
	fresh, err := s.inner.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil || len(b) != len(fresh) || !absorbing(s.alg, b) {
		return nil, ErrSize // the library lets SHAKE's state be longer
	}
	if s.inner.(encoding.BinaryUnmarshaler).UnmarshalBinary(b) != nil {
		return nil, ErrSize
	}
	return s, nil
}

// absorbing reports whether a sponge's saved state can take more data. Its
// last two octets are the place in the block and the direction; the library
// restores a state that was read from as well, and such a one panics when it
// is written to. Only foreign bytes hold it: a Sequence saves no such state.
func absorbing(a Alg, state []byte) bool {
	block := a.BlockSize()
	switch a {
	case AlgSHA3_256, AlgSHA3_384, AlgSHA3_512:
	case AlgSHAKE256_512:
		block = sha3.NewSHAKE256().BlockSize()
	default:
		return true
	}
	place, direction := state[len(state)-2], state[len(state)-1]
	return int(place) < block && direction == 0
}
