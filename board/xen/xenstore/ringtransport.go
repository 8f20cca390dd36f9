package xenstore

import (
	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/ring"
	"xenvtpm/board/xen/shm"
)

// Ring is the Transport over the page and event channel that Xen gives every
// domain.
type Ring struct {
	ch   evtchn.Channels
	port evtchn.Port
	out  *ring.Writer
	in   *ring.Reader
}

var _ Transport = (*Ring)(nil)

// NewRing uses the xenstore page and the local port, which must be open in ch.
func NewRing(page *shm.Page, ch evtchn.Channels, port evtchn.Port) *Ring {
	return &Ring{
		ch: ch, port: port,
		out: ring.NewWriter(page, ring.Layout{
			Buf: abi.XenstoreReq, Size: abi.XenstoreRingSize,
			Cons: abi.XenstoreReqCons, Prod: abi.XenstoreReqProd,
		}),
		in: ring.NewReader(page, ring.Layout{
			Buf: abi.XenstoreRsp, Size: abi.XenstoreRingSize,
			Cons: abi.XenstoreRspCons, Prod: abi.XenstoreRspProd,
		}),
	}
}

// Send implements Transport.
func (r *Ring) Send(p []byte) (int, error) {
	n, err := r.out.Write(p)
	if err != nil || n == 0 {
		return n, err
	}
	return n, r.ch.Notify(r.port)
}

// Receive implements Transport. The event is cleared before the ring is
// looked at: the other order loses wake-ups.
func (r *Ring) Receive(p []byte) (int, error) {
	r.ch.TestClear(r.port)
	n, err := r.in.Read(p)
	if err != nil || n == 0 {
		return n, err
	}
	return n, r.ch.Notify(r.port) // the server may wait for room
}

// Wait implements Transport.
func (r *Ring) Wait(deadline int64, all bool) {
	if all {
		r.ch.Wait(deadline)
	} else {
		r.ch.WaitPort(r.port, deadline)
	}
}

// Rearm implements Transport.
func (r *Ring) Rearm() { r.ch.Rearm(r.port) }

// Nudge implements Transport.
func (r *Ring) Nudge() error { return r.ch.Notify(r.port) }

// Now implements Transport.
func (r *Ring) Now() int64 { return r.ch.Now() }
