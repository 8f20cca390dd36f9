//go:build tamago

// Rng looks at the random numbers of crypto/rand and of the runtime. It finds
// a generator that is stuck, seeded with a constant or badly biased; it
// cannot prove that one is good.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	mathrand "math/rand/v2"

	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
)

func main() { selftest.Run("rng", test) }

func test(p *xenpvh.Platform) error {
	first := make([]byte, 32)
	if _, err := rand.Read(first); err != nil {
		return err
	}
	// Two runs of this image must print different values.
	fmt.Println("first bytes", hex.EncodeToString(first))
	fmt.Printf("runtime's generator %#x\n", mathrand.Uint64())
	return errors.Join(frequencies(1<<20), repeats(20000), keys(p))
}

// frequencies checks ones and bytes of n random bytes: each bound is six
// standard deviations wide.
func frequencies(n int) error {
	buf := make([]byte, 64<<10)
	var counts [256]int
	ones := 0
	for done := 0; done < n; done += len(buf) {
		if _, err := rand.Read(buf); err != nil {
			return err
		}
		for _, b := range buf {
			counts[b]++
			ones += bits.OnesCount8(b)
		}
	}
	if d := ones - 4*n; d*d > 36*2*n { // variance of n*8 bits is 2n
		return fmt.Errorf("%d of %d bits are ones", ones, 8*n)
	}
	expected := float64(n) / 256
	chi := 0.0
	for _, c := range counts {
		chi += (float64(c) - expected) * (float64(c) - expected) / expected
	}
	fmt.Printf("%d bytes: %d ones, chi square %.1f (255 expected)\n", n, ones, chi)
	if chi < 120 || chi > 390 { // 255 +- 6 * sqrt(510)
		return fmt.Errorf("bytes are not evenly spread: chi square %.1f", chi)
	}
	return nil
}

// repeats draws n 16-byte values, among which no two may be equal.
func repeats(n int) error {
	seen := make(map[[16]byte]bool, n)
	for range n {
		var v [16]byte
		if _, err := rand.Read(v[:]); err != nil {
			return err
		}
		if seen[v] {
			return errors.New("a 16-byte value came twice")
		}
		seen[v] = true
	}
	return nil
}

func keys(p *xenpvh.Platform) error {
	start := p.Channels.Now()
	a, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	b, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	fmt.Printf("two P-256 keys in %d us\n", (p.Channels.Now()-start)/1e3)
	ka, err := a.PublicKey.Bytes()
	if err != nil {
		return err
	}
	kb, err := b.PublicKey.Bytes()
	if err == nil && bytes.Equal(ka, kb) {
		return errors.New("two keys are equal")
	}
	return err
}
