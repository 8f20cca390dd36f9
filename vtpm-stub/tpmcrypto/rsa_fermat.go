package tpmcrypto

import (
	"math/big"
	"math/bits"
)

// fermat tests numbers of one size with Fermat's test to the base 2, which nearly
// every composite number fails: 2^(n-1) mod n by squaring and doubling alone, a third
// less work than math/big's general power.
type fermat struct {
	md  Modulus // m and n0 only
	acc []uint64
}

// newFermat makes room for numbers of a size in bits, which is a multiple of 64.
func newFermat(size int) *fermat {
	n := size / 64
	return &fermat{md: Modulus{m: make([]uint64, n)}, acc: make([]uint64, n)}
}

// probablyPrime reports whether 2^(p-1) = 1 mod p. p is odd, its length that of
// newFermat.
func (f *fermat) probablyPrime(p *big.Int) bool {
	m, acc := f.md.m, f.acc
	for i, w := range p.Bits() {
		m[i] = uint64(w)
	}
	f.md.n0 = negInverse(m[0])
	// 1 in Montgomery form is R mod p = R - p, as p has its top bit set.
	clear(acc)
	sub(acc, acc, m)
	// The topmost six bits of p-1 at once.
	for range m[len(m)-1] >> 58 {
		f.md.Add(acc, acc, acc)
	}
	for i := 64*len(m) - 7; i >= 0; i-- {
		f.md.montMul(acc, acc, acc)
		// Only bit 0 differs between p and p-1.
		if i > 0 && m[i/64]>>(i%64)&1 == 1 {
			f.double()
		}
	}
	var carry, diff uint64
	for i, w := range m {
		w, carry = bits.Add64(acc[i], w, carry)
		diff |= w // acc is R - p when both make R
	}
	return diff == 0
}

// double sets acc = 2 acc mod p, in a time that depends on them.
func (f *fermat) double() {
	m, acc := f.md.m, f.acc
	var c uint64
	for i, w := range acc {
		acc[i], c = w<<1|c, w>>63
	}
	for i := len(m) - 1; c == 0 && i >= 0 && acc[i] <= m[i]; i-- {
		if acc[i] < m[i] {
			return
		}
	}
	sub(acc, acc, m)
}

// negInverse returns -m^-1 mod 2^64 of an odd number.
func negInverse(m uint64) uint64 {
	inv := m
	for range 5 {
		inv *= 2 - m*inv // Newton's iteration doubles the correct bits: 3 -> 6 -> ... -> 96
	}
	return -inv
}
