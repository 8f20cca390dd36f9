package tpmcrypto

import (
	"crypto/subtle"
	"math/big"
	"sync"
)

// genericCurve is a short Weierstrass curve of prime order over Modulus
// arithmetic, with the complete addition of RCB algorithm 1. It has no special
// cases, so it is constant time; it is some ten times slower than nistec.
// Field elements are in Montgomery form.
type genericCurve struct {
	f     *Modulus
	a, b3 []uint64
	b     []uint64
	gen   Point
	comb  func() *pointTable // of the generator
}

// pointTable holds what a window of four bits selects from.
type pointTable [16]projPoint

// projPoint is (X:Y:Z) with x = X/Z, y = Y/Z.
type projPoint struct{ x, y, z []uint64 }

func newGeneric(g *Group) *Group {
	f, err := NewModulus(new(big.Int).SetBytes(g.params.P))
	if err != nil {
		panic("tpmcrypto: internal error: curve field")
	}
	c := &genericCurve{f: f, gen: g.Generator()}
	c.a, c.b = c.elem(g.params.A), c.elem(g.params.B)
	c.b3 = f.New()
	f.Add(c.b3, c.b, c.b)
	f.Add(c.b3, c.b3, c.b)
	c.comb = sync.OnceValue(c.newComb)
	g.arith = c
	return g
}

// elem reads one of our own field constants.
func (c *genericCurve) elem(b []byte) []uint64 {
	x, err := c.f.SetBytes(b)
	if err != nil {
		panic("tpmcrypto: internal error: unchecked field element")
	}
	c.f.toMont(x, x)
	return x
}

func (c *genericCurve) newPoint() projPoint {
	return projPoint{c.f.New(), c.f.New(), c.f.New()}
}

func (c *genericCurve) infinity() projPoint {
	p := c.newPoint()
	copy(p.y, c.f.one)
	return p
}

func (c *genericCurve) decode(p Point) projPoint {
	return projPoint{c.elem(p.X), c.elem(p.Y), append([]uint64(nil), c.f.one...)}
}

func (c *genericCurve) encode(p projPoint) Point {
	if c.f.IsZero(p.z) == 1 {
		return Point{}
	}
	inv, x, y := c.f.New(), c.f.New(), c.f.New()
	c.f.invMont(inv, p.z)
	c.f.montMul(x, p.x, inv)
	c.f.montMul(y, p.y, inv)
	c.f.fromMont(x, x)
	c.f.fromMont(y, y)
	return Point{c.f.Bytes(x), c.f.Bytes(y)}
}

// onCurve checks y^2 = x^3 + a*x + b and that both coordinates are reduced.
func (c *genericCurve) onCurve(p Point) bool {
	x, errX := c.f.SetBytes(p.X)
	y, errY := c.f.SetBytes(p.Y)
	if errX != nil || errY != nil || len(p.X) != c.f.Size() || len(p.Y) != c.f.Size() {
		return false
	}
	f := c.f
	f.toMont(x, x)
	f.toMont(y, y)
	t := f.New()
	f.montMul(t, x, x)
	f.Add(t, t, c.a)
	f.montMul(t, t, x)
	f.Add(t, t, c.b)
	f.montMul(y, y, y)
	return f.Equal(t, y) == 1
}

func (c *genericCurve) add(p, q Point) Point {
	r := c.newPoint()
	c.addProj(r, c.decode(p), c.decode(q))
	return c.encode(r)
}

// combRows is the distance in bits between the teeth of the generator's comb.
const combRows = 64

// newComb makes the table of the generator: entry i is the sum of [2^(64 j)]G over the
// bits j of i, so that one pass over 64 rows of bits multiplies by 256.
func (c *genericCurve) newComb() *pointTable {
	var t pointTable
	t[0] = c.infinity()
	tooth := c.decode(c.gen)
	for i := 1; i < len(t); i *= 2 {
		for j := range i {
			t[i+j] = c.newPoint()
			c.addProj(t[i+j], t[j], tooth)
		}
		for range combRows {
			c.addProj(tooth, tooth, tooth)
		}
	}
	return &t
}

// baseMul is mul for the generator: a comb of four teeth, a quarter of the doublings.
func (c *genericCurve) baseMul(k []byte) Point {
	if len(k) != 4*combRows/8 {
		return c.mul(k, c.gen) // a longer scalar, or a larger curve
	}
	table, acc, pick := c.comb(), c.infinity(), c.newPoint()
	for row := combRows - 1; row >= 0; row-- {
		var w byte
		for tooth := range 4 {
			bit := row + combRows*tooth
			w |= k[len(k)-1-bit/8] >> (bit % 8) & 1 << tooth
		}
		c.addProj(acc, acc, acc)
		table.pick(pick, w)
		c.addProj(acc, acc, pick)
	}
	return c.encode(acc)
}

// mul is a fixed window of four bits.
func (c *genericCurve) mul(k []byte, p Point) Point {
	var table pointTable
	table[0], table[1] = c.infinity(), c.decode(p)
	for i := 2; i < len(table); i++ {
		table[i] = c.newPoint()
		c.addProj(table[i], table[i-1], table[1])
	}
	acc, pick := c.infinity(), c.newPoint()
	for _, b := range k {
		for _, w := range [...]byte{b >> 4, b & 15} {
			for range 4 {
				c.addProj(acc, acc, acc)
			}
			table.pick(pick, w)
			c.addProj(acc, acc, pick)
		}
	}
	return c.encode(acc)
}

