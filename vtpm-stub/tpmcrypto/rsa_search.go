package tpmcrypto

import (
	"crypto/rand"
	"math/big"
	"sync"
)

// window is the search for a prime among the odd numbers start + 2i. Processors take
// candidates in turn until one passes Fermat's test; all smaller ones have failed it
// when run returns.
type window struct {
	start     *big.Int
	composite *[windowSize]bool
	bits      int
	canceled  func() bool
	e         uint64
	startModE uint64

	mu   sync.Mutex
	next int // the first candidate that nobody has taken
	hit  int // the smallest that passed, or windowSize
	err  error
}

func (s *window) candidate(i int) *big.Int {
	return new(big.Int).Add(s.start, big.NewInt(int64(2*i)))
}

// coprime is GCD(p-1, e) = 1 for candidate i.
func (s *window) coprime(i int) bool {
	return gcd(s.e, (s.startModE+2*uint64(i)+s.e-1)%s.e) == 1
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// run returns with the first hit from next on.
func (s *window) run() error {
	parallel(func(worker int) { s.work(worker == 0) })
	return s.err
}

// work tests candidates. canceled is asked in the caller's goroutine only.
func (s *window) work(caller bool) {
	f := newFermat(s.bits)
	for {
		if caller && s.canceled != nil && s.canceled() {
			s.mu.Lock()
			s.err = ErrCanceled
			s.mu.Unlock()
		}
		i := s.take()
		if i >= windowSize {
			return
		}
		// A number that outgrew the size ends the search.
		if p := s.candidate(i); p.BitLen() != s.bits || f.probablyPrime(p) {
			s.mu.Lock()
			s.hit = min(s.hit, i)
			s.mu.Unlock()
		}
	}
}

// take returns the next candidate, or windowSize when there is none to test.
func (s *window) take() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.next < windowSize && (s.composite[s.next] || !s.coprime(s.next)) {
		s.next++
	}
	if s.err != nil || s.next >= s.hit {
		return windowSize
	}
	s.next++
	return s.next - 1
}

// millerRabin tests p with random bases (186-5 B.3.1).
func millerRabin(p *big.Int, rounds int) bool {
	one := big.NewInt(1)
	minus1 := new(big.Int).Sub(p, one)
	a := minus1.TrailingZeroBits()
	m := new(big.Int).Rsh(minus1, a)
	var mu sync.Mutex
	composite := false
	parallel(func(worker int) {
		for {
			mu.Lock()
			done := rounds <= 0 || composite
			rounds--
			mu.Unlock()
			if done {
				return
			}
			// 1 < b < p-1; the system's generator never fails
			b, err := rand.Int(rand.Reader, new(big.Int).Sub(minus1, big.NewInt(2)))
			if err != nil || !strongProbable(b.Add(b, big.NewInt(2)), p, minus1, m, a) {
				mu.Lock()
				composite = true
				mu.Unlock()
			}
		}
	})
	return !composite
}

// strongProbable is one round: p - 1 = 2^a m.
func strongProbable(b, p, minus1, m *big.Int, a uint) bool {
	z := new(big.Int).Exp(b, m, p)
	if z.Cmp(big.NewInt(1)) == 0 || z.Cmp(minus1) == 0 {
		return true
	}
	for range a - 1 {
		z.Mod(z.Mul(z, z), p)
		if z.Cmp(minus1) == 0 {
			return true
		}
	}
	return false
}
