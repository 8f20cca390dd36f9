package tpmcrypto

import (
	"bytes"
	"sync"
)

// testMLKEM expands a known key, which determines what it makes of a ciphertext
// of zeros (decryption, encryption again, implicit rejection), and decapsulates
// what it encapsulated. The answers are those of the unit tests.
func testMLKEM() error {
	k, err := NewMLKEMPrivateKey(MLKEM768, countingKey(MLKEMSeedSize))
	if err != nil {
		return err
	}
	if err := answer(Sum(AlgSHA256, k.Public().Bytes()), "0b7934c83125c788995e2ba6bd761e33046b3e40571be53e023309a29f398cc9"); err != nil {
		return err
	}
	s, err := k.Decapsulate(make([]byte, MLKEM768.CiphertextSize()))
	if err != nil {
		return err
	}
	if err := answer(s, "c8fbeddafdacef2ffeb8b354ea644f11b5c150f3e2c4a74ce38abba8f854ae16"); err != nil {
		return err
	}
	shared, ct := k.Public().Encapsulate()
	if s, err = k.Decapsulate(ct); err != nil || !bytes.Equal(s, shared) {
		return errAnswer
	}
	return nil
}

// The messages are such that the second and the first attempt give a signature: most
// messages take more, which would test nothing else.
const (
	katMLDSAMessage = "message to be signed, 8"
	katMLDSAHashed  = "message to be signed, 1"
)

// testMLDSA expands a known key and signs without randomness, which has one answer.
func testMLDSA() error {
	k, err := NewMLDSAPrivateKey(MLDSA44, countingKey(MLDSASeedSize))
	if err != nil {
		return err
	}
	s, err := k.pub.StartMu([]byte("context"))
	if err != nil {
		return err
	}
	_, _ = s.Write([]byte(katMLDSAMessage)) // never fails
	mu := s.Sum(nil)
	sig, err := answerMLDSA(k, mu, "49fc815dd01cfe9b168170b90f4770a8da3d01e2aa80c30a4dc261ab47103f85")
	if err != nil {
		return err
	}
	mu[0] ^= 1
	if k.pub.VerifyMu(mu, sig) == nil {
		return errAnswer
	}
	return nil
}

func testHashMLDSA() error {
	k, err := katMLDSA()
	if err != nil {
		return err
	}
	mu, err := k.pub.PrehashMu(AlgSHA256, []byte("context"), Sum(AlgSHA256, []byte(katMLDSAHashed)))
	if err != nil {
		return err
	}
	_, err = answerMLDSA(k, mu, "eb25f0fe0852f56fbb5021de0e977e8bd2b09b4bdc0b1b9ed723cd6b3503c7cf")
	return err
}

// katMLDSA is the key that testMLDSA expands.
var katMLDSA = sync.OnceValues(func() (*MLDSAPrivateKey, error) {
	return NewMLDSAPrivateKey(MLDSA44, countingKey(MLDSASeedSize))
})

// answerMLDSA checks the digest of a deterministic signature, and that it holds.
func answerMLDSA(k *MLDSAPrivateKey, mu []byte, want string) ([]byte, error) {
	sig, err := k.signMuDeterministic(mu)
	if err != nil {
		return nil, err
	}
	if err := answer(Sum(AlgSHA256, sig), want); err != nil {
		return nil, err
	}
	return sig, k.pub.VerifyMu(mu, sig)
}

// countingKey is a seed of octets 0, 1, 2, ...
func countingKey(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}
