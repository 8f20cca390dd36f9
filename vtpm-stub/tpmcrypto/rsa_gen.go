package tpmcrypto

import (
	"io"
	"math/big"
	"runtime"
	"sync"
)

// GenerateRSA makes a key pair from the bytes of src. The same bytes always
// give the same key. canceled, when not nil, is asked before each candidate
// that costs an exponentiation (about half a millisecond for 2048-bit keys);
// true ends the search with ErrCanceled.
//
// A prime is the first one at or behind a random odd start, found with a sieve.
// 186-5 A.1.3 would draw every candidate anew, which takes half as long again;
// P1 B.8.2 leaves the choice. The checks are those of 186-5 A.1.3: range of the
// primes, their distance, GCD with the exponent, Miller-Rabin rounds, size of
// the private exponent. Key generation is not constant time.
func GenerateRSA(keyBits int, e uint32, src io.Reader, canceled func() bool) (*RSAPrivateKey, error) {
	if !RSAKeyBits(keyBits) {
		return nil, ErrKeySize
	}
	exp, err := RSAExponent(e)
	if err != nil {
		return nil, err
	}
	for range maxTries {
		g := primeSearch{bits: keyBits / 2, e: big.NewInt(int64(exp)), src: src, canceled: canceled}
		p, err := g.next(nil)
		if err != nil {
			return nil, err
		}
		q, err := g.next(p)
		if err != nil {
			return nil, err
		}
		n := new(big.Int).Mul(p, q)
		pub, err := NewRSAPublicKey(n.FillBytes(make([]byte, keyBits/8)), e)
		if err != nil {
			return nil, err
		}
		// newRSA also refuses d <= 2^(nlen/2) (A.1.1); then both primes are
		// drawn again.
		if k, err := newRSA(pub, p, q); err == nil {
			return k, nil
		}
	}
	return nil, ErrExhausted
}

// primeSearch draws primes of one size.
type primeSearch struct {
	bits     int
	e        *big.Int
	src      io.Reader
	canceled func() bool
}

// next returns the next prime; other is the one to keep a distance from.
func (g *primeSearch) next(other *big.Int) (*big.Int, error) {
	buf := make([]byte, g.bits/8)
	start := new(big.Int)
	for range maxTries {
		if _, err := io.ReadFull(g.src, buf); err != nil {
			return nil, err
		}
		buf[0] |= 0x80
		buf[len(buf)-1] |= 1
		if !aboveRootTwo(buf) {
			continue
		}
		p, err := g.search(start.SetBytes(buf))
		if err != nil {
			return nil, err
		}
		// A start just below 2^k, a gap in the primes, or a prime too near the
		// other one: draw again.
		if p != nil && p.BitLen() == g.bits && (other == nil || !tooClose(p, other, g.bits)) {
			return p, nil
		}
	}
	return nil, ErrExhausted
}

// search returns the first prime p = start, start+2, ... within the sieve's
// window for which GCD(p-1, e) = 1, or nil. It tests as many candidates at once
// as there are processors; the result does not depend on that.
func (g *primeSearch) search(start *big.Int) (*big.Int, error) {
	batch := make([]*big.Int, min(runtime.GOMAXPROCS(0), maxParallel))
	prime := make([]bool, len(batch))
	n, last := 0, windowSize-1
	composite := sieve(start)
	for i := range windowSize {
		if !composite[i] {
			p := new(big.Int).Add(start, big.NewInt(int64(2*i)))
			if g.coprime(p) {
				batch[n] = p
				n++
			}
		}
		if n == 0 || n < len(batch) && i < last {
			continue
		}
		if g.canceled != nil && g.canceled() {
			return nil, ErrCanceled
		}
		testPrimes(batch[:n], prime, millerRabinRounds(g.bits))
		for j, p := range batch[:n] {
			if prime[j] {
				return p, nil
			}
		}
		n = 0
	}
	return nil, nil
}

// maxParallel bounds the goroutines of one search.
const maxParallel = 4

// testPrimes tests each candidate in a goroutine of its own, the last one here.
func testPrimes(list []*big.Int, prime []bool, rounds int) {
	var wg sync.WaitGroup
	last := len(list) - 1
	for i, p := range list[:last] {
		wg.Go(func() { prime[i] = p.ProbablyPrime(rounds) })
	}
	prime[last] = list[last].ProbablyPrime(rounds)
	wg.Wait()
}

// coprime is GCD(p-1, e) = 1.
func (g *primeSearch) coprime(p *big.Int) bool {
	one := big.NewInt(1)
	p1 := new(big.Int).Sub(p, one)
	return p1.GCD(nil, nil, p1, g.e).Cmp(one) == 0
}

// aboveRootTwo reports whether a candidate of k bits is at least
// sqrt(2)*2^(k-1), decided on its first 64 bits, rounded up.
func aboveRootTwo(b []byte) bool {
	var v uint64
	for _, c := range b[:8] {
		v = v<<8 | uint64(c)
	}
	return v >= 0xB504F333F9DE6485
}

// tooClose is |p - q| <= 2^(nlen/2 - 100) (A.1.3 step 5.4).
func tooClose(p, q *big.Int, primeBits int) bool {
	return new(big.Int).Sub(p, q).BitLen() <= primeBits-100
}

// millerRabinRounds follows 186-5 table B.1. math/big adds a Baillie-PSW test
// to these rounds.
func millerRabinRounds(primeBits int) int {
	if primeBits <= 512 {
		return 7
	}
	if primeBits <= 1024 {
		return 5
	}
	return 4
}
