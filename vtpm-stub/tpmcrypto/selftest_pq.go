package tpmcrypto

import "bytes"

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

// testMLDSA signs without randomness, which has one answer, and with it.
func testMLDSA() error {
	k, err := NewMLDSAPrivateKey(MLDSA44, countingKey(MLDSASeedSize))
	if err != nil {
		return err
	}
	s, err := k.pub.StartMu([]byte("context"))
	if err != nil {
		return err
	}
	_, _ = s.Write([]byte("message to be signed")) // never fails
	mu := s.Sum(nil)
	if err := answerMLDSA(k, mu, "427e3e672e8dcb7afef72449636b8e8f54a4d97b3580e8a690534746a9404600"); err != nil {
		return err
	}
	sig, err := k.SignMu(mu)
	if err != nil || k.pub.VerifyMu(mu, sig) != nil {
		return errAnswer
	}
	return nil
}

func testHashMLDSA() error {
	k, err := NewMLDSAPrivateKey(MLDSA44, countingKey(MLDSASeedSize))
	if err != nil {
		return err
	}
	mu, err := k.pub.PrehashMu(AlgSHA256, []byte("context"), Sum(AlgSHA256, []byte("message to be signed")))
	if err != nil {
		return err
	}
	return answerMLDSA(k, mu, "fbe9674933e3fbb7bfe65d0b9b17d4e39ac2feb9bcee6a08ae270074ff6bd3e3")
}

// answerMLDSA checks a deterministic signature, and that it holds for mu only.
func answerMLDSA(k *MLDSAPrivateKey, mu []byte, want string) error {
	sig, err := k.signMuDeterministic(mu)
	if err != nil {
		return err
	}
	if err := answer(Sum(AlgSHA256, sig), want); err != nil {
		return err
	}
	if k.pub.VerifyMu(mu, sig) != nil {
		return errAnswer
	}
	mu[0] ^= 1
	if k.pub.VerifyMu(mu, sig) == nil {
		return errAnswer
	}
	mu[0] ^= 1
	return nil
}

// countingKey is a seed of octets 0, 1, 2, ...
func countingKey(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}
