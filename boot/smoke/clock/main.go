//go:build tamago

// Clock tests time: it goes forward, sleeping takes as long as it says, and
// neither a sleeping program nor one that waits for events uses the processor.
package main

import (
	"errors"
	"fmt"
	"time"

	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
)

func main() { selftest.Run("clock", test) }

func test(p *xenpvh.Platform) error {
	now := time.Now()
	fmt.Println("the host says", now.UTC().Format(time.RFC3339))
	if y := now.Year(); y < 2024 || y > 2200 {
		return fmt.Errorf("the year is %d", y)
	}
	return errors.Join(
		forward(p),
		idle(p, "time.Sleep", func() { time.Sleep(200 * time.Millisecond) }),
		idle(p, "Channels.Wait", func() { p.Channels.Wait(p.Channels.Now() + 200e6) }),
		timers(),
	)
}

func forward(p *xenpvh.Platform) error {
	const n = 100000
	start := p.Channels.Now()
	last := start
	for range n {
		now := p.Channels.Now()
		if now < last {
			return fmt.Errorf("time went back by %d ns", last-now)
		}
		last = now
	}
	fmt.Printf("one look at the clock takes %d ns\n", (last-start)/n)
	return nil
}

// idle runs f five times, expecting 200 ms of mostly nothing each time.
func idle(p *xenpvh.Platform, what string, f func()) error {
	before, err := p.CPUTime()
	if err != nil {
		return err
	}
	start := p.Channels.Now()
	for range 5 {
		f()
	}
	took := time.Duration(p.Channels.Now() - start)
	after, err := p.CPUTime()
	if err != nil {
		return err
	}
	busy := after.Running - before.Running
	fmt.Printf("%s: 1s took %v, of it %v running, %v blocked\n", what, took, busy, after.Blocked-before.Blocked)
	if took < time.Second || took > 30*time.Second { // the host may be busy
		return fmt.Errorf("%s: 1s took %v", what, took)
	}
	// Who spins runs all of it. An emulated processor that its host takes away
	// while it runs is accounted as running: a tenth has been seen.
	if busy > took/2 {
		return fmt.Errorf("%s: the processor ran for %v of %v", what, busy, took)
	}
	return nil
}

// timers expects sleeping goroutines to wake in the order of their times.
func timers() error {
	order := make(chan int, 3)
	for i, d := range []time.Duration{60, 20, 40} {
		go func() {
			time.Sleep(d * time.Millisecond)
			order <- i
		}()
	}
	got := [3]int{<-order, <-order, <-order}
	return selftest.Equal("the order of waking", got, [3]int{1, 2, 0})
}
