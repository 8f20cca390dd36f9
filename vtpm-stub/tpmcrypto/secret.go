package tpmcrypto

import "io"

// Labels of secret sharing (P1 4.5), without the terminating zero byte.
const (
	LabelSecret    = "SECRET"
	LabelDuplicate = "DUPLICATE"
	LabelIdentity  = "IDENTITY"
)

// ShareRSA makes a secret for the holder of an RSA key (P1 B.10): a seed of
// h's digest size from rnd, and the seed encrypted with OAEP. h is the key's
// scheme hash, or its nameAlg when the scheme is null.
func ShareRSA(k *RSAPublicKey, h Alg, label string, rnd io.Reader) (seed, encrypted []byte, err error) {
	if !h.IsHash() {
		return nil, nil, ErrHash
	}
	seed = make([]byte, h.DigestSize())
	if _, err = io.ReadFull(rnd, seed); err != nil {
		return nil, nil, err
	}
	encrypted, err = k.EncryptOAEP(h, terminated(label), seed)
	return seed, encrypted, err
}

// RecoverRSA decrypts what ShareRSA or a caller's own OAEP made. The secret is
// limited to the digest size of h; a longer one is ErrSize, and every failure
// of the padding ErrDecrypt.
func RecoverRSA(k *RSAPrivateKey, h Alg, label string, encrypted []byte) ([]byte, error) {
	seed, err := k.DecryptOAEP(h, terminated(label), encrypted)
	if err != nil {
		return nil, err
	}
	if len(seed) > h.DigestSize() {
		return nil, ErrSize
	}
	return seed, nil
}

// ShareECC makes a secret for the holder of an ECC key (P1 C.6): an ephemeral
// key from rnd, and the seed of h's digest size that KDFe gives. h is the
// recipient's nameAlg. The ephemeral point is what is sent.
func ShareECC(k *ECCPublicKey, h Alg, label string, rnd io.Reader) (seed []byte, ephemeral Point, err error) {
	if !h.IsHash() {
		return nil, Point{}, ErrHash
	}
	e, err := GenerateECC(k.g.id, rnd)
	if err != nil {
		return nil, Point{}, err
	}
	z, err := e.ECDH(k.q)
	if err != nil {
		return nil, Point{}, err
	}
	ephemeral = e.pub.q
	return KDFe(h, z.X, label, ephemeral.X, k.q.X, h.DigestSize()*8), ephemeral, nil
}

// RecoverECC derives the seed of ShareECC from the ephemeral point. ErrPoint
// when that is not on the curve.
func RecoverECC(k *ECCPrivateKey, h Alg, label string, ephemeral Point) ([]byte, error) {
	if !h.IsHash() {
		return nil, ErrHash
	}
	p, err := k.pub.g.Point(ephemeral.X, ephemeral.Y)
	if err != nil {
		return nil, err
	}
	z, err := k.ECDH(p)
	if err != nil {
		return nil, err
	}
	return KDFe(h, z.X, label, p.X, k.pub.q.X, h.DigestSize()*8), nil
}
