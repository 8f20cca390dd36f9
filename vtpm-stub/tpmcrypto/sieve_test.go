package tpmcrypto

import (
	"math/big"
	"math/rand"
	"testing"
)

// The sieve must mark exactly the numbers with a small factor.
func TestSieve(t *testing.T) {
	product := big.NewInt(1) // of the primes below sieveLimit
	for _, p := range smallPrimes().primes {
		product.Mul(product, big.NewInt(int64(p)))
	}
	if n := len(smallPrimes().primes); n != 12250 {
		t.Fatalf("%d odd primes below 2^17", n)
	}
	rnd := rand.New(rand.NewSource(8))
	gcd, one := new(big.Int), big.NewInt(1)
	for _, size := range []uint{64, 512} {
		start := new(big.Int).Rand(rnd, new(big.Int).Lsh(one, size-1))
		start.SetBit(start, int(size-1), 1).SetBit(start, 0, 1)
		composite := sieve(start)
		for i := 0; i < windowSize; i += 1 + i/32 {
			n := new(big.Int).Add(start, big.NewInt(int64(2*i)))
			if want := gcd.GCD(nil, nil, n, product).Cmp(one) != 0; composite[i] != want {
				t.Fatalf("%d bits, start+%d: marked %v", size, 2*i, composite[i])
			}
		}
	}
}

// The result must not depend on the number of processors, and be the first
// prime behind the start.
func TestSearchFindsFirstPrime(t *testing.T) {
	rnd := rand.New(rand.NewSource(9))
	for _, e := range []int64{3, 15, 65537} { // small exponents share factors with p-1
		g := primeSearch{bits: 512, e: big.NewInt(e)}
		start := new(big.Int).Rand(rnd, new(big.Int).Lsh(big.NewInt(1), 511))
		start.SetBit(start, 511, 1).SetBit(start, 0, 1)
		got, err := g.search(start)
		if err != nil || got == nil {
			t.Fatal(got, err)
		}
		want := new(big.Int).Set(start)
		for !want.ProbablyPrime(5) || new(big.Int).GCD(nil, nil, new(big.Int).Sub(want, big.NewInt(1)), g.e).Cmp(big.NewInt(1)) != 0 {
			want.Add(want, big.NewInt(2))
		}
		if got.Cmp(want) != 0 {
			t.Fatalf("found start+%v, the first prime is start+%v", new(big.Int).Sub(got, start), want.Sub(want, start))
		}
	}
}
