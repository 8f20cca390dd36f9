package tpmcrypto

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"io"
	"sync"
)

// ECCPublicKey is a point that has been checked, ready for verification.
type ECCPublicKey struct {
	g   *Group
	q   Point
	std func() *ecdsa.PublicKey // made at the first use; nil for curves that std does not have
}

// ECCPrivateKey is an ECC key pair. It is safe for concurrent use.
type ECCPrivateKey struct {
	pub ECCPublicKey
	d   []byte // OrderSize bytes
	std func() *ecdsa.PrivateKey
}

// stdCurve returns the standard library's curve, nil when it has none.
func stdCurve(c Curve) elliptic.Curve {
	switch c {
	case CurveP224:
		return elliptic.P224()
	case CurveP256:
		return elliptic.P256()
	case CurveP384:
		return elliptic.P384()
	case CurveP521:
		return elliptic.P521()
	}
	return nil
}

// NewECCPublicKey checks that (x, y) is a point of the curve: ErrCurve or
// ErrPoint otherwise.
func NewECCPublicKey(c Curve, x, y []byte) (*ECCPublicKey, error) {
	g := GroupOf(c)
	if g == nil {
		return nil, ErrCurve
	}
	q, err := g.Point(x, y)
	if err != nil {
		return nil, err
	}
	k := newPublic(g, q)
	return &k, nil
}

// newPublic makes a key of a point of the curve. What the standard library needs
// costs as much as the key's generation and is made for signatures only.
func newPublic(g *Group, q Point) ECCPublicKey {
	k := ECCPublicKey{g: g, q: q}
	if std := stdCurve(g.id); std != nil {
		k.std = sync.OnceValue(func() *ecdsa.PublicKey {
			pub, err := ecdsa.ParseUncompressedPublicKey(std, append(append([]byte{4}, q.X...), q.Y...))
			if err != nil {
				panic("tpmcrypto: internal error: unchecked point")
			}
			return pub
		})
	}
	return k
}

// Group returns the key's group.
func (k *ECCPublicKey) Group() *Group { return k.g }

// Point returns the public point, padded.
func (k *ECCPublicKey) Point() Point { return k.q }

// NewECCPrivateKey makes a key pair of a private value with 0 < d < n:
// ErrCurve or ErrKey otherwise. The caller compares the public point with the
// one it was given.
func NewECCPrivateKey(c Curve, d []byte) (*ECCPrivateKey, error) {
	g := GroupOf(c)
	if g == nil {
		return nil, ErrCurve
	}
	d, err := g.Scalar(d)
	if err != nil {
		return nil, ErrKey
	}
	q := g.baseMul(d)
	if q.IsInfinity() {
		return nil, ErrKey
	}
	k := &ECCPrivateKey{pub: newPublic(g, q), d: d}
	if std := stdCurve(c); std != nil {
		k.std = sync.OnceValue(func() *ecdsa.PrivateKey {
			priv, err := ecdsa.ParseRawPrivateKey(std, d)
			if err != nil {
				panic("tpmcrypto: internal error: unchecked scalar")
			}
			return priv
		})
	}
	return k, nil
}

// GenerateECC makes a key pair from src by P1 C.5, with one read. The same
// bytes always give the same key.
func GenerateECC(c Curve, src io.Reader) (*ECCPrivateKey, error) {
	g := GroupOf(c)
	if g == nil {
		return nil, ErrCurve
	}
	d, err := g.RandomScalar(src)
	if err != nil {
		return nil, err
	}
	return NewECCPrivateKey(c, d)
}

// Public returns the public half.
func (k *ECCPrivateKey) Public() *ECCPublicKey { return &k.pub }

// Private returns the private value with OrderSize bytes. The caller must not
// change it.
func (k *ECCPrivateKey) Private() []byte { return k.d }

// ECDH is the primitive of TPM2_ECDH_ZGen (P1 C.7.3): [d]P. It gives
// ErrPoint when p is not on the key's curve and ErrInfinity when the result is
// infinity.
func (k *ECCPrivateKey) ECDH(p Point) (Point, error) {
	p, err := k.pub.g.Point(p.X, p.Y)
	if err != nil {
		return Point{}, err
	}
	z := k.pub.g.mul(k.d, p)
	if z.IsInfinity() {
		return Point{}, ErrInfinity
	}
	return z, nil
}
