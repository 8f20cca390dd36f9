package tpmcrypto

import (
	"bytes"
	"math/big"
	"math/rand"
	"testing"
)

// testModuli covers one limb to 64, values just under a limb boundary and
// curve orders.
func testModuli(t testing.TB) []*big.Int {
	var out []*big.Int
	for _, s := range []string{
		"3", "ff", "ffffffffffffffff", "1000000000000000f",
		"ffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3d",
		"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		m, ok := new(big.Int).SetString(s, 16)
		if !ok {
			t.Fatal(s)
		}
		out = append(out, m)
	}
	one := big.NewInt(1)
	for _, n := range []uint{512, 521, 1000, 1024, 1536, 2048} {
		m := new(big.Int).Lsh(one, n)
		out = append(out, m.Sub(m, one))
		r := new(big.Int).Rand(rand.New(rand.NewSource(int64(n))), m)
		out = append(out, r.SetBit(r, int(n-1), 1).SetBit(r, 0, 1))
	}
	return out
}

// edgeValues gives 0, 1, m-1 and random values below m.
func edgeValues(rnd *rand.Rand, m *big.Int) []*big.Int {
	one := big.NewInt(1)
	out := []*big.Int{new(big.Int), one, new(big.Int).Sub(m, one), new(big.Int).Rsh(m, 1)}
	for range 4 {
		out = append(out, new(big.Int).Rand(rnd, m))
	}
	return out
}

func TestModulusAgainstBig(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for _, m := range testModuli(t) {
		md, err := NewModulus(m)
		if err != nil {
			t.Fatal(err)
		}
		get := func(x []uint64) *big.Int { return new(big.Int).SetBytes(md.Bytes(x)) }
		check := func(op string, got []uint64, want *big.Int) {
			t.Helper()
			if want.Mod(want, m); get(got).Cmp(want) != 0 {
				t.Fatalf("%s mod %x: got %x want %x", op, m, get(got), want)
			}
		}
		vals := edgeValues(rnd, m)
		for _, a := range vals {
			for _, b := range vals {
				x, _ := md.SetBytes(a.Bytes())
				y, _ := md.SetBytes(b.Bytes())
				z := md.New()
				md.Add(z, x, y)
				check("add", z, new(big.Int).Add(a, b))
				md.Sub(z, x, y)
				check("sub", z, new(big.Int).Sub(a, b))
				md.Mul(z, x, y)
				check("mul", z, new(big.Int).Mul(a, b))
				copy(z, x)
				md.Mul(z, z, z)
				check("square in place", z, new(big.Int).Mul(a, a))
				if eq := md.Equal(x, y) == 1; eq != (a.Cmp(b) == 0) {
					t.Fatal("Equal")
				}
			}
		}
		e := []byte{0, 0xd3, 0x0f, 0x01}
		for _, a := range vals {
			x, _ := md.SetBytes(a.Bytes())
			z := md.New()
			md.toMont(z, x)
			md.expMont(z, z, e)
			md.fromMont(z, z)
			check("exp", z, new(big.Int).Exp(a, new(big.Int).SetBytes(e), m))
			for _, n := range []int{0, 1, md.Size(), md.Size() + 8, 3*md.Size() + 5} {
				b := make([]byte, n)
				rnd.Read(b)
				check("reduce", md.Reduce(b), new(big.Int).SetBytes(b))
				for i := range b {
					b[i] = 0xff
				}
				check("reduce ff", md.Reduce(b), new(big.Int).SetBytes(b))
			}
		}
	}
}

func TestModulusInverse(t *testing.T) {
	rnd := rand.New(rand.NewSource(2))
	p, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	md, err := NewModulus(p)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		a := new(big.Int).Rand(rnd, p)
		x, _ := md.SetBytes(a.Bytes())
		md.InvPrime(x, x)
		if got, want := new(big.Int).SetBytes(md.Bytes(x)), new(big.Int).ModInverse(a, p); got.Cmp(want) != 0 {
			t.Fatalf("inverse of %x: got %x want %x", a, got, want)
		}
	}
}

func TestModulusRefusals(t *testing.T) {
	for _, v := range []int64{-7, 0, 1, 2, 4, 1 << 40} {
		if _, err := NewModulus(big.NewInt(v)); err != ErrValue {
			t.Errorf("modulus %d: %v", v, err)
		}
	}
	large := new(big.Int).Lsh(big.NewInt(1), 64*maxLimbs)
	if _, err := NewModulus(large.SetBit(large, 0, 1)); err != ErrValue {
		t.Errorf("modulus of more than %d limbs: %v", maxLimbs, err)
	}
	md, err := NewModulus(big.NewInt(0x10001))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{{1, 0, 1}, {1, 0, 2}, {2, 0, 0}, {0, 0, 0, 1}} {
		if _, err := md.SetBytes(b); err != ErrValue {
			t.Errorf("SetBytes(%x): %v", b, err)
		}
	}
	x, err := md.SetBytes([]byte{1, 0, 0})
	if err != nil || !bytes.Equal(md.Bytes(x), []byte{1, 0, 0}) {
		t.Error("m-1 refused", err)
	}
}
