package xentest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
)

func TestEventBetweenDomains(t *testing.T) {
	_, a, b := pair(t)
	pa, err := a.Channels.AllocUnbound(b.ID)
	must(t, err)
	if a.Channels.TestClear(pa) {
		t.Error("a fresh unbound port is pending")
	}
	must(t, a.Channels.Notify(pa)) // nobody there: dropped
	pb, err := b.Channels.BindInterdomain(a.ID, pa)
	must(t, err)
	if !b.Channels.TestClear(pb) {
		t.Error("a bind must leave the local port pending")
	}
	if b.Channels.TestClear(pb) {
		t.Error("TestClear did not clear")
	}
	must(t, b.Channels.Notify(pb))
	if !a.Channels.TestClear(pa) {
		t.Error("event did not arrive")
	}
	must(t, b.Channels.Close(pb))
	must(t, a.Channels.Notify(pa)) // the other end is unbound again
	if err := b.Channels.Notify(pb); !errors.Is(err, evtchn.ErrBadPort) {
		t.Errorf("Notify on a closed port: %v", err)
	}
}

func TestBindIsPending(t *testing.T) {
	_, a, b := pair(t)
	p, err := a.Channels.AllocUnbound(b.ID)
	must(t, err)
	var arg [abi.EvtchnBindInterdomainSize]byte
	arg[abi.EvtchnBindInterdomainRemoteDom] = byte(a.ID)
	arg[abi.EvtchnBindInterdomainRemotePort] = byte(p)
	if rc := (hypercalls{b}).EventChannelOp(abi.EVTCHNOP_bind_interdomain, &arg); rc != 0 {
		t.Fatal(rc)
	}
	if !b.isPending(evtchn.Port(arg[abi.EvtchnBindInterdomainLocalPort])) {
		t.Error("not pending")
	}
}

func TestBindNeedsPermission(t *testing.T) {
	h, a, b := pair(t)
	c := h.NewDomain(3)
	p, err := a.Channels.AllocUnbound(b.ID)
	must(t, err)
	if _, err := c.Channels.BindInterdomain(a.ID, p); !errors.Is(err, abi.EINVAL) {
		t.Errorf("a stranger's bind: %v", err)
	}
	if _, err := b.Channels.BindInterdomain(a.ID, p+1); !errors.Is(err, abi.EINVAL) {
		t.Errorf("a bind to a closed port: %v", err)
	}
	if _, err := b.Channels.BindInterdomain(9, p); !errors.Is(err, abi.ESRCH) {
		t.Errorf("a bind to nobody: %v", err)
	}
	_, err = b.Channels.BindInterdomain(a.ID, p)
	must(t, err)
	if _, err := b.Channels.BindInterdomain(a.ID, p); !errors.Is(err, abi.EINVAL) {
		t.Errorf("a second bind: %v", err)
	}
}

func TestPingPong(t *testing.T) {
	h, a, b := pair(t)
	pa, err := a.Channels.AllocUnbound(b.ID)
	must(t, err)
	const rounds = 1000
	count := 0
	a.Run(func() {
		for count < rounds {
			a.Channels.Wait(evtchn.Forever)
			if a.Channels.TestClear(pa) {
				count++
				_ = a.Channels.Notify(pa)
			}
			a.Channels.TestClear(a.StorePort)
		}
	})
	b.Run(func() {
		pb, err := b.Channels.BindInterdomain(a.ID, pa)
		if err != nil {
			t.Error(err)
			return
		}
		b.Channels.TestClear(pb)
		for range rounds {
			_ = b.Channels.Notify(pb)
			for !b.Channels.TestClear(pb) {
				b.Channels.WaitPort(pb, evtchn.Forever)
			}
		}
	})
	h.Join()
	if count != rounds {
		t.Errorf("%d rounds", count)
	}
}

func TestVirtualTime(t *testing.T) {
	h, a, _ := pair(t)
	a.Channels.TestClear(a.StorePort)
	start := time.Now()
	before := h.Now()
	a.Channels.Wait(before + int64(time.Hour))
	if d := h.Now() - before; d < int64(time.Hour) || d > int64(time.Hour+time.Second) {
		t.Errorf("an hour took %v", time.Duration(d))
	}
	order := make(chan int, 3)
	for i, d := range []time.Duration{3, 1, 2} {
		h.Go(func() { h.Sleep(d * time.Minute); order <- i })
	}
	h.Join()
	if got := fmt.Sprint(<-order, <-order, <-order); got != "1 2 0" {
		t.Errorf("sleepers woke in the order %s", got)
	}
	if time.Since(start) > 10*time.Second {
		t.Error("virtual time is not virtual")
	}
}

func TestBlock(t *testing.T) {
	h, a, b := pair(t)
	pa, err := a.Channels.AllocUnbound(b.ID)
	must(t, err)
	hour, event := make(chan int64), make(chan bool)
	before := h.Now()
	h.Go(func() { h.Sleep(time.Hour); hour <- h.Now() })
	a.Run(func() {
		for !a.Channels.TestClear(pa) {
			a.Channels.WaitPort(pa, evtchn.Forever)
		}
		event <- true
	})
	var after int64
	h.Block(func() { after = <-hour })
	if after-before < int64(time.Hour) {
		t.Errorf("%v passed", time.Duration(after-before))
	}
	pb, err := b.Channels.BindInterdomain(a.ID, pa)
	must(t, err)
	must(t, b.Channels.Notify(pb))
	h.Block(func() { <-event })
	h.Join()
}

func TestManyPorts(t *testing.T) {
	_, a, b := pair(t)
	var ports []evtchn.Port
	for range 300 {
		p, err := a.Channels.AllocUnbound(b.ID)
		must(t, err)
		ports = append(ports, p)
	}
	a.Channels.TestClear(a.StorePort)
	for _, i := range []int{0, 127, 128, 255, 256, 299} {
		bp, err := b.Channels.BindInterdomain(a.ID, ports[i])
		must(t, err)
		must(t, b.Channels.Notify(bp))
		a.Channels.Wait(evtchn.Forever)
		if !a.Channels.TestClear(ports[i]) {
			t.Errorf("port %d is not pending", i)
		}
	}
	before := a.Channels.Now()
	a.Channels.Wait(before + int64(time.Second))
	if d := a.Channels.Now() - before; d < int64(time.Second) || d > int64(time.Second+20*time.Millisecond) {
		t.Errorf("a wait of 1 s on 300 ports took %v", time.Duration(d))
	}
}

func TestPortsRunOut(t *testing.T) {
	_, a, _ := pair(t)
	n := 0
	for {
		_, err := a.Channels.AllocUnbound(2)
		if err != nil {
			if !errors.Is(err, abi.ENOSPC) {
				t.Fatal(err)
			}
			break
		}
		n++
	}
	if n != abi.EvtchnPorts-2 { // port 0 does not exist, 1 is xenstore's
		t.Errorf("%d ports", n)
	}
	must(t, a.Channels.Close(77))
	if p, err := a.Channels.AllocUnbound(2); err != nil || p != 77 {
		t.Errorf("after a close: port %d, %v", p, err)
	}
}
