package xenstore_test

import (
	"testing"

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
