// Package evtchn is event channels: the interface that drivers use and the
// bookkeeping behind it (which ports are ours, which are pending), over a
// handful of raw hypercalls.
//
// No interrupt is ever taken: every port stays masked and Wait blocks in
// SCHEDOP_poll, which looks at pending bits whether or not they are masked.
package evtchn

import (
	"errors"

	"xenvtpm/board/xen/abi"
)

// Port is a local event-channel port (evtchn_port_t).
type Port uint32

// Channels is what a driver needs of event channels. An implementation is
// used by one goroutine at a time.
type Channels interface {
	// AllocUnbound makes a port that remote may bind to.
	AllocUnbound(remote abi.DomID) (Port, error)
	// BindInterdomain joins a port that remote has allocated for us. The new
	// local port starts pending, so an event sent before the bind is not lost.
	BindInterdomain(remote abi.DomID, remotePort Port) (Port, error)
	// Close frees a port of ours.
	Close(Port) error
	// Notify sends an event to the other end. Without a bound other end it
	// does nothing and succeeds.
	Notify(Port) error
	// TestClear reports whether the port fired since the last call, and clears
	// it. Call it before looking at the shared ring, never after.
	TestClear(Port) bool
	// Wait blocks until any bound port is pending or Now() >= deadline. A port
	// that nobody TestClears keeps Wait from blocking.
	Wait(deadline int64)
	// WaitPort is Wait for one port: what a driver that awaits one peer's
	// answer and serves nobody meanwhile should use.
	WaitPort(p Port, deadline int64)
	// Rearm makes a port of ours pending again, for work that is left over: the
	// next Wait does not block and the next TestClear reports true.
	Rearm(Port)
	// Now is monotonic time in nanoseconds (Xen's system time).
	Now() int64
}

// Forever is a deadline that does not come.
const Forever = int64(1<<63 - 1)

// ErrBadPort is returned for a port that is not ours or not open.
var ErrBadPort = errors.New("evtchn: no such port")
