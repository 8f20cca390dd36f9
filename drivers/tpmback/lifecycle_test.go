package tpmback_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmback"
	"xenvtpm/drivers/tpmif"
)

func TestAttachAndServe(t *testing.T) {
	l := newLab(t)
	var seen []tpmback.Request
	l.serve = func(_ *tpmback.Backend, req *tpmback.Request) {
		seen = append(seen, *req)
		if err := req.Respond(drivertest.Echo(req.Command)); err != nil {
			t.Errorf("Respond: %v", err)
		}
	}
	l.start()
	f := l.up(5, drivertest.UUID1)
	for _, n := range []int{10, 11, 64, 1000, tpmif.MaxPacket} {
		works(t, f, n)
	}
	l.stop()
	if len(seen) != 5 || seen[0].Frontend != (tpmback.Frontend{Domain: 5}) || seen[0].UUID.String() != drivertest.UUID1 {
		t.Fatalf("%d requests, first %+v", len(seen), seen[0])
	}
	drivertest.Leaks(t, l.h, l.be)
}

// A hot attach to a guest that reacts at once must still let a slow libxl read
// InitWait, and the guest's first command, which Linux sends in its probe, does
// not wait for that.
func TestHotAttach(t *testing.T) {
	l := newLab(t).start()
	l.ts.Latency = 600 * time.Millisecond
	dom := l.h.NewDomain(5)
	dev := xentest.Device{Kind: "vtpm", Frontend: 5, Backend: backendDom}
	f := &drivertest.LinuxFront{Dom: dom, Dev: dev}
	worked := false
	dom.Run(func() {
		found := false
		if _, err := dom.Store.Watch("device", func(string) {
			ok, err := dom.Store.Exists("device/vtpm/0/state")
			found = ok && err == nil
		}); err != nil {
			t.Errorf("watch: %v", err)
		}
		for !found {
			if err := dom.Store.Dispatch(); err != nil {
				return
			}
			if !found {
				dom.Channels.Wait(dom.Channels.Now() + 1e9)
			}
		}
		if err := f.Probe(); err != nil {
			t.Errorf("probe: %v", err)
			return
		}
		cmd := drivertest.Command(1, 20) // before the backend has mapped the page
		_, err := f.Command(cmd, 500*time.Millisecond)
		if err != nil {
			t.Errorf("first command: %v", err)
		}
		if s, _ := l.h.Get(dev.BackPath() + "/state"); s != "2" {
			t.Errorf("state %q while the toolstack has still to look", s)
		}
		worked = err == nil
	})
	if _, err := l.ts.AddVTPM(5, backendDom, 0, drivertest.UUID1); err != nil {
		t.Fatalf("vtpm-attach: %v", err)
	}
	l.h.Sleep(5 * time.Second)
	if !worked {
		t.Fatal("the guest's first command was not answered")
	}
	if s, _ := l.h.Get(dev.BackPath() + "/state"); s != "4" {
		t.Fatalf("state %q after the hold", s)
	}
}

// The stall of the trial: Linux at shutdown takes no state but Closing.
func TestGuestShutdown(t *testing.T) {
	l := newLab(t).start()
	f := l.up(5, drivertest.UUID1)
	works(t, f, 20)
	start := l.h.Now()
	stalled, err := f.Shutdown()
	must(t, err)
	if took := time.Duration(l.h.Now() - start); stalled || took > 500*time.Millisecond {
		t.Fatalf("shutdown took %v, stalled %t", took, stalled)
	}
	must(t, l.ts.Destroy(f.Dom))
	drivertest.Leaks(t, l.h, l.be)
	if list := l.h.List("/local/domain/1/backend/vtpm/5"); len(list) > 0 {
		t.Fatalf("left behind: %v", list)
	}
}

