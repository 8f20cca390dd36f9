package tpmcrypto

import (
	"bytes"
	"crypto/elliptic"
	"encoding/hex"
	"math/big"
	"math/rand"
	"testing"
)

// affineAdd is the schoolbook group law, as an independent check.
func affineAdd(g *Group, p, q Point) Point {
	if p.IsInfinity() {
		return q
	}
	if q.IsInfinity() {
		return p
	}
	bi := func(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
	m, a := bi(g.params.P), bi(g.params.A)
	x1, y1, x2, y2 := bi(p.X), bi(p.Y), bi(q.X), bi(q.Y)
	num, den := new(big.Int), new(big.Int)
	if x1.Cmp(x2) == 0 {
		if s := new(big.Int).Add(y1, y2); s.Mod(s, m).Sign() == 0 {
			return Point{}
		}
		num.Mul(x1, x1)
		num.Mul(num, big.NewInt(3)).Add(num, a)
		den.Lsh(y1, 1)
	} else {
		num.Sub(y2, y1)
		den.Sub(x2, x1)
	}
	l := den.Mod(den, m).ModInverse(den, m)
	l.Mul(l, num).Mod(l, m)
	x := new(big.Int).Mul(l, l)
	x.Sub(x, x1).Sub(x, x2).Mod(x, m)
	y := new(big.Int).Sub(x1, x)
	y.Mul(y, l).Sub(y, y1).Mod(y, m)
	return Point{x.FillBytes(make([]byte, g.size)), y.FillBytes(make([]byte, g.size))}
}

func TestCurveConstants(t *testing.T) {
	for _, id := range Curves() {
		g := GroupOf(id)
		p, n := new(big.Int).SetBytes(g.params.P), new(big.Int).SetBytes(g.params.N)
		if !p.ProbablyPrime(20) || !n.ProbablyPrime(20) {
			t.Errorf("%s: field or order is not prime", g.name)
		}
		if _, err := g.Point(g.params.Gx, g.params.Gy); err != nil {
			t.Errorf("%s: generator: %v", g.name, err)
		}
		// [n-1]G = -G, so [n]G is infinity and the order is right.
		k := new(big.Int).Sub(n, big.NewInt(1)).Bytes()
		q, err := g.BaseMul(k)
		if err != nil {
			t.Fatal(err)
		}
		if !g.Add(q, g.Generator()).IsInfinity() {
			t.Errorf("%s: [n]G is not infinity", g.name)
		}
	}
	if GroupOf(0) != nil || GroupOf(0x30) != nil {
		t.Error("an unsupported curve has a group")
	}
}

func TestGroupLaw(t *testing.T) {
	rnd := rand.New(rand.NewSource(3))
	for _, id := range Curves() {
		g := GroupOf(id)
		k := make([]byte, g.OrderSize())
		acc := Point{}
		for i := range 20 {
			k[len(k)-1] = byte(i)
			q, err := g.BaseMul(k)
			if err != nil || !q.Equal(acc) {
				t.Fatalf("%s: [%d]G: %v", g.name, i, err)
			}
			if q2, err := g.Mul(k, g.Generator()); err != nil || !q2.Equal(acc) {
				t.Fatalf("%s: Mul %d: %v", g.name, i, err)
			}
			next := affineAdd(g, acc, g.Generator())
			if !g.Add(acc, g.Generator()).Equal(next) {
				t.Fatalf("%s: Add at %d", g.name, i)
			}
			acc = next
		}
		for range 3 {
			a, _ := g.RandomScalar(rnd)
			b, _ := g.RandomScalar(rnd)
			pa, _ := g.BaseMul(a)
			pb, _ := g.BaseMul(b)
			if !g.Add(pa, pb).Equal(affineAdd(g, pa, pb)) || !g.Add(pa, pa).Equal(affineAdd(g, pa, pa)) {
				t.Fatalf("%s: random addition", g.name)
			}
			s1, _ := g.Mul(a, pb)
			s2, _ := g.Mul(b, pa)
			if !s1.Equal(s2) || s1.IsInfinity() {
				t.Fatalf("%s: [a][b]G != [b][a]G", g.name)
			}
		}
	}
}

// The generic code must agree with nistec where both can compute.
func TestGenericAgainstNistec(t *testing.T) {
	rnd := rand.New(rand.NewSource(4))
	p := elliptic.P256().Params()
	a := new(big.Int).Sub(p.P, big.NewInt(3))
	gen := newGeneric(newGroup(CurveP256, "generic", p.P.Text(16), a.Text(16), p.B.Text(16), p.Gx.Text(16), p.Gy.Text(16), p.N.Text(16)))
	g := GroupOf(CurveP256)
	for range 10 {
		k, _ := g.RandomScalar(rnd)
		x, _ := g.BaseMul(k)
		y, _ := gen.BaseMul(k)
		if !x.Equal(y) {
			t.Fatalf("[%x]G differs", k)
		}
		k2, _ := g.RandomScalar(rnd)
		x, _ = g.Mul(k2, x)
		y, _ = gen.Mul(k2, y)
		if !x.Equal(y) {
			t.Fatalf("[%x][%x]G differs", k2, k)
		}
	}
}

func TestPointRefusals(t *testing.T) {
	for _, id := range Curves() {
		g := GroupOf(id)
		x, y := g.params.Gx, g.params.Gy
		bad := append([]byte(nil), y...)
		bad[len(bad)-1] ^= 1
		big1 := append([]byte{1}, y...)
		for _, c := range []Point{{x, bad}, {nil, nil}, {x, nil}, {nil, y}, {x, big1}, {big1, y}, {g.params.P, y}, {x, g.params.P}} {
			if _, err := g.Point(c.X, c.Y); err != ErrPoint {
				t.Errorf("%s: (%x, %x): %v", g.name, c.X, c.Y, err)
			}
		}
		// Leading zeros do not change the point.
		if p, err := g.Point(append([]byte{0, 0}, x...), y); err != nil || !p.Equal(g.Generator()) {
			t.Errorf("%s: padded point: %v", g.name, err)
		}
		for _, k := range [][]byte{g.params.N, append([]byte{1}, g.params.N...)} {
			if _, err := g.BaseMul(k); err != ErrValue {
				t.Errorf("%s: scalar %x: %v", g.name, k, err)
			}
		}
		if q, err := g.BaseMul(nil); err != nil || !q.IsInfinity() {
			t.Errorf("%s: [0]G: %v", g.name, err)
		}
	}
}

// RandomScalar must be (c mod (n-1)) + 1 with c masked to the order's bits+64.
func TestRandomScalar(t *testing.T) {
	rnd := rand.New(rand.NewSource(5))
	for _, id := range Curves() {
		g := GroupOf(id)
		n1 := new(big.Int).SetBytes(g.params.N)
		n1.Sub(n1, big.NewInt(1))
		size := (g.OrderBits() + 64 + 7) / 8
		inputs := [][]byte{make([]byte, size), bytes.Repeat([]byte{0xff}, size)}
		for range 5 {
			b := make([]byte, size)
			rnd.Read(b)
			inputs = append(inputs, b)
		}
		for _, b := range inputs {
			got, err := g.RandomScalar(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			c := new(big.Int).SetBytes(b)
			mask := new(big.Int).Lsh(big.NewInt(1), uint(g.OrderBits()+64))
			c.And(c, mask.Sub(mask, big.NewInt(1)))
			c.Mod(c, n1).Add(c, big.NewInt(1))
			if !bytes.Equal(got, c.FillBytes(make([]byte, g.OrderSize()))) {
				t.Errorf("%s: %x gives %x", g.name, b, got)
			}
		}
		if _, err := g.RandomScalar(bytes.NewReader(make([]byte, size-1))); err == nil {
			t.Errorf("%s: a short source was accepted", g.name)
		}
	}
}

// ECDH known answers: P-256 and P-384 of RFC 5903 section 8; P-224 and P-521
// computed with OpenSSL 3.
func TestECDHVectors(t *testing.T) {
	for _, v := range []struct {
		c          Curve
		i, gr, gir string // private i, public gr (x||y), shared x
	}{
		{CurveP256,
			"C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
			"D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF6356FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
			"D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE"},
		{CurveP384,
			"099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
			"E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
			"11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746"},
		{CurveP224, "1234567890abcdef1234567890abcdef1234567890abcdef",
			"8342265cc3f50d89dd590e8ef520d7a24b8ba74f36ff42f2eb6a99c3" + "bf61f91df1874807f471d59904daf6fe7f7201ddd995b015604561d6",
			"d37962fb1f997474b9f23fdb9f3eb11323bb17a3dacc201ef6c54be9"},
		{CurveP521, "1234567890abcdef1234567890abcdef1234567890abcdef",
			"01619f2fb0f6fa07b8bfe87529379da4a970c0d8c584644780d761c9645b8de06c9f80c6207bb2958bd987d08a71200699d9d7317444f1e8ca2628a90aae18395e12" +
				"0123f5e3f41e70163a35fa95cbe8a01873d5d56c312fda824fa051fa4123f44898bb114c24423a81ffb3b208a3ba849c7e24dd66a016e410d7c0478fe5dca272d82e",
			"01aacbb70e80957e7d32b5e0a41add27a987553c898d58fd5cced680f7b402d32f21f94328759e879d928a649a0d87605bf2d6572bdd3f78a4912bb9fd93ce2b966f"},
	} {
		h := func(s string) []byte {
			b, err := hex.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		g := GroupOf(v.c)
		gr := h(v.gr)
		p, err := g.Point(gr[:g.size], gr[g.size:])
		if err != nil {
			t.Fatal(g.name, err)
		}
		z, err := g.Mul(h(v.i), p)
		if err != nil || !bytes.Equal(z.X, h(v.gir)) {
			t.Errorf("%s: %x %v", g.name, z.X, err)
		}
	}
}

func BenchmarkGenericMul(b *testing.B) {
	g := GroupOf(CurveSM2)
	k := bytes.Repeat([]byte{0x5a}, 32)
	for b.Loop() {
		g.BaseMul(k)
	}
}

func BenchmarkP256BaseMul(b *testing.B) {
	g := GroupOf(CurveP256)
	k := bytes.Repeat([]byte{0x5a}, 32)
	for b.Loop() {
		g.BaseMul(k)
	}
}
