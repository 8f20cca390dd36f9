package tpmcrypto

import "crypto/sha3"

// shake512 is SHAKE256 with an output of 64 octets as a hash.Hash.
type shake512 struct{ *sha3.SHAKE }

func newSHAKESequence() *Sequence {
	return &Sequence{alg: AlgSHAKE256_512, inner: shake512{sha3.NewSHAKE256()}}
}

// Size is part of hash.Hash.
func (s shake512) Size() int { return 64 }

// Sum appends the output and leaves the state as it is.
func (s shake512) Sum(dst []byte) []byte {
	state, err := s.MarshalBinary()
	c := sha3.NewSHAKE256()
	if err != nil || c.UnmarshalBinary(state) != nil {
		panic("internal error: tpmcrypto: SHAKE256 state")
	}
	var out [64]byte
	_, _ = c.Read(out[:]) // never fails
	return append(dst, out[:]...)
}

// shake256 returns the first n octets of SHAKE256 over parts.
func shake256(n int, parts ...[]byte) []byte {
	h := sha3.NewSHAKE256()
	for _, p := range parts {
		_, _ = h.Write(p) // never fails
	}
	out := make([]byte, n)
	_, _ = h.Read(out) // never fails
	return out
}
