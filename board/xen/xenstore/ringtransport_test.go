package xenstore_test

import (
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/ring"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/board/xen/xentest"
)

// lateServer answers in the very moment in which the client clears its port.
type lateServer struct {
	evtchn.Channels
	answer func()
}

func (l *lateServer) TestClear(p evtchn.Port) bool {
	if l.answer != nil {
		l.answer()
		l.answer = nil
	}
	return l.Channels.TestClear(p)
}

// TestNoLostWakeUp: the port is cleared before the ring is looked at. In the
// other order an answer that comes in between lies there without an event.
func TestNoLostWakeUp(t *testing.T) {
	d := xentest.New(t).NewDomain(1)
	server := ring.NewWriter(d.StorePage, ring.Layout{
		Buf: abi.XenstoreRsp, Size: abi.XenstoreRingSize, Cons: abi.XenstoreRspCons, Prod: abi.XenstoreRspProd,
	})
	d.Channels.TestClear(d.StorePort)
	late := &lateServer{Channels: d.Channels}
	late.answer = func() {
		if _, err := server.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		d.Fire(d.StorePort)
	}
	r := xenstore.NewRing(d.StorePage, late, d.StorePort)
	n, err := r.Receive(make([]byte, 10))
	if err != nil || n != 1 && !d.Channels.TestClear(d.StorePort) {
		t.Errorf("%d bytes, %v: the answer is in the ring and no event says so", n, err)
	}
}

// lossy loses events: first some to the server, then one from it, the one that
// announces an answer that comes while the client waits.
type lossy struct {
	evtchn.Channels
	sent, received int // how many are still to be lost
	held           bool
}

func (l *lossy) Notify(p evtchn.Port) error {
	switch {
	case l.sent > 0:
		l.sent--
		return nil
	case l.received > 0:
		l.held = true // the server runs when the client waits
		return nil
	}
	return l.Channels.Notify(p)
}

func (l *lossy) WaitPort(p evtchn.Port, deadline int64) {
	if l.held {
		l.held = false
		l.received--
		if err := l.Channels.Notify(p); err != nil {
			panic(err)
		}
		l.Channels.TestClear(p)
	}
	l.Channels.WaitPort(p, deadline)
}

// TestLostEvent: an event that is lost on the way to or from the server costs
// about a second each, not the request.
func TestLostEvent(t *testing.T) {
	for _, tt := range []struct{ sent, received, seconds int }{
		{0, 0, 0}, {1, 0, 1}, {2, 0, 2}, {0, 1, 1}, {1, 1, 2},
	} {
		h := xentest.New(t)
		d := h.NewDomain(1)
		l := &lossy{Channels: d.Channels}
		xs := xenstore.New(xenstore.Config{Transport: xenstore.NewRing(d.StorePage, l, d.StorePort), Logf: t.Logf})
		l.sent, l.received = tt.sent, tt.received
		start := h.Now()
		v, err := xs.Read("domid")
		took := time.Duration(h.Now() - start)
		least := time.Duration(tt.seconds) * time.Second
		if v != "1" || err != nil || took < least || took > least+200*time.Millisecond {
			t.Errorf("%d events to and %d from the server lost: %q, %v after %v, want about %v", tt.sent, tt.received, v, err, took, least)
		}
	}
}