func TestDetach(t *testing.T) {
	for _, tt := range []struct {
		name  string
		guest func(t *testing.T, f *drivertest.LinuxFront)
		limit time.Duration
	}{
		{"guest follows", func(t *testing.T, f *drivertest.LinuxFront) {
			must(t, f.Probe())
			must(t, f.Connect(time.Second))
			background(t, f)
		}, 2500 * time.Millisecond},
		{"guest does not react", func(t *testing.T, f *drivertest.LinuxFront) {
			must(t, f.Probe())
			must(t, f.Connect(time.Second))
		}, 6 * time.Second},
		{"no driver in the guest", func(*testing.T, *drivertest.LinuxFront) {}, 2500 * time.Millisecond},
		{"guest has unbound its driver", func(t *testing.T, f *drivertest.LinuxFront) {
			must(t, f.Probe())
			must(t, f.Connect(time.Second))
			must(t, f.Unbind())
		}, 2500 * time.Millisecond},
		{"guest in Closing", func(t *testing.T, f *drivertest.LinuxFront) {
			must(t, f.Probe())
			must(t, f.Connect(time.Second))
			must(t, f.Show(5))
			must(t, f.Run(100*time.Millisecond))
		}, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t).start()
			f := l.guest(5, drivertest.UUID1)
			tt.guest(t, f)
			start := l.h.Now()
			if err := l.ts.Detach(f.Dev); err != nil {
				t.Fatalf("vtpm-detach: %v", err)
			}
			if took := time.Duration(l.h.Now() - start); took > tt.limit {
				t.Fatalf("took %v", took)
			}
			drivertest.Leaks(t, l.h, l.be)
			// Attached again in the same place, it works.
			g := l.up(6, drivertest.UUID2)
			works(t, g, 30)
		})
	}
}

func TestDestroyGuest(t *testing.T) {
	l := newLab(t).start()
	f, g := l.up(5, drivertest.UUID1), l.up(6, drivertest.UUID2)
	works(t, f, 20)
	start := l.h.Now()
	if err := l.ts.Destroy(f.Dom); err != nil {
		t.Fatalf("xl destroy: %v", err)
	}
	if took := time.Duration(l.h.Now() - start); took > 3*time.Second {
		t.Fatalf("xl destroy took %v", took)
	}
	works(t, g, 20)
	if z := l.h.Zombies(); len(z) > 0 {
		t.Fatalf("zombies %v", z)
	}
}

// A domain that vanishes without a toolstack that removes its device.
func TestDomainVanishes(t *testing.T) {
	l := newLab(t).start()
	f := l.up(5, drivertest.UUID1)
	l.h.Destroy(f.Dom)
	l.h.Remove("/local/domain/5")
	gone := l.h.WaitUntil(3*time.Second, func(v xentest.View) bool {
		_, there := v.Get(f.Dev.BackPath() + "/state")
		return !there
	})
	if !gone {
		t.Fatal("the backend directory stays")
	}
	drivertest.Leaks(t, l.h, l.be)
}

// A detach that comes while the backend is already removing the device.
func TestDetachWhileRemoving(t *testing.T) {
	for _, delay := range []time.Duration{0, 100 * time.Millisecond, 900 * time.Millisecond} {
		l := newLab(t).start()
		f := l.up(5, drivertest.UUID1)
		l.h.Remove(f.Dev.FrontPath()) // a guest can do that to itself
		l.h.WaitUntil(time.Second, func(v xentest.View) bool {
			s, _ := v.Get(f.Dev.BackPath() + "/state")
			return s == "6"
		})
		l.h.Sleep(delay)
		// A libxl that does not look whether it is Closed already.
		l.h.Set(f.Dev.BackPath()+"/online", "0")
		l.h.Set(f.Dev.BackPath()+"/state", "5")
		closed := l.h.WaitUntil(time.Second, func(v xentest.View) bool {
			s, _ := v.Get(f.Dev.BackPath() + "/state")
			return s == "6"
		})
		if !closed {
			t.Fatalf("%v: the detach does not see Closed", delay)
		}
		l.h.Sleep(500 * time.Millisecond)
		if _, there := l.h.Get(f.Dev.BackPath() + "/state"); !there {
			t.Fatalf("%v: the directory went at once", delay)
		}
		l.h.Sleep(3 * time.Second)
		if _, there := l.h.Get(f.Dev.BackPath() + "/state"); there {
			t.Fatalf("%v: the directory stays", delay)
		}
		drivertest.Leaks(t, l.h, l.be)
	}
}

func TestForcedRemoval(t *testing.T) {
	l := newLab(t).start()
	f := l.up(5, drivertest.UUID1)
	l.h.Remove(f.Dev.BackPath())
	l.h.Sleep(2 * time.Second)
	drivertest.Leaks(t, l.h, l.be)
	if _, there := l.h.Get(f.Dev.BackPath() + "/state"); there {
		t.Fatal("the backend made its removed directory again")
	}
}

func TestResume(t *testing.T) {
	l := newLab(t).start()
	f := l.up(5, drivertest.UUID1)
	works(t, f, 20)
	for range 3 {
		must(t, f.Resume())
		must(t, f.Connect(time.Second))
		works(t, f, 40)
		if n := l.be.Mapped(); n != 1 {
			t.Fatalf("%d pages mapped", n)
		}
	}
}

