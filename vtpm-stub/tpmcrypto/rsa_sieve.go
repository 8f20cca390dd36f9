package tpmcrypto

import (
	"math/big"
	"math/bits"
	"sync"
)

// windowSize is how many odd numbers behind a start are looked at: enough that
// a 1024-bit start has no prime there once in 10^10 times.
const windowSize = 8192

// sieveLimit is where more sieving costs more than the Miller-Rabin tests that
// it saves.
const sieveLimit = 1 << 17

// factorGroup is a product of small primes that fits 64 bits: primes
// first to next-1 of the table.
type factorGroup struct {
	product     uint64
	first, next int
}

type factorTable struct {
	primes []uint32
	groups []factorGroup
}

// smallPrimes holds the odd primes below sieveLimit, some 75 KB.
var smallPrimes = sync.OnceValue(func() *factorTable {
	composite := make([]bool, sieveLimit/2) // of 2i+1
	t := &factorTable{primes: make([]uint32, 0, 12288)}
	g := factorGroup{product: 1}
	for i := uint64(3); i < sieveLimit; i += 2 {
		if composite[i/2] {
			continue
		}
		for j := i * i; j < sieveLimit; j += 2 * i {
			composite[j/2] = true
		}
		if hi, _ := bits.Mul64(g.product, i); hi != 0 {
			t.groups = append(t.groups, g)
			g = factorGroup{product: 1, first: len(t.primes)}
		}
		t.primes = append(t.primes, uint32(i))
		g.product *= i
		g.next = len(t.primes)
	}
	t.groups = append(t.groups, g)
	return t
})

// sieve marks the numbers start + 2i that have a factor below sieveLimit. start
// is odd and larger than sieveLimit.
func sieve(start *big.Int) *[windowSize]bool {
	composite := new([windowSize]bool)
	t, words := smallPrimes(), start.Bits()
	for _, g := range t.groups {
		var r uint64
		for i := len(words) - 1; i >= 0; i-- {
			_, r = bits.Div64(r, uint64(words[i]), g.product)
		}
		for _, p := range t.primes[g.first:g.next] {
			// start + 2i = 0 mod p: i = -start/2 mod p.
			p64 := uint64(p)
			i := p64 - r%p64
			if i&1 == 1 {
				i += p64
			}
			for i = i / 2 % p64; i < windowSize; i += p64 {
				composite[i] = true
			}
		}
	}
	return composite
}
