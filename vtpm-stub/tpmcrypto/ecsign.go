package tpmcrypto

import (
	"crypto/ecdsa"
	"crypto/rand"
	"io"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// ECSignature is the pair (r, s) of TPMS_SIGNATURE_ECC. Signing gives both
// with OrderSize bytes; verification takes any length.
type ECSignature struct{ R, S []byte }

// maxTries bounds loops that almost never run twice.
const maxTries = 64

// SignECDSA signs a digest (P1 C.4.1). On NIST curves the standard library
// does it, with its own randomness hedged by key and digest; rnd is used on
// the other curves.
func (k *ECCPrivateKey) SignECDSA(rnd io.Reader, digest []byte) (ECSignature, error) {
	if k.std != nil {
		return k.signStd(digest)
	}
	// 186-5 6.4.1
	g, n := k.pub.g, k.pub.g.order
	e := g.hashToScalar(digest)
	for range maxTries {
		kk, err := g.RandomScalar(rnd)
		if err != nil {
			return ECSignature{}, err
		}
		r := n.Reduce(g.baseMul(kk).X)
		inv, err := n.SetBytes(kk)
		if err != nil {
			return ECSignature{}, err
		}
		n.InvPrime(inv, inv)
		s, d := n.New(), n.Reduce(k.d)
		n.Mul(s, r, d)
		n.Add(s, s, e)
		n.Mul(s, s, inv)
		if n.IsZero(r)|n.IsZero(s) == 0 {
			return ECSignature{n.Bytes(r), n.Bytes(s)}, nil
		}
	}
	return ECSignature{}, ErrExhausted
}

func (k *ECCPrivateKey) signStd(digest []byte) (ECSignature, error) {
	der, err := ecdsa.SignASN1(rand.Reader, k.std(), digest)
	if err != nil {
		return ECSignature{}, ErrKey
	}
	return parseDER(der, k.pub.g.OrderSize())
}

// parseDER reads what std produced.
func parseDER(der []byte, size int) (ECSignature, error) {
	var r, s big.Int
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Integer(&r) || !seq.ReadASN1Integer(&s) {
		return ECSignature{}, ErrSignature
	}
	return ECSignature{r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))}, nil
}

// VerifyECDSA checks a signature over a digest: nil or ErrSignature.
func (k *ECCPublicKey) VerifyECDSA(digest []byte, sig ECSignature) error {
	if k.std != nil {
		r, s := new(big.Int).SetBytes(sig.R), new(big.Int).SetBytes(sig.S)
		if ecdsa.Verify(k.std(), digest, r, s) {
			return nil
		}
		return ErrSignature
	}
	g, n := k.g, k.g.order
	r, s, err := g.readSignature(sig)
	if err != nil {
		return err
	}
	u1, u2 := n.New(), n.New()
	n.InvPrime(s, s)
	n.Mul(u1, g.hashToScalar(digest), s)
	n.Mul(u2, r, s)
	x := g.Add(g.baseMul(n.Bytes(u1)), g.mul(n.Bytes(u2), k.q))
	if x.IsInfinity() || n.Equal(n.Reduce(x.X), r) != 1 {
		return ErrSignature
	}
	return nil
}

// readSignature reads r and s, which must be in [1, n-1].
func (g *Group) readSignature(sig ECSignature) (r, s []uint64, err error) {
	for _, v := range []struct {
		b   []byte
		out *[]uint64
	}{{sig.R, &r}, {sig.S, &s}} {
		b, ok := pad(v.b, g.OrderSize())
		if !ok {
			return nil, nil, ErrSignature
		}
		x, err := g.order.SetBytes(b)
		if err != nil || g.order.IsZero(x) == 1 {
			return nil, nil, ErrSignature
		}
		*v.out = x
	}
	return r, s, nil
}

// hashToScalar takes the leftmost OrderBits of a digest as a number modulo the
// order (186-5 6.4.1).
func (g *Group) hashToScalar(digest []byte) []uint64 {
	if len(digest) > g.OrderSize() {
		digest = digest[:g.OrderSize()]
	}
	e := new(big.Int).SetBytes(digest) // a digest is public
	if extra := len(digest)*8 - g.OrderBits(); extra > 0 {
		e.Rsh(e, uint(extra))
	}
	return g.order.Reduce(e.Bytes())
}

// SignSchnorr is EC-Schnorr as P1 C.4.3 defines it; h is the scheme's hash.
func (k *ECCPrivateKey) SignSchnorr(rnd io.Reader, h Alg, digest []byte) (ECSignature, error) {
	g, n := k.pub.g, k.pub.g.order
	if !h.IsHash() {
		return ECSignature{}, ErrHash
	}
	for range maxTries {
		kb, err := g.RandomScalar(rnd)
		if err != nil {
			return ECSignature{}, err
		}
		r := g.schnorrHash(h, g.baseMul(kb), digest)
		kk := n.Reduce(kb)
		s, d := n.New(), n.Reduce(k.d)
		n.Mul(s, n.Reduce(r), d)
		n.Add(s, s, kk)
		if n.IsZero(s)|n.Equal(s, kk) == 0 {
			return ECSignature{r, n.Bytes(s)}, nil
		}
	}
	return ECSignature{}, ErrExhausted
}

