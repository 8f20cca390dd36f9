package tpmfront_test

import (
	"bytes"
	"errors"
	"strconv"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmback"
	"xenvtpm/drivers/tpmfront"
	"xenvtpm/drivers/tpmif"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func host(t *testing.T) (*xentest.Hypervisor, *xentest.Toolstack) {
	h := xentest.New(t)
	t.Cleanup(func() {
		for id := abi.DomID(1); id < 20; id++ {
			if d := h.Domain(id); d != nil {
				h.Destroy(d)
			}
		}
		h.Join()
	})
	ts := h.Toolstack()
	ts.Idle = func() {} // look again and again, not only after events
	return h, ts
}

// serve runs a real backend in a domain; it ends on control/shutdown.

func serve(t *testing.T, d *xentest.Domain, answer func(req *tpmback.Request)) {
	d.Run(func() {
		stop := false
		if _, err := d.Store.Watch("control/shutdown", func(string) {
			v, err := d.Store.Read("control/shutdown")
			stop = err == nil && v != ""
		}); err != nil {
			t.Errorf("watch: %v", err)
		}
		b, err := tpmback.New(tpmback.Config{Store: d.Store, Channels: d.Channels, Grants: d.Grants, Logf: t.Logf})
		if err != nil {
			t.Errorf("New: %v", err)
			return
		}
		for !stop {
			if err := d.Store.Dispatch(); err != nil {
				return
			}
			b.Poll()
			for req := b.Next(); req != nil; req = b.Next() {
				answer(req)
			}
			if !stop && !d.Store.Pending() {
				d.Channels.Wait(b.Deadline())
			}
		}
		b.Close()
	})
}

func echo(t *testing.T) func(*tpmback.Request) {
	return func(req *tpmback.Request) {
		if err := req.Respond(drivertest.Echo(req.Command)); err != nil {
			t.Errorf("Respond: %v", err)
		}
	}
}

func config(t *testing.T, d *xentest.Domain) tpmfront.Config {
	return tpmfront.Config{Store: d.Store, Channels: d.Channels, Grants: d.Grants, Logf: t.Logf}
}

func works(t *testing.T, f *tpmfront.Device, n int) {
	t.Helper()
	cmd := drivertest.Command(0x17B, n)
	rsp, err := f.Send(cmd)
	if err != nil || !bytes.Equal(rsp, drivertest.Echo(cmd)) {
		t.Fatalf("%d bytes: %.40x, %v", n, rsp, err)
	}
}

func TestSend(t *testing.T) {
	h, ts := host(t)
	be, fe := h.NewDomain(1), h.NewDomain(2)
	var loc uint8
	serve(t, be, func(req *tpmback.Request) {
		loc = req.Locality
		echo(t)(req)
	})
	dev, err := ts.AddVTPM(2, 1, 0, drivertest.UUID1)
	must(t, err)
	cfg := config(t, fe)
	cfg.Locality = 3
	f, err := tpmfront.Open(cfg)
	must(t, err)
	for _, n := range []int{10, 11, 500, tpmif.MaxPacket} {
		works(t, f, n)
	}
	if loc != 3 || f.Backend() != 1 || !f.Connected() {
		t.Fatalf("locality %d, backend %d", loc, f.Backend())
	}
	for _, cmd := range [][]byte{nil, make([]byte, 10), drivertest.Command(1, tpmif.MaxPacket+1)} {
		if _, err := f.Send(cmd); !errors.Is(err, tpmif.ErrPacket) {
			t.Fatalf("%d bytes: %v", len(cmd), err)
		}
	}
	must(t, f.Close())
	if s, _ := h.Get(dev.FrontPath() + "/state"); s != "1" {
		t.Fatalf("state %q after Close", s)
	}
	if _, err := f.Send(drivertest.Command(1, 10)); !errors.Is(err, tpmfront.ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
	drivertest.Leaks(t, h, fe, be)
	// A new driver in the same domain connects again.
	f, err = tpmfront.Open(config(t, fe))
	must(t, err)
	works(t, f, 20)
}

// A backend that keeps InitWait readable for the toolstack serves all the same, and then connects.
func TestSendDuringHold(t *testing.T) {
	h, ts := host(t)
	be, fe := h.NewDomain(1), h.NewDomain(2)
	serve(t, be, echo(t))
	dev, err := ts.AddVTPM(2, 1, 0, drivertest.UUID1)
	must(t, err)
	f, err := tpmfront.Open(config(t, fe))
	must(t, err)
	works(t, f, 20)
	if s, _ := h.Get(dev.BackPath() + "/state"); s != "2" {
		t.Fatalf("the backend shows %q, it was to hold 2", s)
	}
	h.Sleep(2 * time.Second)
	f.Poll()
	works(t, f, 20)
	back, _ := h.Get(dev.BackPath() + "/state")
	front, _ := h.Get(dev.FrontPath() + "/state")
	if back != "4" || front != "4" {
		t.Fatalf("states %q and %q after the hold", back, front)
	}
}

// Backends that come late, or not at all.

func TestOpenWaits(t *testing.T) {
	h, ts := host(t)
	be, fe := h.NewDomain(1), h.NewDomain(2)
	cfg := config(t, fe)
	turns := 0
	cfg.Idle = func() { turns++ }
	start := h.Now()
	if _, err := tpmfront.Open(cfg); !errors.Is(err, tpmfront.ErrNotConnected) {
		t.Fatalf("without a device: %v", err)
	}
	ts.PlugVTPM(2, 1, 0, drivertest.UUID1)
	if _, err := tpmfront.Open(cfg); !errors.Is(err, tpmfront.ErrNotConnected) {
		t.Fatalf("without a backend: %v", err)
	}
	if took := time.Duration(h.Now() - start); took < 60*time.Second || took > 70*time.Second {
		t.Fatalf("two waits took %v", took)
	}
	if turns > 1500 {
		t.Fatalf("%d turns in 60 s: it does not sleep", turns)
	}
	h.Go(func() {
		h.Sleep(20 * time.Second)
		serve(t, be, echo(t))
	})
	f, err := tpmfront.Open(cfg)
	must(t, err)
	works(t, f, 20)
}

// The backend restarts in place: it shows InitWait and takes the old ring or a

// new one.

func TestBackendRestarts(t *testing.T) {
	h, ts := host(t)
	be, fe := h.NewDomain(1), h.NewDomain(2)
	serve(t, be, echo(t))
	_, err := ts.AddVTPM(2, 1, 0, drivertest.UUID1)
	must(t, err)
	f, err := tpmfront.Open(config(t, fe))
	must(t, err)
	works(t, f, 20)
	ts.Shutdown(be, "poweroff")
	h.Sleep(time.Second)
	h.Remove("/local/domain/1/control/shutdown")
	h.Go(func() {
		h.Sleep(5 * time.Second)
		serve(t, be, echo(t))
	})
	works(t, f, 20)
	works(t, f, 30)
	must(t, f.Close())
	ts.Shutdown(be, "poweroff")
	h.Sleep(time.Second)
	drivertest.Leaks(t, h, be, fe)
}

// The device goes, with its backend's domain or by a detach, and another one

// comes: another number, another domain.

func TestDeviceReplaced(t *testing.T) {
	for _, how := range []string{"detached", "backend destroyed"} {
		t.Run(how, func(t *testing.T) {
			h, ts := host(t)
			be, fe := h.NewDomain(1), h.NewDomain(2)
			serve(t, be, echo(t))
			dev, err := ts.AddVTPM(2, 1, 0, drivertest.UUID1)
			must(t, err)
			f, err := tpmfront.Open(config(t, fe))
			must(t, err)
			works(t, f, 20)
			// The main loop of the domain follows without a command.
			stop := false
			h.Go(func() {
				for !stop {
					if err := fe.Store.Dispatch(); err != nil {
						return
					}
					f.Poll()
					fe.Channels.Wait(fe.Channels.Now() + 1e8)
				}
			})
			if how == "detached" {
				if err := ts.Detach(dev); err != nil {
					t.Fatalf("vtpm-detach: %v", err)
				}
			} else {
				h.Destroy(be)
				h.Remove("/local/domain/1")
				h.Remove(dev.FrontPath())
			}
			h.Sleep(5 * time.Second)
			stop = true
			h.Sleep(time.Second)
			if f.Connected() {
				t.Fatal("still connected")
			}
			be3 := h.NewDomain(3)
			serve(t, be3, echo(t))
			_, err = ts.AddVTPM(2, 3, 1, drivertest.UUID1)
			must(t, err)
			works(t, f, 20)
			if f.Backend() != 3 {
				t.Fatalf("backend %d", f.Backend())
			}
			if z := h.Zombies(); len(z) > 0 {
				t.Fatalf("zombies %v", z)
			}
		})
	}
}

// hostile is a backend that is driven by hand.

// TestHostileBackend: whatever a backend writes in the page, Send ends in time

// with an error, and the next good answer is taken.

// A backend without protocol 2 is given up, with the reason.

// Backend states in any order, and a backend that keeps our page.

// xenstore's errors and silence, and a lack of pages, delay a connection; they

// don't end it.

// The first device whose backend exists is taken; absurd ones are passed over.

func TestChoosesDevice(t *testing.T) {
	h, ts := host(t)
	be, fe := h.NewDomain(5), h.NewDomain(2)
	serve(t, be, echo(t))
	dead := ts.PlugVTPM(2, 4, 0, drivertest.UUID1) // domain 4 does not exist
	h.Remove(dead.BackPath())
	fePerm := xenstore.Perm{Dom: 2}
	h.Set("/local/domain/2/device/vtpm/seven/backend", "/nowhere", fePerm)
	h.Set("/local/domain/2/device/vtpm/1/state", "1", fePerm)
	_, err := ts.AddVTPM(2, 5, 10, drivertest.UUID1)
	must(t, err)
	_, err = ts.AddVTPM(2, 5, 9, drivertest.UUID2)
	must(t, err)
	f, err := tpmfront.Open(config(t, fe))
	must(t, err)
	works(t, f, 20)
	if s, _ := h.Get("/local/domain/2/device/vtpm/9/state"); s != "3" { // the backend still holds InitWait
		t.Fatalf("device 9 is in state %q", s)
	}
	cfg := config(t, fe)
	cfg.ID = "10"
	g, err := tpmfront.Open(cfg)
	must(t, err)
	works(t, g, 20)
	works(t, f, 20)
}

// An event that comes after its answer was taken does not keep the domain awake.

func TestLateEvent(t *testing.T) {
	h, ts := host(t)
	be, fe := h.NewDomain(1), h.NewDomain(2)
	serve(t, be, echo(t))
	dev, err := ts.AddVTPM(2, 1, 0, drivertest.UUID1)
	must(t, err)
	f, err := tpmfront.Open(config(t, fe))
	must(t, err)
	works(t, f, 20)
	text, _ := h.Get(dev.FrontPath() + "/event-channel")
	port, err := strconv.Atoi(text)
	must(t, err)
	fe.Fire(evtchn.Port(port))
	turns := 0
	for end := fe.Channels.Now() + int64(10*time.Second); fe.Channels.Now() < end; turns++ {
		must(t, fe.Store.Dispatch())
		f.Poll()
		fe.Channels.Wait(min(end, f.Deadline()))
	}
	if turns > 20 {
		t.Fatalf("%d turns in 10 idle seconds", turns)
	}
	works(t, f, 20)
}

// An answer's event that comes while Idle runs is not left pending, where it would

// keep others' waits from sleeping, and is not lost either.

func TestEventDuringIdle(t *testing.T) {
	h, ts := host(t)
	be, fe := h.NewDomain(1), h.NewDomain(2)
	serve(t, be, func(req *tpmback.Request) {
		h.Sleep(5 * time.Millisecond) // not before the frontend waits
		echo(t)(req)
	})
	dev, err := ts.AddVTPM(2, 1, 0, drivertest.UUID1)
	must(t, err)
	var f *tpmfront.Device
	var port evtchn.Port
	taken := 0
	cfg := config(t, fe)
	cfg.Idle = func() {
		if port == 0 {
			return
		}
		h.Sleep(10 * time.Millisecond) // the backend answers
		f.Poll()
		taken++
		if fe.Channels.TestClear(port) {
			t.Error("Poll leaves the event pending")
			fe.Channels.Rearm(port)
		}
	}
	f, err = tpmfront.Open(cfg)
	must(t, err)
	text, _ := h.Get(dev.FrontPath() + "/event-channel")
	n, err := strconv.Atoi(text)
	must(t, err)
	port = evtchn.Port(n)
	start := h.Now()
	works(t, f, 20)
	if took := time.Duration(h.Now() - start); taken != 1 || took > 20*time.Millisecond {
		t.Errorf("Idle ran %d times, the answer took %v: its event was lost", taken, took)
	}
}
