package tpmcrypto

import (
	"io"
	"math/big"
)

// GenerateRSA makes a key pair from the bytes of src. The same bytes always
// give the same key. canceled, when not nil, is asked before each candidate
// that costs an exponentiation (a third of a millisecond for 2048-bit keys);
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
		if p != nil && (other == nil || !tooClose(p, other, g.bits)) {
			return p, nil
		}
	}
	return nil, ErrExhausted
}

// search returns the first prime p = start, start+2, ... within the sieve's
// window for which GCD(p-1, e) = 1, or nil. The result does not depend on the number
// of processors that test candidates.
func (g *primeSearch) search(start *big.Int) (*big.Int, error) {
	s := &window{start: start, composite: sieve(start), bits: g.bits, canceled: g.canceled, e: g.e.Uint64()}
	s.startModE = new(big.Int).Mod(start, g.e).Uint64()
	for from := 0; ; from = s.hit + 1 {
		s.next, s.hit = from, windowSize
		if err := s.run(); err != nil {
			return nil, err
		}
		if s.hit == windowSize {
			return nil, nil
		}
		p := s.candidate(s.hit)
		if p.BitLen() != g.bits {
			return nil, nil // start was just below a power of two
		}
		if millerRabin(p, millerRabinRounds(g.bits)) {
			return p, nil
		}
	}
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

// millerRabinRounds follows 186-5 table B.1. Fermat's test to the base 2 was passed
// before.
func millerRabinRounds(primeBits int) int {
	if primeBits <= 512 {
		return 7
	}
	if primeBits <= 1024 {
		return 5
	}
	return 4
}
