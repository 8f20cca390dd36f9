//go:build tamago

package xenpvh

import (
	_ "unsafe" // linkname

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/hypercall"
	"xenvtpm/board/xenpvh/drbg"
)

// Random numbers: the processor's generator (RDRAND, and RDSEED where it
// exists) feeds a ChaCha20 DRBG, at the start generously and then a little for
// every request. crypto/rand and the runtime's own seeds come from it. An image
// without a source of randomness must not make keys: it crashes.

// rng is the runtime's generator; see the package comment on global state.
var rng struct {
	drbg    drbg.DRBG
	hasSeed bool   // RDSEED exists
	last    uint64 // last word of RDRAND
	repeats int
}

const (
	cpuidRDRAND = 1 << 30 // leaf 1, ECX
	cpuidRDSEED = 1 << 18 // leaf 7, EBX

	rdrandTries = 10  // Intel SDM vol. 1, 7.3.17.1
	rdseedTries = 100 // may be busy for long when other guests draw as well

	// maxRepeats is how many times in a row RDRAND may return the same word.
	// Broken processors return all ones (or the last value) for ever.
	maxRepeats = 2
)

//go:linkname initRNG runtime/goos.InitRNG
func initRNG() {
	if _, _, cx, _ := cpuid(1, 0); cx&cpuidRDRAND == 0 {
		die("xenpvh: the processor has no RDRAND and there is no other source of randomness\n")
	}
	if max, _, _, _ := cpuid(0, 0); max >= 7 {
		_, bx, _, _ := cpuid(7, 0)
		rng.hasSeed = bx&cpuidRDSEED != 0
	}
	for range 16 {
		stir()
	}
}

//go:linkname getRandomData runtime/goos.GetRandomData
func getRandomData(b []byte) {
	stir()
	rng.drbg.Read(b)
}

// stir mixes four words of the processor's generator and the time into the
// DRBG.
func stir() {
	var seed [drbg.SeedSize]byte
	for i := 0; i < len(seed); i += 8 {
		v := hardwareWord()
		for j := range 8 {
			seed[i+j] = byte(v >> (8 * j))
		}
	}
	rng.drbg.Mix(&seed)
	tsc := rdtsc()
	seed = [drbg.SeedSize]byte{}
	for j := range 8 {
		seed[j] = byte(tsc >> (8 * j))
	}
	rng.drbg.Mix(&seed)
}

// hardwareWord is a word of RDRAND, xor one of RDSEED if that has one to give.
func hardwareWord() uint64 {
	v := checkedRDRAND()
	if !rng.hasSeed {
		return v
	}
	for range rdseedTries {
		if s, ok := rdseed(); ok {
			return v ^ s
		}
	}
	return v
}

func checkedRDRAND() uint64 {
	for range rdrandTries {
		v, ok := rdrand()
		if !ok {
			continue
		}
		if v == rng.last {
			if rng.repeats++; rng.repeats >= maxRepeats {
				die("xenpvh: RDRAND repeats itself\n")
			}
			continue
		}
		rng.last, rng.repeats = v, 0
		return v
	}
	die("xenpvh: RDRAND fails\n")
	return 0
}

// die ends an image that cannot go on, before or without the runtime's panic.
//
//go:nosplit
func die(reason string) {
	for i := 0; i < len(reason); i++ {
		con.Put(reason[i])
	}
	con.Flush(flushLimit)
	hypercall.Shutdown(abi.SHUTDOWN_crash)
}
