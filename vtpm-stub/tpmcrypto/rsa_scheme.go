package tpmcrypto

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
)

// MaxOAEPMessage returns the longest message that OAEP with hash h takes,
// negative when the key is too small for the hash.
func (k *RSAPublicKey) MaxOAEPMessage(h Alg) int { return k.Size() - 2*h.DigestSize() - 2 }

// EncryptOAEP is RSAES_OAEP (P1 B.4, 8017 7.1.1). label is L with its
// terminating zero byte. h is used for the label and for MGF1: P1 B.4 names the
// Name algorithm for MGF1, but where the two differ every client in use takes
// the scheme's hash for both. ErrSize when msg is too long.
func (k *RSAPublicKey) EncryptOAEP(h Alg, label, msg []byte) ([]byte, error) {
	if !h.IsHash() {
		return nil, ErrHash
	}
	c, err := rsa.EncryptOAEP(NewHash(h), rand.Reader, &k.std, msg, label)
	if err != nil {
		return nil, ErrSize
	}
	return c, nil
}

// DecryptOAEP reverses EncryptOAEP. Every failure of the padding is
// ErrDecrypt; ErrSize is a ciphertext of the wrong length.
func (k *RSAPrivateKey) DecryptOAEP(h Alg, label, c []byte) ([]byte, error) {
	if !h.IsHash() {
		return nil, ErrHash
	}
	if len(c) != k.pub.Size() {
		return nil, ErrSize
	}
	m, err := rsa.DecryptOAEP(NewHash(h), nil, k.std, c, label)
	if err != nil {
		return nil, ErrDecrypt
	}
	return m, nil
}

// EncryptPKCS1 is RSAES_PKCS1-v1_5 (P1 B.5). ErrSize when msg is longer than
// Size-11.
func (k *RSAPublicKey) EncryptPKCS1(msg []byte) ([]byte, error) {
	c, err := rsa.EncryptPKCS1v15(rand.Reader, &k.std, msg)
	if err != nil {
		return nil, ErrSize
	}
	return c, nil
}

// DecryptPKCS1 reverses EncryptPKCS1. That its failure can be seen is a
// property of TPM2_RSA_Decrypt with this scheme.
func (k *RSAPrivateKey) DecryptPKCS1(c []byte) ([]byte, error) {
	if len(c) != k.pub.Size() {
		return nil, ErrSize
	}
	m, err := rsa.DecryptPKCS1v15(nil, k.std, c)
	if err != nil {
		return nil, ErrDecrypt
	}
	return m, nil
}

// SignPKCS1 is RSASSA_PKCS1-v1_5 (P1 B.6) over a digest made with h. Where there
// are two processors, RawDecrypt takes two thirds of crypto/rsa's time.
func (k *RSAPrivateKey) SignPKCS1(h Alg, digest []byte) ([]byte, error) {
	if err := checkDigest(h, digest); err != nil {
		return nil, err
	}
	em, ok := encodePKCS1(h, digest, k.pub.Size())
	if !ok {
		return nil, ErrKey
	}
	sig, err := k.RawDecrypt(em)
	if err != nil {
		return nil, ErrKey
	}
	return sig, nil
}

// encodePKCS1 is EMSA-PKCS1-v1_5 (8017 9.2) with n bytes, false when they are too few.
func encodePKCS1(h Alg, digest []byte, n int) ([]byte, bool) {
	info := append(digestInfo(h), digest...)
	if n < len(info)+11 {
		return nil, false
	}
	em := bytes.Repeat([]byte{0xff}, n)
	em[0], em[1] = 0, 1
	end := n - len(info)
	em[end-1] = 0
	copy(em[end:], info)
	return em, true
}

// digestInfo is the DER of DigestInfo in front of a digest (8017 9.2 note 1).
func digestInfo(h Alg) []byte {
	size := byte(h.DigestSize())
	if h == AlgSHA1 {
		return []byte{0x30, 13 + size, 0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0, 4, size}
	}
	// The last arc of hashAlgs.n, 2.16.840.1.101.3.4.2.n.
	arc := map[Alg]byte{AlgSHA256: 1, AlgSHA384: 2, AlgSHA512: 3, AlgSHA3_256: 8, AlgSHA3_384: 9, AlgSHA3_512: 10}[h]
	return []byte{0x30, 17 + size, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, arc, 5, 0, 4, size}
}

// VerifyPKCS1 checks a signature, by comparing the encoded message with the
// one that must be there (8017 8.2.2): nil, ErrSize for a wrong digest length,
// or ErrSignature. crypto/rsa prepares the modulus anew each time, which takes
// a third of the time of a verification.
func (k *RSAPublicKey) VerifyPKCS1(h Alg, digest, sig []byte) error {
	if err := checkDigest(h, digest); err != nil {
		return err
	}
	if len(sig) != k.Size() {
		return ErrSignature
	}
	want, ok := encodePKCS1(h, digest, k.Size())
	em, err := k.RawEncrypt(sig)
	if !ok || err != nil || !bytes.Equal(em, want) {
		return ErrSignature
	}
	return nil
}

// SignPSS is RSASSA_PSS (P1 B.7). The salt is as long as 186-5 5.4 (g) allows,
// the digest size, or what fits if that is less: Part 1 since revision 1.63
// asks for this, and earlier revisions allow it.
func (k *RSAPrivateKey) SignPSS(h Alg, digest []byte) ([]byte, error) {
	if err := checkDigest(h, digest); err != nil {
		return nil, err
	}
	// emLen = Size, as no supported modulus has a multiple of 8 bits plus 1.
	room := k.pub.Size() - len(digest) - 2
	if room < 0 {
		return nil, ErrSize
	}
	opts := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h.CryptoHash()}
	if room < len(digest) {
		opts.SaltLength = rsa.PSSSaltLengthAuto
	}
	sig, err := rsa.SignPSS(rand.Reader, k.std, h.CryptoHash(), digest, &opts)
	if err != nil {
		return nil, ErrKey
	}
	return sig, nil
}

// VerifyPSS checks a signature with a salt of any length: nil, ErrSize for a
// wrong digest length, or ErrSignature.
func (k *RSAPublicKey) VerifyPSS(h Alg, digest, sig []byte) error {
	if err := checkDigest(h, digest); err != nil {
		return err
	}
	opts := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.Hash(0)}
	if rsa.VerifyPSS(&k.std, h.CryptoHash(), digest, sig, &opts) != nil {
		return ErrSignature
	}
	return nil
}

func checkDigest(h Alg, digest []byte) error {
	if !h.IsHash() {
		return ErrHash
	}
	if len(digest) != h.DigestSize() {
		return ErrSize
	}
	return nil
}
