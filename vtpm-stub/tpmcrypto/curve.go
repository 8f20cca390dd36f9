package tpmcrypto

import (
	"bytes"
	"io"
	"math/big"
	"sync"
)

// Curve is a TPM_ECC_CURVE (ALG table 4).
type Curve uint16

const (
	CurveP192  Curve = 0x0001
	CurveP224  Curve = 0x0002
	CurveP256  Curve = 0x0003
	CurveP384  Curve = 0x0004
	CurveP521  Curve = 0x0005
	CurveBN256 Curve = 0x0010
	CurveBN638 Curve = 0x0011
	CurveSM2   Curve = 0x0020
)

// Curves lists the supported curves in ascending order.
func Curves() []Curve {
	return []Curve{CurveP192, CurveP224, CurveP256, CurveP384, CurveP521, CurveBN256, CurveBN638, CurveSM2}
}

// Point is an affine point: coordinates of Group.Size bytes each. The zero
// value is the point at infinity.
type Point struct{ X, Y []byte }

// IsInfinity reports whether p is the point at infinity.
func (p Point) IsInfinity() bool { return len(p.X) == 0 && len(p.Y) == 0 }

// Equal reports whether two padded points are the same.
func (p Point) Equal(q Point) bool { return bytes.Equal(p.X, q.X) && bytes.Equal(p.Y, q.Y) }

// CurveParams are a curve's domain parameters as TPM2_ECC_Parameters gives
// them, big-endian; all but H have the size of the field or of the order.
type CurveParams struct{ P, A, B, Gx, Gy, N, H []byte }

// arith is a curve's group law on valid points; scalars have the order's size
// and are secret.
type arith interface {
	onCurve(p Point) bool
	mul(k []byte, p Point) Point
	baseMul(k []byte) Point
	add(p, q Point) Point
}

// Group is a supported curve with its group operations. All of them have
// cofactor 1. Its methods are safe for concurrent use and constant time in the
// scalars.
type Group struct {
	id     Curve
	name   string
	params CurveParams
	size   int
	order  *Modulus
	arith
}

// The groups are constants that take some work to compute.
var groups = map[Curve]func() *Group{
	CurveP192:  sync.OnceValue(newP192),
	CurveP224:  sync.OnceValue(newP224),
	CurveP256:  sync.OnceValue(newP256),
	CurveP384:  sync.OnceValue(newP384),
	CurveP521:  sync.OnceValue(newP521),
	CurveBN256: sync.OnceValue(newBN256),
	CurveBN638: sync.OnceValue(newBN638),
	CurveSM2:   sync.OnceValue(newSM2),
}

// GroupOf returns the group of a curve, nil when it is not supported.
func GroupOf(c Curve) *Group {
	f := groups[c]
	if f == nil {
		return nil
	}
	return f()
}

// Curve returns the curve's identifier.
func (g *Group) Curve() Curve { return g.id }

// Name returns the curve's usual name.
func (g *Group) Name() string { return g.name }

// Size returns the size of a coordinate in bytes.
func (g *Group) Size() int { return g.size }

// OrderSize returns the size of a scalar in bytes.
func (g *Group) OrderSize() int { return g.order.Size() }

// OrderBits returns the length of the order in bits, which is the "key size"
// of the curve.
func (g *Group) OrderBits() int { return g.order.BitLen() }

// Params returns the domain parameters. The caller must not change them.
func (g *Group) Params() CurveParams { return g.params }

// Generator returns the base point.
func (g *Group) Generator() Point { return Point{g.params.Gx, g.params.Gy} }

// Point pads the coordinates and checks that they name a point of the curve,
// else ErrPoint. Infinity is refused.
func (g *Group) Point(x, y []byte) (Point, error) {
	x, okX := pad(x, g.size)
	y, okY := pad(y, g.size)
	p := Point{x, y}
	if !okX || !okY || !g.onCurve(p) {
		return Point{}, ErrPoint
	}
	return p, nil
}

// pad brings a big-endian number to n bytes; false when it does not fit.
func pad(b []byte, n int) ([]byte, bool) {
	for len(b) > n && b[0] == 0 {
		b = b[1:]
	}
	if len(b) > n {
		return nil, false
	}
	out := make([]byte, n)
	copy(out[n-len(b):], b)
	return out, true
}

