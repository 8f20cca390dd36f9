package tpmcrypto

import (
	"io"
	"math/big"
	"math/bits"
	"sync"
)

// GenerateRSA makes a key pair from the bytes of src by 186-5 A.1.3 (probable
// primes): every candidate is an independent draw. The same bytes always give
// the same key. canceled, when not nil, is asked before each candidate that
// costs an exponentiation (about 1 ms for 2048-bit keys); true ends the search
// with ErrCanceled.
//
// A candidate is half the modulus' size, read at once, its top and low bits
// forced to one: among the candidates that pass the range check of A.1.3 step
// 4.4 this leaves the distribution uniform over odd numbers.
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
	p, p1, gcd, one := new(big.Int), new(big.Int), new(big.Int), big.NewInt(1)
	// A.1.3 allows 5 or 10 nlen candidates; the bound only ends a search in a
	// broken source.
	for range 40 * g.bits {
		if _, err := io.ReadFull(g.src, buf); err != nil {
			return nil, err
		}
		buf[0] |= 0x80
		buf[len(buf)-1] |= 1
		if !aboveRootTwo(buf) {
			continue
		}
		p.SetBytes(buf)
		if other != nil && tooClose(p, other, g.bits) || hasSmallFactor(p) {
			continue
		}
		p1.Sub(p, one)
		if gcd.GCD(nil, nil, p1, g.e).Cmp(one) != 0 {
			continue
		}
		if g.canceled != nil && g.canceled() {
			return nil, ErrCanceled
		}
		if p.ProbablyPrime(millerRabinRounds(g.bits)) {
			return p, nil
		}
	}
	return nil, ErrExhausted
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

// sieveLimit is where trial division stops to pay.
const sieveLimit = 1 << 14

// factorGroup is a product of small primes that fits 64 bits.
type factorGroup struct {
	product uint64
	primes  []uint64
}

// smallFactors holds the odd primes below sieveLimit.
var smallFactors = sync.OnceValue(func() []factorGroup {
	composite := make([]bool, sieveLimit)
	var out []factorGroup
	g := factorGroup{product: 1}
	for i := uint64(3); i < sieveLimit; i += 2 {
		if composite[i] {
			continue
		}
		for j := i * i; j < sieveLimit; j += 2 * i {
			composite[j] = true
		}
		if hi, _ := bits.Mul64(g.product, i); hi != 0 {
			out = append(out, g)
			g = factorGroup{product: 1}
		}
		g.product *= i
		g.primes = append(g.primes, i)
	}
	return append(out, g)
})

// hasSmallFactor reports whether an odd p, larger than all of them, has a
// factor below sieveLimit.
func hasSmallFactor(p *big.Int) bool {
	words := p.Bits()
	for _, g := range smallFactors() {
		var r uint64
		for i := len(words) - 1; i >= 0; i-- {
			_, r = bits.Div64(r, uint64(words[i]), g.product)
		}
		for _, f := range g.primes {
			if r%f == 0 {
				return true
			}
		}
	}
	return false
}
