package tpmcrypto

import (
	"runtime"
	"sync"
)

// maxParallel bounds the goroutines of one command.
const maxParallel = 4

// parallel runs f once on each processor, worker 0 in the caller's goroutine.
func parallel(f func(worker int)) {
	var wg sync.WaitGroup
	for i := 1; i < min(runtime.GOMAXPROCS(0), maxParallel); i++ {
		wg.Go(func() { f(i) })
	}
	f(0)
	wg.Wait()
}

// both runs f and g, on two processors where there are two.
func both(f, g func()) {
	if runtime.GOMAXPROCS(0) == 1 {
		f()
		g()
		return
	}
	var wg sync.WaitGroup
	wg.Go(f)
	g()
	wg.Wait()
}