// pick sets p to entry w < 16 and reads every entry to do so.
func (t *pointTable) pick(p projPoint, w byte) {
	for i, e := range t {
		mask := -uint64(subtle.ConstantTimeByteEq(w, byte(i)))
		choose(p.x, e.x, mask)
		choose(p.y, e.y, mask)
		choose(p.z, e.z, mask)
	}
}

// addProj sets r = p + q for any two points, equal, opposite and infinite ones
// included: RCB algorithm 1, whose step numbers are at the right. r may be p
// or q.
func (c *genericCurve) addProj(r, p, q projPoint) {
	f, mul := c.f, c.f.montMul
	var buf [6 * maxFieldLimbs]uint64
	n := len(f.m)
	t0, t1, t2 := buf[0:n], buf[n:2*n], buf[2*n:3*n]
	t3, t4, t5 := buf[3*n:4*n], buf[4*n:5*n], buf[5*n:6*n]
	var out [3 * maxFieldLimbs]uint64
	x3, y3, z3 := out[0:n], out[n:2*n], out[2*n:3*n]

	mul(t0, p.x, q.x) // 1
	mul(t1, p.y, q.y) // 2
	mul(t2, p.z, q.z) // 3
	f.Add(t3, p.x, p.y)
	f.Add(t4, q.x, q.y)
	mul(t3, t3, t4) // 6
	f.Add(t4, t0, t1)
	f.Sub(t3, t3, t4)
	f.Add(t4, p.x, p.z)
	f.Add(t5, q.x, q.z) // 10
	mul(t4, t4, t5)
	f.Add(t5, t0, t2)
	f.Sub(t4, t4, t5) // 13
	f.Add(t5, p.y, p.z)
	f.Add(x3, q.y, q.z)
	mul(t5, t5, x3) // 16
	f.Add(x3, t1, t2)
	f.Sub(t5, t5, x3)
	mul(z3, c.a, t4) // 19
	mul(x3, c.b3, t2)
	f.Add(z3, x3, z3)
	f.Sub(x3, t1, z3) // 22
	f.Add(z3, t1, z3)
	mul(y3, x3, z3)
	f.Add(t1, t0, t0) // 25
	f.Add(t1, t1, t0)
	mul(t2, c.a, t2)
	mul(t4, c.b3, t4) // 28
	f.Add(t1, t1, t2)
	f.Sub(t2, t0, t2)
	mul(t2, c.a, t2) // 31
	f.Add(t4, t4, t2)
	mul(t0, t1, t4)
	f.Add(y3, y3, t0) // 34
	mul(t0, t5, t4)
	mul(x3, t3, x3)
	f.Sub(x3, x3, t0) // 37
	mul(t0, t3, t1)
	mul(z3, t5, z3)
	f.Add(z3, z3, t0) // 40
	copy(r.x, x3)
	copy(r.y, y3)
	copy(r.z, z3)
}

// maxFieldLimbs bounds the field of a generic curve.
const maxFieldLimbs = 10

// SM2-P256 (GB/T 32918.5).
func newSM2() *Group {
	return newGeneric(newGroup(CurveSM2, "SM2-P256",
		"fffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffff",
		"fffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffc",
		"28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93",
		"32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7",
		"bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0",
		"fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123"))
}

// TPM_ECC_BN_P256 (ALG 6.2).
func newBN256() *Group {
	return newGeneric(newGroup(CurveBN256, "BN-P256",
		"fffffffffffcf0cd46e5f25eee71a49f0cdc65fb12980a82d3292ddbaed33013",
		"0", "3", "1", "2",
		"fffffffffffcf0cd46e5f25eee71a49e0cdc65fb1299921af62d536cd10b500d"))
}

// TPM_ECC_BN_P638 (ALG 6.3).
func newBN638() *Group {
	return newGeneric(newGroup(CurveBN638, "BN-P638",
		"23fffffdc000000d7fffffb8000001d3fffff942d000165e3fff94870000d52ffffdd0e00008de55c00086520021e55bfffff51ffff4eb800000004c80015acdffffffffffffece00000000000000067",
		"0", "101",
		"23fffffdc000000d7fffffb8000001d3fffff942d000165e3fff94870000d52ffffdd0e00008de55c00086520021e55bfffff51ffff4eb800000004c80015acdffffffffffffece00000000000000066",
		"10",
		"23fffffdc000000d7fffffb8000001d3fffff942d000165e3fff94870000d52ffffdd0e00008de55600086550021e555fffff54ffff4eac000000049800154d9ffffffffffffeda00000000000000061"))
}

// P-192 (FIPS 186-4 D.1.2.1), which neither the standard library nor nistec has. It is too
// weak for new keys; there are TPMs that list it.
func newP192() *Group {
	return newGeneric(newGroup(CurveP192, "P-192",
		"fffffffffffffffffffffffffffffffeffffffffffffffff",
		"fffffffffffffffffffffffffffffffefffffffffffffffc",
		"64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1",
		"188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012",
		"07192b95ffc8da78631011ed6b24cdd573f977a11e794811",
		"ffffffffffffffffffffffff99def836146bc9b1b4d22831"))
}
