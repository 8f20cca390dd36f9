package tpmcrypto

import "crypto/mlkem"

// MLKEMSet is a parameter set of ML-KEM (203 section 8), with the values of
// TPMI_MLKEM_PARMS. ML-KEM-512 is not in the standard library.
type MLKEMSet uint16

// Parameter sets.
const (
	MLKEM512  MLKEMSet = 1
	MLKEM768  MLKEMSet = 2
	MLKEM1024 MLKEMSet = 3
)

// Sizes that all parameter sets share, in octets.
const (
	MLKEMSeedSize   = mlkem.SeedSize      // the private key d || z
	MLKEMSharedSize = mlkem.SharedKeySize // the shared secret K
)

// PublicSize returns the octets of an encapsulation key, 0 for an unknown set.
func (s MLKEMSet) PublicSize() int {
	switch s {
	case MLKEM768:
		return mlkem.EncapsulationKeySize768
	case MLKEM1024:
		return mlkem.EncapsulationKeySize1024
	}
	return 0
}

// CiphertextSize returns the octets of a ciphertext, 0 for an unknown set.
func (s MLKEMSet) CiphertextSize() int {
	switch s {
	case MLKEM768:
		return mlkem.CiphertextSize768
	case MLKEM1024:
		return mlkem.CiphertextSize1024
	}
	return 0
}

// encapsulator and decapsulator are what the standard library's types share.
type encapsulator interface {
	Bytes() []byte
	Encapsulate() (sharedKey, ciphertext []byte)
}

type decapsulator interface {
	Decapsulate(ciphertext []byte) (sharedKey []byte, err error)
}

// MLKEMPublicKey is an encapsulation key.
type MLKEMPublicKey struct{ k encapsulator }

// NewMLKEMPublicKey reads an encoded encapsulation key and checks it (203
// section 7.2). ErrScheme for an unknown parameter set, ErrKey for what is no
// key.
func NewMLKEMPublicKey(set MLKEMSet, raw []byte) (*MLKEMPublicKey, error) {
	var k encapsulator
	var err error
	switch set {
	case MLKEM768:
		k, err = mlkem.NewEncapsulationKey768(raw)
	case MLKEM1024:
		k, err = mlkem.NewEncapsulationKey1024(raw)
	default:
		return nil, ErrScheme
	}
	if err != nil {
		return nil, ErrKey
	}
	return &MLKEMPublicKey{k}, nil
}

// Bytes returns the encoded key.
func (k *MLKEMPublicKey) Bytes() []byte { return k.k.Bytes() }

// Encapsulate makes a shared secret with randomness of crypto/rand (203
// algorithm 20).
func (k *MLKEMPublicKey) Encapsulate() (shared, ciphertext []byte) { return k.k.Encapsulate() }

// MLKEMPrivateKey is a decapsulation key.
type MLKEMPrivateKey struct {
	k   decapsulator
	pub *MLKEMPublicKey
}

// NewMLKEMPrivateKey expands the seed d || z (203 algorithm 16). ErrScheme for
// an unknown parameter set, ErrKey for a seed of another size.
func NewMLKEMPrivateKey(set MLKEMSet, seed []byte) (*MLKEMPrivateKey, error) {
	switch set {
	case MLKEM768:
		if k, err := mlkem.NewDecapsulationKey768(seed); err == nil {
			return &MLKEMPrivateKey{k, &MLKEMPublicKey{k.EncapsulationKey()}}, nil
		}
	case MLKEM1024:
		if k, err := mlkem.NewDecapsulationKey1024(seed); err == nil {
			return &MLKEMPrivateKey{k, &MLKEMPublicKey{k.EncapsulationKey()}}, nil
		}
	default:
		return nil, ErrScheme
	}
	return nil, ErrKey
}

// Public returns the encapsulation key.
func (k *MLKEMPrivateKey) Public() *MLKEMPublicKey { return k.pub }

// Decapsulate returns the shared secret of a ciphertext (203 algorithm 21). A
// ciphertext that nobody made for this key gives a secret that nobody knows.
// ErrSize for a wrong size.
func (k *MLKEMPrivateKey) Decapsulate(ciphertext []byte) ([]byte, error) {
	s, err := k.k.Decapsulate(ciphertext)
	if err != nil {
		return nil, ErrSize
	}
	return s, nil
}

// ShareMLKEM makes a secret for the holder of an ML-KEM key: a seed of h's
// digest size, and the ciphertext that carries it (version 185 of P1, 47.4). h
// is the recipient's nameAlg.
func ShareMLKEM(k *MLKEMPublicKey, h Alg, label string) (seed, ciphertext []byte, err error) {
	if !h.IsHash() {
		return nil, nil, ErrHash
	}
	shared, ciphertext := k.Encapsulate()
	seed = KDFa(h, shared, label, ciphertext, k.Bytes(), h.DigestSize()*8)
	clear(shared)
	return seed, ciphertext, nil
}

// RecoverMLKEM derives the seed of ShareMLKEM from the ciphertext.
func RecoverMLKEM(k *MLKEMPrivateKey, h Alg, label string, ciphertext []byte) ([]byte, error) {
	if !h.IsHash() {
		return nil, ErrHash
	}
	shared, err := k.Decapsulate(ciphertext)
	if err != nil {
		return nil, err
	}
	seed := KDFa(h, shared, label, ciphertext, k.pub.Bytes(), h.DigestSize()*8)
	clear(shared)
	return seed, nil
}
