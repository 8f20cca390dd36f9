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
	drbg   drbg.DRBG
	source drbg.Source
}

const (
	cpuidRDRAND = 1 << 30 // leaf 1, ECX
	cpuidRDSEED = 1 << 18 // leaf 7, EBX
)

// noRDRAND is what an image says that has no source of randomness. Nothing
// stands in for the processor's generator: the runtime takes its first random
// numbers before there is a manager, or a hardware TPM, to ask. Xen hides it
// where it leaks between cores (SRBDS) and where it is dead after a suspend; the
// latter is what drbg.Source finds out.
const noRDRAND = "xenpvh: this domain sees no RDRAND, and the image has no other source of random numbers.\n" +
	"xenpvh: Xen hides it on some processors (Ivy Bridge, AMD families 15h and 16h); there, write\n" +
	"xenpvh:     cpuid = \"host,rdrand=1\"\n" +
	"xenpvh: in the domain's configuration. A processor without it cannot run this image.\n"

//go:linkname initRNG runtime/goos.InitRNG
func initRNG() {
	if _, _, cx, _ := cpuid(1, 0); cx&cpuidRDRAND == 0 {
		die(noRDRAND)
	}
	rng.source.Rand = rdrand
	if last, _, _, _ := cpuid(0, 0); last >= 7 {
		if _, bx, _, _ := cpuid(7, 0); bx&cpuidRDSEED != 0 {
			rng.source.Seed = rdseed
		}
	}
	stir(16)
}

//go:linkname getRandomData runtime/goos.GetRandomData
func getRandomData(b []byte) {
	stir(1)
	rng.drbg.Read(b)
}

func stir(n int) {
	if fault := rng.source.Gather(&rng.drbg, n, rdtsc()); fault != "" {
		con.Put('\n')
		for i := 0; i < len(fault); i++ {
			con.Put(fault[i])
		}
		die(": the image cannot go on without random numbers\n")
	}
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
