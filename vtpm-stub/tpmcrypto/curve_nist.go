package tpmcrypto

import (
	"crypto/elliptic"
	"math/big"

	"filippo.io/nistec"
)

// nistPoint is what the point types of nistec have in common.
type nistPoint[T any] interface {
	Add(p, q T) T
	ScalarMult(p T, k []byte) (T, error)
	ScalarBaseMult(k []byte) (T, error)
	SetBytes(b []byte) (T, error)
	Bytes() []byte
}

type nistCurve[T nistPoint[T]] struct {
	newPoint func() T
	size     int
}

func (c nistCurve[T]) decode(p Point) (T, error) {
	b := make([]byte, 1, 1+2*c.size)
	b[0] = 4
	return c.newPoint().SetBytes(append(append(b, p.X...), p.Y...))
}

// encode returns the zero Point for infinity, which nistec encodes as one
// zero byte.
func (c nistCurve[T]) encode(p T) Point {
	b := p.Bytes()
	if len(b) == 1 {
		return Point{}
	}
	return Point{b[1 : 1+c.size : 1+c.size], b[1+c.size:]}
}

func (c nistCurve[T]) onCurve(p Point) bool {
	_, err := c.decode(p)
	return err == nil
}

func (c nistCurve[T]) mul(k []byte, p Point) Point {
	q, err := c.decode(p)
	if err == nil {
		q, err = c.newPoint().ScalarMult(q, k)
	}
	return c.checked(q, err)
}

func (c nistCurve[T]) baseMul(k []byte) Point {
	q, err := c.newPoint().ScalarBaseMult(k)
	return c.checked(q, err)
}

func (c nistCurve[T]) add(p, q Point) Point {
	a, err := c.decode(p)
	if err != nil {
		return c.checked(a, err)
	}
	b, err := c.decode(q)
	if err != nil {
		return c.checked(b, err)
	}
	return c.encode(c.newPoint().Add(a, b))
}

// checked panics on an error: Group has checked points and scalars.
func (c nistCurve[T]) checked(p T, err error) Point {
	if err != nil {
		panic("tpmcrypto: internal error: unchecked point or scalar")
	}
	return c.encode(p)
}

func newP224() *Group {
	return nistGroup(CurveP224, "P-224", elliptic.P224(), nistec.NewP224Point)
}

func newP256() *Group {
	return nistGroup(CurveP256, "P-256", elliptic.P256(), nistec.NewP256Point)
}

func newP384() *Group {
	return nistGroup(CurveP384, "P-384", elliptic.P384(), nistec.NewP384Point)
}

func newP521() *Group {
	return nistGroup(CurveP521, "P-521", elliptic.P521(), nistec.NewP521Point)
}

func nistGroup[T nistPoint[T]](id Curve, name string, std elliptic.Curve, newPoint func() T) *Group {
	p := std.Params()
	a := new(big.Int).Sub(p.P, big.NewInt(3))
	g := newGroup(id, name, p.P.Text(16), a.Text(16), p.B.Text(16),
		p.Gx.Text(16), p.Gy.Text(16), p.N.Text(16))
	g.arith = nistCurve[T]{newPoint, g.size}
	return g
}
