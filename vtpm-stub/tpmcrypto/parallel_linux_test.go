package tpmcrypto

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// processor is the one that the caller runs on.
func processor(t *testing.T) int {
	var cpu uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	return int(cpu)
}

// TestElsewhere: f runs once, and on another processor where the caller may use two.
func TestElsewhere(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var mask unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mask); err != nil {
		t.Fatal(err)
	}
	here, runs, there := -1, 0, -1
	try := func() {
		here, runs, there = processor(t), 0, -1
		began := make(chan struct{})
		wait := elsewhere(func() {
			runs++
			there = processor(t)
			close(began)
		})
		if mask.Count() > 1 {
			select {
			case <-began:
			case <-time.After(10 * time.Second): // a very busy machine: the caller does it
			}
		}
		wait()
		if runs != 1 {
			t.Fatalf("it ran %d times", runs)
		}
	}
	same := 0
	for range 100 {
		try()
		if there == here {
			same++
		}
	}
	// The caller may be moved just when it asks, but not always.
	if mask.Count() > 1 && same > 50 {
		t.Errorf("%d times of 100 it ran on the caller's processor", same)
	}
	// A caller who is confined to one processor does the work itself.
	one := mask
	for i := range len(one) * 64 {
		if one.IsSet(i) && i != here {
			one.Clear(i)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.SchedSetaffinity(0, &mask); err != nil {
			t.Fatal(err)
		}
	}()
	mask = one
	try()
	if there != here {
		t.Errorf("confined to processor %d, it ran on %d", here, there)
	}
}

// TestElsewhereTakesBack: work that nobody has begun with when the caller is done is the
// caller's again, and the helper that comes too late finds nothing.
func TestElsewhereTakesBack(t *testing.T) {
	var h helper
	h.started, h.done = true, make(chan struct{}, 1)
	var err error
	if h.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	runs := 0
	h.mu.Lock()
	if !h.give(func() { runs++ }) {
		t.Fatal("not given")
	}
	h.wait() // its thread does not run yet
	if runs != 1 {
		t.Fatalf("it ran %d times", runs)
	}
	go h.loop()
	for i := range 1000 {
		h.mu.Lock()
		if !h.give(func() { runs++ }) {
			t.Fatal("not given")
		}
		h.wait()
		if runs != i+2 {
			t.Fatalf("it ran %d times, not %d", runs, i+2)
		}
	}
}

// TestElsewhereCrowd: callers outnumber the helpers, and work asks for help itself.
func TestElsewhereCrowd(t *testing.T) {
	var sum atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				both(func() { parallel(func(int) { sum.Add(1) }) }, func() { sum.Add(1 << 32) })
			}
		})
	}
	wg.Wait()
	n := int64(min(runtime.GOMAXPROCS(0), maxParallel))
	if got := sum.Load(); got != 1600*n+1600<<32 {
		t.Errorf("%#x", got)
	}
}
