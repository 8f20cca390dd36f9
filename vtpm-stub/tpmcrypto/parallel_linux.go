package tpmcrypto

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Work of a millisecond gains from a second processor only if it is there at once. A
// goroutine's thread is woken by the kernel where it slept or where it was woken from, and
// on a virtual machine that is often the caller's own processor: an idle virtual
// processor looks as if the host had taken it away. So the work goes to threads that
// sleep in a read and may not run on the processor on which the caller runs.

// patience is how long a caller who is done spins for its helper before it sleeps: about
// what it takes to be woken.
const patience = 50 * time.Microsecond

// helper is such a thread. Whoever holds mu may give it work.
type helper struct {
	mu      sync.Mutex
	started bool
	tid     int
	event   int         // an eventfd; the thread reads it
	mask    unix.CPUSet // where the thread may run

	job      atomic.Pointer[func()] // not yet begun
	finished atomic.Bool
	done     chan struct{}
}

// helpers are started when they are first needed, and stay.
var helpers [maxParallel - 1]helper

// elsewhere runs f on another processor if it can. The function that is returned waits
// for the end of f, or runs f itself if nobody has begun with it.
func elsewhere(f func()) (wait func()) {
	for i := range helpers {
		h := &helpers[i]
		if !h.mu.TryLock() {
			continue // it works for another caller
		}
		if h.start() && h.place() && h.give(f) {
			return h.wait
		}
		h.mu.Unlock()
		break // the next one would do no better
	}
	return f
}

// start makes the thread, if that was not tried yet, and reports whether there is one.
func (h *helper) start() bool {
	if h.started {
		return h.tid != 0
	}
	h.started, h.done = true, make(chan struct{}, 1)
	var err error
	if h.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return false
	}
	tid := make(chan int)
	go func() {
		runtime.LockOSThread()
		tid <- unix.Gettid()
		h.loop()
	}()
	h.tid = <-tid
	return true
}

func (h *helper) loop() {
	var b [8]byte
	for {
		if n, err := unix.Read(h.event, b[:]); n != len(b) && err != unix.EINTR {
			return // cannot be, as nobody closes it; callers then do the work themselves
		}
		if f := h.job.Swap(nil); f != nil {
			(*f)()
			h.finished.Store(true)
			h.done <- struct{}{}
		}
	}
}

// place keeps the thread off the caller's processor, and on those that the caller may
// use. It reports whether there is one.
func (h *helper) place() bool {
	var cpu uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		return false
	}
	var mask unix.CPUSet
	if unix.SchedGetaffinity(0, &mask) != nil {
		return false
	}
	mask.Clear(int(cpu))
	if mask.Count() == 0 {
		return false
	}
	if mask != h.mask {
		if unix.SchedSetaffinity(h.tid, &mask) != nil {
			return false
		}
		h.mask = mask
	}
	return true
}

// give wakes the thread for f. It reports whether the work is the thread's, which may have
// taken it without being woken.
func (h *helper) give(f func()) bool {
	h.finished.Store(false)
	h.job.Store(&f)
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	if _, err := unix.Write(h.event, one[:]); err != nil {
		return h.job.Swap(nil) == nil
	}
	return true
}

// wait returns when the work is done, and lets others have the thread.
func (h *helper) wait() {
	defer h.mu.Unlock()
	if f := h.job.Swap(nil); f != nil { // the other processor has no time
		(*f)()
		return
	}
	for from := time.Now(); !h.finished.Load() && time.Since(from) < patience; {
	}
	<-h.done
}