func TestDriverRestarts(t *testing.T) {
	l := newLab(t).start()
	f := l.up(5, drivertest.UUID1)
	for _, pause := range []time.Duration{0, 100 * time.Millisecond, 2 * time.Second} {
		must(t, f.Unbind())
		must(t, f.Run(pause))
		must(t, f.Probe())
		must(t, f.Connect(time.Second))
		works(t, f, 20)
	}
	start := l.h.Now()
	must(t, f.Kexec())
	if took := time.Duration(l.h.Now() - start); took > time.Second {
		t.Fatalf("kexec waits took %v", took)
	}
	must(t, f.Probe())
	must(t, f.Connect(time.Second))
	works(t, f, 20)
	// A kernel that crashed and does not care for the old connection.
	must(t, f.Show(1))
	must(t, f.Run(50*time.Millisecond))
	must(t, f.Resume())
	must(t, f.Connect(time.Second))
	works(t, f, 20)
}

// A vTPM that restarts must not show Closing or Closed, and takes its guests up
// again.
func TestBackendRestarts(t *testing.T) {
	l := newLab(t).start()
	f := l.up(5, drivertest.UUID1)
	works(t, f, 20)
	watcher := l.h.NewDomain(9)
	rec, err := drivertest.Record(l.h, watcher, f.Dev.BackPath()+"/state")
	must(t, err)
	l.stop()
	must(t, watcher.Store.Dispatch())
	drivertest.Leaks(t, l.h, l.be)
	l.h.Remove("/local/domain/1/control/shutdown")
	l.start()
	must(t, f.Run(time.Second))
	must(t, watcher.Store.Dispatch())
	if f.Gone {
		t.Fatal("the guest has lost its TPM")
	}
	for _, s := range rec.Seen() {
		if s == "5" || s == "6" {
			t.Fatalf("states %v", rec.Seen())
		}
	}
	works(t, f, 20)
}

// A device that is attached again in the same place while the old one is being
// removed must not be removed in its stead.
func TestReattachWhileRemoving(t *testing.T) {
	l := newLab(t).start()
	f := l.up(5, drivertest.UUID1)
	background(t, f)
	l.h.Set(f.Dev.BackPath()+"/state", "5")
	l.h.Set(f.Dev.BackPath()+"/online", "0")
	closed := l.h.WaitUntil(5*time.Second, func(v xentest.View) bool {
		s, _ := v.Get(f.Dev.BackPath() + "/state")
		return s == "6"
	})
	if !closed {
		t.Fatalf("not closed at %v", time.Duration(l.h.Now()))
	}
	g := &drivertest.LinuxFront{Dom: f.Dom, Dev: f.Dev}
	if _, err := l.ts.AddVTPM(5, backendDom, 0, drivertest.UUID3); err != nil {
		t.Fatalf("vtpm-attach: %v", err)
	}
	l.h.Sleep(3 * time.Second)
	if s, _ := l.h.Get(g.Dev.BackPath() + "/state"); s != "2" {
		t.Fatalf("state %q of the new device", s)
	}
}

func TestRequestOutlivesFrontend(t *testing.T) {
	l := newLab(t)
	var held *tpmback.Request
	var result error
	l.serve = func(b *tpmback.Backend, req *tpmback.Request) {
		if req.Frontend.Domain != 5 {
			_ = req.Respond(drivertest.Echo(req.Command))
			return
		}
		held = req
		if req.Cancelled() {
			t.Error("cancelled before the frontend went")
		}
	}
	l.turn = func(*tpmback.Backend) {
		if held != nil && held.Cancelled() && result == nil {
			result = held.Respond(drivertest.Echo(held.Command))
		}
	}
	l.start()
	f, g := l.up(5, drivertest.UUID1), l.up(6, drivertest.UUID2)
	dom := f.Dom
	dom.Run(func() {
		_, err := f.Command(drivertest.Command(1, 20), 20*time.Second)
		if !errors.Is(err, drivertest.ErrCancelled) && !errors.Is(err, drivertest.ErrNoDevice) {
			t.Errorf("the guest's command ended in %v", err)
		}
		background(t, f)
	})
	l.h.Sleep(100 * time.Millisecond)
	works(t, g, 20) // a request of another frontend is served meanwhile
	must(t, l.ts.Detach(f.Dev))
	l.stop()
	if !errors.Is(result, tpmback.ErrDisconnected) {
		t.Fatalf("Respond: %v", result)
	}
	drivertest.Leaks(t, l.h, l.be)
}