// VerifySchnorr is P1 C.4.3, "Signature Validate": nil or ErrSignature.
func (k *ECCPublicKey) VerifySchnorr(h Alg, digest []byte, sig ECSignature) error {
	g, n := k.g, k.g.order
	if !h.IsHash() {
		return ErrHash
	}
	sb, ok := pad(sig.S, g.OrderSize())
	if !ok {
		return ErrSignature
	}
	s, err := n.SetBytes(sb)
	if err != nil || n.IsZero(s) == 1 || len(sig.R) > MaxDigestSize+g.OrderSize() {
		return ErrSignature
	}
	neg := n.New()
	n.Sub(neg, neg, n.Reduce(sig.R))
	e := g.Add(g.baseMul(sb), g.mul(n.Bytes(neg), k.q))
	if e.IsInfinity() {
		return ErrSignature
	}
	want := new(big.Int).SetBytes(g.schnorrHash(h, e, digest))
	if want.Cmp(new(big.Int).SetBytes(sig.R)) != 0 {
		return ErrSignature
	}
	return nil
}

// schnorrHash is TRUNC(H(FE2BS(x) || P), n).
func (g *Group) schnorrHash(h Alg, e Point, digest []byte) []byte {
	x, _ := pad(e.X, g.OrderSize()) // the sizes are equal on all our curves
	r := Sum(h, x, digest)
	return r[:min(len(r), g.OrderSize())]
}

// SignECDAA is P1 C.4.2, "ECDAA Sign Operation": r is the commit value that
// CommitScalar gave and p the value to sign (equation 63 or 64). R of the
// signature is the nonce k.
func (k *ECCPrivateKey) SignECDAA(rnd io.Reader, h Alg, r, p []byte) (ECSignature, error) {
	g, n := k.pub.g, k.pub.g.order
	if !h.IsHash() {
		return ECSignature{}, ErrHash
	}
	rs, err := n.SetBytes(r)
	if err != nil {
		return ECSignature{}, err
	}
	nonce, err := g.RandomScalar(rnd)
	if err != nil {
		return ECSignature{}, err
	}
	s, d := n.Reduce(Sum(h, nonce, p)), n.Reduce(k.d)
	n.Mul(s, s, d)
	n.Add(s, s, rs)
	if n.IsZero(s) == 1 {
		return ECSignature{}, ErrInfinity
	}
	return ECSignature{nonce, n.Bytes(s)}, nil
}

// SignSM2 is the signature of GB/T 32918.2 over a digest that the caller has
// made with the identity value Z in it. The curve must be SM2-P256.
func (k *ECCPrivateKey) SignSM2(rnd io.Reader, digest []byte) (ECSignature, error) {
	g, n := k.pub.g, k.pub.g.order
	if g.id != CurveSM2 {
		return ECSignature{}, ErrCurve
	}
	e, d := n.Reduce(digest), n.Reduce(k.d)
	inv, one := n.New(), n.New()
	one[0] = 1
	n.Add(inv, d, one)
	n.InvPrime(inv, inv)
	for range maxTries {
		kb, err := g.RandomScalar(rnd)
		if err != nil {
			return ECSignature{}, err
		}
		kk, r, s := n.Reduce(kb), n.Reduce(g.baseMul(kb).X), n.New()
		n.Add(r, r, e)
		n.Add(s, r, kk)
		bad := n.IsZero(r) | n.IsZero(s)
		n.Mul(s, r, d)
		n.Sub(s, kk, s)
		n.Mul(s, s, inv)
		if bad|n.IsZero(s) == 0 {
			return ECSignature{n.Bytes(r), n.Bytes(s)}, nil
		}
	}
	return ECSignature{}, ErrExhausted
}

// VerifySM2 checks what SignSM2 made: nil or ErrSignature.
func (k *ECCPublicKey) VerifySM2(digest []byte, sig ECSignature) error {
	g, n := k.g, k.g.order
	if g.id != CurveSM2 {
		return ErrCurve
	}
	r, s, err := g.readSignature(sig)
	if err != nil {
		return err
	}
	t := n.New()
	n.Add(t, r, s)
	if n.IsZero(t) == 1 {
		return ErrSignature
	}
	x := g.Add(g.baseMul(n.Bytes(s)), g.mul(n.Bytes(t), k.q))
	if x.IsInfinity() {
		return ErrSignature
	}
	v := n.Reduce(x.X)
	n.Add(v, v, n.Reduce(digest))
	if n.Equal(v, r) != 1 {
		return ErrSignature
	}
	return nil
}