// Scalar pads k to the order's size and checks that it is less than the order,
// else ErrValue. Zero is allowed.
func (g *Group) Scalar(k []byte) ([]byte, error) {
	k, ok := pad(k, g.OrderSize())
	if !ok {
		return nil, ErrValue
	}
	if _, err := g.order.SetBytes(k); err != nil {
		return nil, err
	}
	return k, nil
}

// Mul returns [k]p for a point that Point has checked; the result may be
// infinity. A scalar that is not below the order gives ErrValue.
func (g *Group) Mul(k []byte, p Point) (Point, error) {
	k, err := g.Scalar(k)
	if err != nil || p.IsInfinity() {
		return Point{}, err
	}
	if !g.onCurve(p) {
		return Point{}, ErrPoint
	}
	return g.mul(k, p), nil
}

// BaseMul returns [k]G; the result may be infinity.
func (g *Group) BaseMul(k []byte) (Point, error) {
	k, err := g.Scalar(k)
	if err != nil {
		return Point{}, err
	}
	return g.baseMul(k), nil
}

// Add returns p + q for points that Point has checked, infinity included.
func (g *Group) Add(p, q Point) Point {
	if p.IsInfinity() {
		return q
	}
	if q.IsInfinity() {
		return p
	}
	return g.add(p, q)
}

// RandomScalar returns a scalar in [1, n-1] by the method of extra random bits
// (P1 C.5, 186-5 A.2.1): it takes the length of the order plus 64 bits from
// src in one read, rounded up to bytes, the unused high bits cleared.
func (g *Group) RandomScalar(src io.Reader) ([]byte, error) {
	nbits := g.OrderBits() + 64
	c := make([]byte, (nbits+7)/8)
	if _, err := io.ReadFull(src, c); err != nil {
		return nil, err
	}
	if r := nbits % 8; r != 0 {
		c[0] &= 1<<r - 1
	}
	return g.scalarFromExtra(c), nil
}

// scalarFromExtra returns (c mod (n-1)) + 1.
func (g *Group) scalarFromExtra(c []byte) []byte {
	n1 := g.order.New()
	copy(n1, g.order.m)
	n1[0]-- // n is odd
	x := reduceAny(n1, c)
	one := g.order.New()
	one[0] = 1
	g.order.Add(x, x, one)
	clear(c)
	return g.order.Bytes(x)
}

// reduceAny returns b modulo any m >= 2 by shift and subtract, constant time
// in b.
func reduceAny(m []uint64, b []byte) []uint64 {
	r, t := make([]uint64, len(m)), make([]uint64, len(m))
	for _, c := range b {
		for i := 7; i >= 0; i-- {
			carry := uint64(c>>i) & 1
			for j := range r {
				r[j], carry = r[j]<<1|carry, r[j]>>63
			}
			borrow := sub(t, r, m)
			choose(r, t, -(carry | (1 ^ borrow)))
		}
	}
	return r
}

// newGroup builds the parts that do not depend on the implementation.
func newGroup(id Curve, name string, p, a, b, gx, gy, n string) *Group {
	pp := mustHex(p)
	g := &Group{id: id, name: name, size: (pp.BitLen() + 7) / 8}
	fix := func(s string, size int) []byte { return mustHex(s).FillBytes(make([]byte, size)) }
	nn := mustHex(n)
	order, err := NewModulus(nn)
	if err != nil {
		panic("tpmcrypto: internal error: curve order")
	}
	g.order = order
	g.params = CurveParams{
		P: fix(p, g.size), A: fix(a, g.size), B: fix(b, g.size),
		Gx: fix(gx, g.size), Gy: fix(gy, g.size),
		N: fix(n, order.Size()), H: []byte{1},
	}
	return g
}

// mustHex reads one of the constants of this package.
func mustHex(s string) *big.Int {
	x, ok := new(big.Int).SetString(s, 16)
	if !ok {
		panic("tpmcrypto: internal error: curve constant")
	}
	return x
}
