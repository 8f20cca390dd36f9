package xentest

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"
)

// The clock is virtual. It stands while any participant runs (the test's own
// goroutine and those started with Go or Domain.Run) and jumps to the nearest
// deadline when all of them wait. Ten seconds of libxl's patience thus cost
// nothing, and nothing depends on how fast the machine is.

// What a look at the clock and a wait that need not wait cost, so that loops
// which poll get somewhere.
const (
	costNow  = 100
	costPoll = 1000
)

// waiter is a participant that waits.
type waiter struct {
	what     string
	deadline int64 // math.MaxInt64: none
	wake     chan struct{}
	domain   *Domain         // polls ports of a domain
	ports    map[uint32]bool // which ones; any event will do if more than one
	cond     func() bool     // or waits for the world to change
}

type timer struct {
	at int64
	f  func() // runs with the lock held
}

// Now is the virtual time in ns.
func (h *Hypervisor) Now() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.advance(costNow)
	return h.now
}

// Go runs f as a participant.
func (h *Hypervisor) Go(f func()) {
	h.mu.Lock()
	h.running++
	h.others++
	h.mu.Unlock()
	go func() {
		defer func() {
			h.mu.Lock()
			h.others--
			h.changed()
			h.leave()
			h.mu.Unlock()
		}()
		f()
	}()
}

// Join waits until everything started with Go or Domain.Run has ended.
func (h *Hypervisor) Join() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waitCond("Join", math.MaxInt64, func() bool { return h.others == 0 })
}

// Sleep lets virtual time pass.
func (h *Hypervisor) Sleep(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wait(&waiter{what: "Sleep", deadline: h.now + int64(d)})
}

// WaitUntil waits until cond holds, and reports whether it did within limit.
// cond is looked at whenever xenstore or the set of domains changes; it runs
// with the lock held and may use only View.
func (h *Hypervisor) WaitUntil(limit time.Duration, cond func(v View) bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waitCond("WaitUntil", h.now+int64(limit), func() bool { return cond(View{h}) })
}

// Block runs f, which waits for something that is not the hypervisor's (a Go
// channel for example). Time goes on without the caller meanwhile.
func (h *Hypervisor) Block(f func()) {
	h.mu.Lock()
	h.external++
	h.leave()
	h.mu.Unlock()
	f()
	h.mu.Lock()
	h.external--
	h.running++
	h.mu.Unlock()
}

// waitCond waits with the lock held until cond or the deadline.
func (h *Hypervisor) waitCond(what string, deadline int64, cond func() bool) bool {
	for !cond() {
		if h.now >= deadline {
			return false
		}
		h.wait(&waiter{what: what, deadline: deadline, cond: cond})
	}
	return true
}

// wait blocks the caller, who holds the lock, until w is woken.
func (h *Hypervisor) wait(w *waiter) {
	w.wake = make(chan struct{})
	h.waiters[w] = true
	h.leave()
	h.mu.Unlock()
	<-w.wake
	h.mu.Lock()
}

// leave takes the caller out of the running; the last one turns the clock.
func (h *Hypervisor) leave() {
	h.running--
	for h.running <= 0 && len(h.waiters) > 0 {
		next := int64(math.MaxInt64)
		for w := range h.waiters {
			next = min(next, w.deadline)
		}
		for _, t := range h.timers {
			next = min(next, t.at)
		}
		if next == math.MaxInt64 {
			if h.external == 0 {
				h.deadlock()
			}
			return
		}
		h.advance(max(next-h.now, 0))
	}
}

// release lets a waiter go on; it counts as running from this moment.
func (h *Hypervisor) release(w *waiter) {
	if h.waiters[w] {
		delete(h.waiters, w)
		h.running++
		close(w.wake)
	}
}

// advance moves the clock and does what has become due.
func (h *Hypervisor) advance(ns int64) {
	target := h.now + ns
	for {
		i := h.nextTimer(target)
		if i < 0 {
			break
		}
		t := h.timers[i]
		h.timers = append(h.timers[:i], h.timers[i+1:]...)
		h.now = max(h.now, t.at)
		t.f()
	}
	h.now = max(h.now, target)
	for w := range h.waiters {
		if w.deadline <= h.now {
			h.release(w)
		}
	}
}

// nextTimer is the index of the first timer that is due by target, or -1.
func (h *Hypervisor) nextTimer(target int64) int {
	best := -1
	for i, t := range h.timers {
		if t.at <= target && (best < 0 || t.at < h.timers[best].at) {
			best = i
		}
	}
	return best
}

// after runs f, with the lock held, when ns have passed.
func (h *Hypervisor) after(ns int64, f func()) {
	h.timers = append(h.timers, timer{at: h.now + ns, f: f})
}

// changed wakes those who wait for a change that has come about.
func (h *Hypervisor) changed() {
	for w := range h.waiters {
		if w.cond != nil && w.cond() {
			h.release(w)
		}
	}
}

// deadlock ends the program: everybody waits, and nothing will ever happen.
func (h *Hypervisor) deadlock() {
	var s strings.Builder
	for w := range h.waiters {
		fmt.Fprintf(&s, "\n\t%s", w.what)
	}
	buf := make([]byte, 1<<16)
	buf = buf[:runtime.Stack(buf, true)]
	panic(fmt.Sprintf("xentest: deadlock, all wait for ever:%s\n%s", s.String(), buf))
}
