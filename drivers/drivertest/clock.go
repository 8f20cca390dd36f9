// Package drivertest has the other side of the drivers for tests: devices and
// peers that behave, and that misbehave on request.
package drivertest

import (
	"sync/atomic"
	"time"
)

// Clock is virtual time. It moves only by Sleep, so that a test of a time limit
// takes none.
type Clock struct{ now atomic.Int64 }

// Now is monotonic nanoseconds.
func (c *Clock) Now() int64 { return c.now.Load() }

// Sleep moves the clock by d.
func (c *Clock) Sleep(d time.Duration) { c.now.Add(int64(d)) }
