package tpmcrypto

import (
	"encoding/binary"
	"math/big"
)

// CommitLabel separates the commit derivation from other uses of KDFa.
const CommitLabel = "ECDAA Commit"

// CommitScalar derives the commit value r of P1 equation (62), reduced modulo
// the order: r = KDFa(a, commitRandom, "ECDAA Commit", name, count, bits) mod n,
// where bits is the length of the order rounded up to whole bytes and count
// is the 64-bit commit counter. The result has OrderSize bytes.
func (g *Group) CommitScalar(a Alg, commitRandom, name []byte, count uint64) ([]byte, error) {
	if !a.IsHash() {
		return nil, ErrHash
	}
	ctr := binary.BigEndian.AppendUint64(nil, count)
	b := KDFa(a, commitRandom, CommitLabel, name, ctr, g.OrderSize()*8)
	r := g.order.Reduce(b)
	if g.order.IsZero(r) == 1 {
		return nil, ErrInfinity
	}
	return g.order.Bytes(r), nil
}

// CommitPoint maps s2 to the base point of TPM2_Commit (P1 C.2.3):
// x = H(s2) mod p with the y that the caller gives; ErrPoint when that is not
// on the curve.
func (g *Group) CommitPoint(a Alg, s2, y2 []byte) (Point, error) {
	if !a.IsHash() {
		return Point{}, ErrHash
	}
	f, err := NewModulus(new(big.Int).SetBytes(g.params.P))
	if err != nil {
		return Point{}, err
	}
	return g.Point(f.Bytes(f.Reduce(Sum(a, s2))), y2)
}

// Commit is the arithmetic of TPM2_Commit (P1 C.2.3) with commit value r. p1
// is the zero Point when absent, p2 is what CommitPoint gave or the zero
// Point. It returns K, L and E; those that do not apply are zero Points.
// ErrInfinity is TPM_RC_NO_RESULT.
func (k *ECCPrivateKey) Commit(r []byte, p1, p2 Point) (kp, l, e Point, err error) {
	g := k.pub.g
	mul := func(s []byte, p Point) Point {
		var q Point
		if err == nil {
			if q, err = g.Mul(s, p); err == nil && q.IsInfinity() {
				err = ErrInfinity
			}
		}
		return q
	}
	if !p2.IsInfinity() {
		kp, l = mul(k.d, p2), mul(r, p2)
	}
	if !p1.IsInfinity() {
		e = mul(r, p1)
	} else if p2.IsInfinity() {
		e = mul(r, g.Generator())
	}
	if err != nil {
		return Point{}, Point{}, Point{}, err
	}
	return kp, l, e, nil
}

// ZGenFullUnified is the Full Unified Model of P1 C.7.4: [ds]QsB and [de]QeB.
// A result at infinity is returned as the zero Point.
func (k *ECCPrivateKey) ZGenFullUnified(de []byte, qsB, qeB Point) (z1, z2 Point, err error) {
	g := k.pub.g
	if qsB, err = g.Point(qsB.X, qsB.Y); err != nil {
		return
	}
	if qeB, err = g.Point(qeB.X, qeB.Y); err != nil {
		return
	}
	if z2, err = g.Mul(de, qeB); err != nil {
		return
	}
	return g.mul(k.d, qsB), z2, nil
}

// ZGenMQV is the Full MQV of P1 C.7.4: [tA](QeB + [avf(QeB)]QsB) with
// tA = de + ds avf(QeA). A result at infinity is returned as the zero Point.
func (k *ECCPrivateKey) ZGenMQV(de []byte, qsB, qeB Point) (Point, error) {
	g, n := k.pub.g, k.pub.g.order
	qsB, err := g.Point(qsB.X, qsB.Y)
	if err != nil {
		return Point{}, err
	}
	if qeB, err = g.Point(qeB.X, qeB.Y); err != nil {
		return Point{}, err
	}
	qeA, err := g.BaseMul(de)
	if err != nil || qeA.IsInfinity() {
		return Point{}, ErrValue
	}
	t, d := n.Reduce(g.avf(qeA)), n.Reduce(k.d)
	n.Mul(t, t, d)
	n.Add(t, t, n.Reduce(de))
	avfB := n.Bytes(n.Reduce(g.avf(qeB)))
	sum := g.Add(qeB, g.mul(avfB, qsB))
	if sum.IsInfinity() {
		return Point{}, nil
	}
	return g.mul(n.Bytes(t), sum), nil
}

// ZGenSM2 is the SM2 key exchange of P1 D.2.3: [tA](QsB + [avf(QeB)]QeB) with
// tA = ds + de avf(QeA), where avf keeps one bit less than that of MQV. A result
// at infinity is ErrInfinity.
func (k *ECCPrivateKey) ZGenSM2(de []byte, qsB, qeB Point) (Point, error) {
	g, n := k.pub.g, k.pub.g.order
	qsB, err := g.Point(qsB.X, qsB.Y)
	if err != nil {
		return Point{}, err
	}
	if qeB, err = g.Point(qeB.X, qeB.Y); err != nil {
		return Point{}, err
	}
	qeA, err := g.BaseMul(de)
	if err != nil || qeA.IsInfinity() {
		return Point{}, ErrValue
	}
	f := (g.OrderBits()+1)/2 - 1
	t := n.Reduce(de)
	n.Mul(t, t, n.Reduce(avfBits(qeA, f)))
	n.Add(t, t, n.Reduce(k.d))
	sum := g.Add(qsB, g.mul(n.Bytes(n.Reduce(avfBits(qeB, f))), qeB))
	if sum.IsInfinity() {
		return Point{}, ErrInfinity
	}
	z := g.mul(n.Bytes(t), sum)
	if z.IsInfinity() {
		return Point{}, ErrInfinity
	}
	return z, nil
}

// avf is the associate value function: 2^f + (x mod 2^f), f = ceil(log2(n)/2).
func (g *Group) avf(q Point) []byte { return avfBits(q, (g.OrderBits()+1)/2) }

// avfBits is 2^f + (x mod 2^f).
func avfBits(q Point, f int) []byte {
	out := make([]byte, f/8+1)
	copy(out, q.X[len(q.X)-len(out):])
	out[0] &= 1<<(f%8) - 1
	out[0] |= 1 << (f % 8)
	return out
}
