package tpmcrypto

import (
	"crypto/rand"
	"math/big"
	mrand "math/rand"
	"testing"
)

// The test must give what math/big's power gives, for primes and composites, and for
// numbers whose limbs are all ones or zeros in between.
func TestFermat(t *testing.T) {
	rnd := mrand.New(mrand.NewSource(3))
	one, two := big.NewInt(1), big.NewInt(2)
	for _, size := range []int{256, 512, 1024, 1536} {
		f := newFermat(size)
		var list []*big.Int
		top := new(big.Int).Lsh(one, uint(size-1))
		for i := range 20 {
			n := new(big.Int).Rand(rnd, top)
			if i < 4 { // a long run of ones or zeros
				n.Lsh(n.Rsh(n, uint(size/2)), uint(size/2))
				if i&1 == 1 {
					n.Add(n, new(big.Int).Sub(new(big.Int).Lsh(one, uint(size/2)), one))
				}
			}
			list = append(list, n.SetBit(n, size-1, 1).SetBit(n, 0, 1))
		}
		list = append(list, new(big.Int).Sub(new(big.Int).Lsh(one, uint(size)), one), new(big.Int).Add(top, one))
		if size <= 1024 {
			p, err := rand.Prime(rand.Reader, size)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, p)
		}
		for _, n := range list {
			want := new(big.Int).Exp(two, new(big.Int).Sub(n, one), n).Cmp(one) == 0
			if got := f.probablyPrime(n); got != want {
				t.Fatalf("%d bits, %x: got %v want %v", size, n, got, want)
			}
		}
	}
}

// Miller and Rabin's test must tell primes from composites that pass Fermat's test:
// Carmichael numbers pass it to nearly every base.
func TestMillerRabin(t *testing.T) {
	for _, n := range []int64{561, 1105, 1729, 2465, 294409, 56052361} {
		if millerRabin(big.NewInt(n), 20) {
			t.Errorf("%d is not prime", n)
		}
	}
	// The first prime of each length that is 1 mod 2^20, so that p-1 has many factors 2.
	for _, size := range []uint{64, 512, 1024} {
		step := big.NewInt(1 << 20)
		p := new(big.Int).Lsh(big.NewInt(1), size-1)
		p.Add(p, big.NewInt(1))
		for range 20000 {
			if want := p.ProbablyPrime(0); want != millerRabin(p, 5) {
				t.Fatalf("%d bits: %x: want %v", size, p, want)
			} else if want {
				break
			}
			p.Add(p, step)
		}
	}
}

// A window without a prime of the size ends; so does one that is canceled.
func TestSearchEnds(t *testing.T) {
	g := primeSearch{bits: 512, e: big.NewInt(65537)}
	end := new(big.Int).Lsh(big.NewInt(1), 512)
	if p, err := g.search(new(big.Int).Sub(end, big.NewInt(17))); p != nil || err != nil {
		t.Errorf("found %x, %v above 2^512", p, err)
	}
	g.canceled = func() bool { return true }
	if _, err := g.search(new(big.Int).Sub(end, big.NewInt(1<<14-1))); err != ErrCanceled {
		t.Errorf("canceled: got %v", err)
	}
}

func BenchmarkFermat1024(b *testing.B) {
	n := new(big.Int).Lsh(big.NewInt(1), 1024)
	n.Sub(n, big.NewInt(105+2))
	f := newFermat(1024)
	for b.Loop() {
		f.probablyPrime(n)
	}
}
