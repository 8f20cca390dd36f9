package tpmcrypto

import "runtime"

// maxParallel bounds the processors that one command uses.
const maxParallel = 4

// parallel runs f once on each processor, worker 0 in the caller's goroutine.
func parallel(f func(worker int)) {
	n := min(runtime.GOMAXPROCS(0), maxParallel)
	if n == 1 {
		f(0)
		return
	}
	waits := make([]func(), 0, maxParallel)
	for i := 1; i < n; i++ {
		waits = append(waits, elsewhere(func() { f(i) }))
	}
	f(0)
	for _, wait := range waits {
		wait()
	}
}

// both runs f and g, on two processors where there are two.
func both(f, g func()) {
	if runtime.GOMAXPROCS(0) == 1 {
		f()
		g()
		return
	}
	wait := elsewhere(f)
	g()
	wait()
}
