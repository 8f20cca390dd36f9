package tpmcrypto

import (
	"crypto/sha3"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
)

// MLDSASet is a parameter set of ML-DSA (204 section 4), with the values of
// TPMI_MLDSA_PARMS.
type MLDSASet uint16

// Parameter sets.
const (
	MLDSA44 MLDSASet = 1
	MLDSA65 MLDSASet = 2
	MLDSA87 MLDSASet = 3
)

// Sizes that all parameter sets share, in octets.
const (
	MLDSASeedSize = 32 // the private key xi
	MLDSAMuSize   = 64 // the message representative
)

// mldsaParams are the values of 204 table 1 that verification needs.
type mldsaParams struct {
	k, l      int // rows and columns of A
	tau       int // nonzero coefficients of the challenge
	challenge int // octets of the challenge: lambda / 4
	gamma1    uint32
	zBits     uint // bits of one coefficient of z
	gamma2    uint32
	w1Bits    uint // bits of one coefficient of w1
	beta      uint32
	omega     int
	lib       mldsa.Parameters
}

// params returns nil for a set that is not implemented.
func (s MLDSASet) params() *mldsaParams {
	switch s {
	case MLDSA44:
		return &mldsaParams{4, 4, 39, 32, 1 << 17, 18, (mlQ - 1) / 88, 6, 78, 80, mldsa.MLDSA44()}
	case MLDSA65:
		return &mldsaParams{6, 5, 49, 48, 1 << 19, 20, (mlQ - 1) / 32, 4, 196, 55, mldsa.MLDSA65()}
	case MLDSA87:
		return &mldsaParams{8, 7, 60, 64, 1 << 19, 20, (mlQ - 1) / 32, 4, 120, 75, mldsa.MLDSA87()}
	}
	return nil
}

// PublicSize returns the octets of a public key, 0 for an unknown set.
func (s MLDSASet) PublicSize() int {
	if p := s.params(); p != nil {
		return p.lib.PublicKeySize()
	}
	return 0
}

// SignatureSize returns the octets of a signature, 0 for an unknown set.
func (s MLDSASet) SignatureSize() int {
	if p := s.params(); p != nil {
		return p.lib.SignatureSize()
	}
	return 0
}

// MLDSAPublicKey verifies signatures. Every string of the right size is a
// public key.
type MLDSAPublicKey struct {
	p   *mldsaParams
	raw []byte
	tr  [64]byte
}

// NewMLDSAPublicKey reads pkEncode of 204. ErrScheme for an unknown parameter
// set, ErrKey for a wrong size.
func NewMLDSAPublicKey(set MLDSASet, raw []byte) (*MLDSAPublicKey, error) {
	p := set.params()
	if p == nil {
		return nil, ErrScheme
	}
	if len(raw) != set.PublicSize() {
		return nil, ErrKey
	}
	k := &MLDSAPublicKey{p: p, raw: append([]byte(nil), raw...)}
	copy(k.tr[:], shake256(len(k.tr), raw))
	return k, nil
}

// Bytes returns the encoded key; it must not be changed.
func (k *MLDSAPublicKey) Bytes() []byte { return k.raw }

// StartMu starts the message representative mu of a message (204 algorithm 2
// line 10 and algorithm 7 line 6): what is written to the result is the
// message, its Sum is mu. ErrSize for a context of more than 255 octets.
func (k *MLDSAPublicKey) StartMu(context []byte) (*Sequence, error) {
	if len(context) > 255 {
		return nil, ErrSize
	}
	s := newSHAKESequence()
	for _, b := range [...][]byte{k.tr[:], {0, byte(len(context))}, context} {
		_, _ = s.Write(b) // never fails
	}
	return s, nil
}

// PrehashMu returns mu of HashML-DSA for the digest of a message (204 algorithm
// 4). ErrHash when 204 has no identifier for h, ErrSize for a digest or a
// context of a wrong size.
func (k *MLDSAPublicKey) PrehashMu(h Alg, context, digest []byte) ([]byte, error) {
	oid, ok := prehashOID(h)
	if !ok {
		return nil, ErrHash
	}
	if len(context) > 255 || len(digest) != h.DigestSize() {
		return nil, ErrSize
	}
	return shake256(MLDSAMuSize, k.tr[:], []byte{1, byte(len(context))}, context, oid[:], digest), nil
}

// prehashOID returns the DER encoding of a hash's object identifier:
// 2.16.840.1.101.3.4.2.n. SHA-1 is not approved for signatures.
func prehashOID(h Alg) (oid [11]byte, ok bool) {
	n, ok := map[Alg]byte{AlgSHA256: 1, AlgSHA384: 2, AlgSHA512: 3, AlgSHA3_256: 8, AlgSHA3_384: 9, AlgSHA3_512: 10}[h]
	return [11]byte{6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, n}, ok
}

// PrehashOK reports whether HashML-DSA can be used with a hash.
func PrehashOK(h Alg) bool {
	_, ok := prehashOID(h)
	return ok
}

// MLDSAPrivateKey signs.
type MLDSAPrivateKey struct {
	k   *mldsa.PrivateKey
	pub *MLDSAPublicKey
}

// NewMLDSAPrivateKey expands the seed xi (204 algorithm 6). ErrScheme for an
// unknown parameter set, ErrKey for a seed of another size.
func NewMLDSAPrivateKey(set MLDSASet, seed []byte) (*MLDSAPrivateKey, error) {
	p := set.params()
	if p == nil {
		return nil, ErrScheme
	}
	k, err := mldsa.NewPrivateKey(p.lib, seed)
	if err != nil {
		return nil, ErrKey
	}
	pub, err := NewMLDSAPublicKey(set, k.PublicKey().Bytes())
	if err != nil {
		return nil, err
	}
	return &MLDSAPrivateKey{k, pub}, nil
}

// Public returns the public key.
func (k *MLDSAPrivateKey) Public() *MLDSAPublicKey { return k.pub }

// SignMu signs a message representative (204 algorithm 7). The signature is
// hedged with crypto/rand. ErrSize for a mu of another size.
func (k *MLDSAPrivateKey) SignMu(mu []byte) ([]byte, error) {
	return k.sign(mu, func(mu []byte) ([]byte, error) { return k.k.Sign(nil, mu, mldsacrypto.MLDSAMu) })
}

// signMuDeterministic is SignMu without randomness, for known answers.
func (k *MLDSAPrivateKey) signMuDeterministic(mu []byte) ([]byte, error) {
	return k.sign(mu, func(mu []byte) ([]byte, error) { return k.k.SignDeterministic(mu, mldsacrypto.MLDSAMu) })
}

func (k *MLDSAPrivateKey) sign(mu []byte, f func([]byte) ([]byte, error)) ([]byte, error) {
	if len(mu) != MLDSAMuSize {
		return nil, ErrSize
	}
	sig, err := f(mu)
	if err != nil {
		return nil, ErrKey
	}
	return sig, nil
}

// expandA returns the element of A for a row and a column (204 algorithms 30
// and 32), in the domain of the NTT.
func expandA(rho []byte, row, column int) (a mlPoly) {
	h := sha3.NewSHAKE128()
	_, _ = h.Write(rho)                             // never fails
	_, _ = h.Write([]byte{byte(column), byte(row)}) // never fails
	var block [168]byte
	for n := 0; n < len(a); {
		_, _ = h.Read(block[:]) // never fails
		for b := block[:]; len(b) > 0 && n < len(a); b = b[3:] {
			if z := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2]&0x7f)<<16; z < mlQ {
				a[n] = z
				n++
			}
		}
	}
	return a
}