func TestMaxFrontends(t *testing.T) {
	l := newLab(t)
	l.cfg.MaxFrontends = 2
	l.start()
	f, g := l.up(5, drivertest.UUID1), l.up(6, drivertest.UUID2)
	h := l.guest(7, drivertest.UUID3) // the toolstack is content
	must(t, h.Probe())
	if err := h.Connect(5 * time.Second); err == nil {
		t.Fatal("the third device was connected")
	}
	works(t, f, 20)
	must(t, l.ts.Destroy(g.Dom))
	l.inState(h.Dev, "2") // there is room now
	works(t, f, 20)
	i := l.guest(8, "41424344-4546-4748-494a-4b4c4d4e4f50")
	must(t, i.Probe())
	if err := i.Connect(5 * time.Second); err == nil {
		t.Fatal("the third device was connected")
	}
	must(t, l.ts.Detach(i.Dev))
	works(t, f, 20)
}

// Three busy guests: nobody is served twice while another waits.
func TestRoundRobin(t *testing.T) {
	l := newLab(t)
	var order []tpmback.Frontend
	l.serve = func(b *tpmback.Backend, req *tpmback.Request) {
		order = append(order, req.Frontend)
		l.h.Sleep(20 * time.Millisecond) // the others' requests come in meanwhile
		b.Poll()
		if err := req.Respond(drivertest.Echo(req.Command)); err != nil {
			t.Errorf("Respond: %v", err)
		}
	}
	l.start()
	guests := []*drivertest.LinuxFront{l.up(5, drivertest.UUID1), l.up(6, drivertest.UUID2), l.up(7, drivertest.UUID3)}
	for i, f := range guests {
		f.Dom.Run(func() {
			for n := range 10 {
				cmd := drivertest.Command(uint32(i), 20+n)
				if _, err := f.Command(cmd, 10*time.Second); err != nil {
					t.Errorf("guest %d: %v", i, err)
				}
			}
		})
	}
	l.h.Sleep(10 * time.Second)
	l.stop()
	if len(order) != 30 {
		t.Fatalf("%d requests served", len(order))
	}
	for i := 3; i < 27; i++ {
		if w := order[i-3 : i]; slices.Contains(w[:2], w[2]) || w[0] == w[1] {
			t.Fatalf("at %d: %v", i, order)
		}
	}
}

// An idle vTPM domain sleeps, whatever it has been through.
func TestIdleSleeps(t *testing.T) {
	l := newLab(t)
	turns := 0
	l.turn = func(*tpmback.Backend) { turns++ }
	l.start()
	f, g := l.up(5, drivertest.UUID1), l.up(6, drivertest.UUID2)
	h := l.guest(7, drivertest.UUID3)
	works(t, f, 20)
	must(t, g.Unbind())
	must(t, h.Publish())
	must(t, h.Dom.Store.Write(h.Dev.FrontPath()+"/ring-ref", "x"))
	must(t, h.Show(3))
	l.ts.Plug(xentest.Device{Kind: "vtpm", Frontend: 5, Backend: backendDom, ID: 1}, map[string]string{"uuid": "none"}, nil)
	l.h.Sleep(30 * time.Second)
	before := turns
	l.h.Sleep(10 * time.Second)
	// The device without an identity is looked at once a second, no more.
	if n := turns - before; n > 30 {
		t.Fatalf("%d turns in 10 idle seconds", n)
	}
}

// While Poll itself waits for xenstore, frontends' events must not keep the
// domain from sleeping.
func TestWaitsAsleep(t *testing.T) {
	l := newLab(t)
	idles, drop := 0, false
	l.idle = func() { idles++ }
	l.h.StoreFault = func(dom abi.DomID, req xenstore.Packet) *xentest.StoreFault {
		if drop && dom == backendDom && req.Type == abi.XS_READ {
			drop = false
			return &xentest.StoreFault{Drop: true}
		}
		return nil
	}
	l.start()
	f, g := l.up(5, drivertest.UUID1), l.up(6, drivertest.UUID2)
	works(t, g, 20)
	l.h.Locked(func() { idles, drop = 0, true })
	must(t, f.Show(4)) // makes the backend read its state, in vain
	for range 20 {
		_ = g.Dom.Channels.Notify(g.Port)
		l.h.Sleep(100 * time.Millisecond)
	}
	l.h.Sleep(15 * time.Second)
	if drop || idles > 100 {
		t.Fatalf("%d turns in 10 s without an answer (dropped: %t)", idles, !drop)
	}
	works(t, g, 20)
	works(t, f, 20)
}
