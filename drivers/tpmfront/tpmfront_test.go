package tpmfront_test

import (
	"bytes"
	"errors"
	"strconv"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/shm"
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

func TestTimeoutAndCancel(t *testing.T) {
	h, ts := host(t)
	be, fe := h.NewDomain(1), h.NewDomain(2)
	mode := "hold"
	var held *tpmback.Request
	var b *tpmback.Request
	_ = b
	serve(t, be, func(req *tpmback.Request) {
		switch mode {
		case "echo":
			echo(t)(req)
		case "cancel":
			for i := 0; i < 300 && !req.Cancelled(); i++ {
				h.Sleep(100 * time.Millisecond)
			}
			if err := req.Drop(); err != nil {
				t.Errorf("Drop: %v", err)
			}
		default:
			held = req
		}
	})
	_, err := ts.AddVTPM(2, 1, 0, drivertest.UUID1)
	must(t, err)
	cfg := config(t, fe)
	cfg.CommandWait, cfg.CancelWait = 10*time.Second, 2*time.Second
	var f *tpmfront.Device
	cancelAt := int64(0)
	cfg.Idle = func() {
		if cancelAt > 0 && fe.Channels.Now() >= cancelAt {
			f.Cancel()
		}
		if f != nil {
			f.Poll()
			if _, err := f.Send(drivertest.Command(1, 10)); !errors.Is(err, tpmfront.ErrBusy) && err == nil {
				t.Error("a second command ran inside the first")
			}
		}
	}
	f, err = tpmfront.Open(cfg)
	must(t, err)
	cmd := drivertest.Command(7, 20)

	start := h.Now()
	if _, err := f.Send(cmd); !errors.Is(err, tpmfront.ErrTimeout) {
		t.Fatalf("no answer: %v", err)
	}
	if took := time.Duration(h.Now() - start); took < 12*time.Second || took > 13*time.Second {
		t.Fatalf("took %v", took)
	}
	// The page is still the backend's; the next command waits for it in vain.
	if _, err := f.Send(cmd); !errors.Is(err, tpmfront.ErrTimeout) {
		t.Fatalf("page in use: %v", err)
	}
	if held == nil || !held.Cancelled() {
		t.Fatal("the backend was not asked to cancel")
	}
	must(t, held.Respond(drivertest.Echo(cmd)))
	mode = "echo"
	works(t, f, 20)

	mode = "cancel"
	if _, err := f.Send(cmd); !errors.Is(err, tpmfront.ErrTimeout) {
		t.Fatalf("dropped after the time: %v", err)
	}
	start = h.Now()
	cancelAt = start + int64(time.Second)
	if _, err := f.Send(cmd); !errors.Is(err, tpmfront.ErrCancelled) {
		t.Fatalf("cancelled: %v", err)
	}
	cancelAt = 0
	mode = "echo"
	works(t, f, 20)
}

// hostile is a backend that is driven by hand.
type hostile struct {
	d    *xentest.Domain
	dev  xentest.Device
	page *shm.Page
	port evtchn.Port
}

func (b *hostile) show(s int) error {
	return b.d.Store.Write(b.dev.BackPath()+"/state", strconv.Itoa(s))
}

func (b *hostile) connect(t *testing.T) {
	read := func(n string) int {
		v, err := b.d.Store.Read(b.dev.FrontPath() + "/" + n)
		if err != nil {
			t.Errorf("%s: %v", n, err)
		}
		i, _ := strconv.Atoi(v)
		return i
	}
	m, err := b.d.Grants.Map(b.dev.Frontend, gnttab.Ref(read("ring-ref")), true)
	if err != nil {
		t.Errorf("map: %v", err)
		return
	}
	b.page = m.Page
	if b.port, err = b.d.Channels.BindInterdomain(b.dev.Frontend, evtchn.Port(read("event-channel"))); err != nil {
		t.Errorf("bind: %v", err)
	}
}

// TestHostileBackend: whatever a backend writes in the page, Send ends in time
// with an error, and the next good answer is taken.
func TestHostileBackend(t *testing.T) {
	h, ts := host(t)
	be, fe := h.NewDomain(1), h.NewDomain(2)
	b := &hostile{d: be, dev: ts.PlugVTPM(2, 1, 0, drivertest.UUID1)}
	var script func()
	be.Run(func() {
		must := func(err error) {
			if err != nil {
				t.Errorf("backend: %v", err)
			}
		}
		must(be.Store.Write(b.dev.BackPath()+"/feature-protocol-v2", "1"))
		must(b.show(2))
		for {
			if s, _ := h.Get(b.dev.FrontPath() + "/state"); s == "3" {
				break
			}
			be.Channels.Wait(be.Channels.Now() + 1e7)
		}
		b.connect(t)
		must(b.show(4))
		for {
			be.Channels.Wait(be.Channels.Now() + 1e8)
			if be.Channels.TestClear(b.port) && b.page.Load8(4) == 1 && script != nil {
				script()
				_ = be.Channels.Notify(b.port)
			}
		}
	})
	cfg := config(t, fe)
	cfg.CommandWait, cfg.CancelWait = time.Second, time.Second
	f, err := tpmfront.Open(cfg)
	must(t, err)
	cmd := drivertest.Command(9, 30)
	good := drivertest.Echo(cmd)
	write := func(length uint32, packet []byte, state uint8) func() {
		return func() {
			b.page.CopyIn(8, packet)
			b.page.Store32(0, length)
			b.page.Store8(4, state)
		}
	}
	for _, tt := range []struct {
		name   string
		script func()
		err    error
	}{
		{"length 0", write(0, good, 2), tpmif.ErrResponse},
		{"length 9", write(9, good, 2), tpmif.ErrResponse},
		{"length 4089", write(4089, good, 2), tpmif.ErrResponse},
		{"length 2^32-1", write(1<<32-1, good, 2), tpmif.ErrResponse},
		{"size field differs", write(29, good, 2), tpmif.ErrResponse},
		{"idle", write(30, good, 0), tpmfront.ErrCancelled},
		{"state 0xff", write(30, good, 0xff), tpmfront.ErrTimeout},
		{"events only", func() {}, tpmfront.ErrTimeout},
		{"255 extra pages", func() { write(30, good, 2)(); b.page.Store8(7, 255); b.page.Store8(4, 2) }, nil},
		{"good", write(30, good, 2), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if b.page.Load8(4) > 2 || b.page.Load8(4) == 1 {
				b.page.Store8(4, 0) // what an earlier case left behind
			}
			script = tt.script
			start := h.Now()
			rsp, err := f.Send(cmd)
			if !errors.Is(err, tt.err) || err == nil && !bytes.Equal(rsp, good) {
				t.Fatalf("%x, %v, want %v", rsp, err, tt.err)
			}
			if took := time.Duration(h.Now() - start); took > 3*time.Second {
				t.Fatalf("took %v", took)
			}
		})
	}
}

// A backend without protocol 2 is given up, with the reason.
func TestNoProtocol2(t *testing.T) {
	h, ts := host(t)
	be, fe := h.NewDomain(1), h.NewDomain(2)
	b := &hostile{d: be, dev: ts.PlugVTPM(2, 1, 0, drivertest.UUID1)}
	must(t, b.show(4))
	start := h.Now()
	_, err := tpmfront.Open(config(t, fe))
	if !errors.Is(err, tpmfront.ErrNotConnected) || time.Duration(h.Now()-start) > time.Second {
		t.Fatalf("after %v: %v", time.Duration(h.Now()-start), err)
	}
	drivertest.Leaks(t, h, fe)
}

// Backend states in any order, and a backend that keeps our page.
func TestAbsurdBackendStates(t *testing.T) {
	h, ts := host(t)
	be, fe := h.NewDomain(1), h.NewDomain(2)
	b := &hostile{d: be, dev: ts.PlugVTPM(2, 1, 0, drivertest.UUID1)}
	must(t, be.Store.Write(b.dev.BackPath()+"/feature-protocol-v2", "1"))
	must(t, b.show(4))
	f, err := tpmfront.Open(config(t, fe))
	must(t, err)
	for i, s := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 6, 5, 4, 3, 2, 1, 4, 6, 2, 4, 2, 4, 99, 4} {
		must(t, b.show(s))
		if i%3 == 0 && f.Connected() {
			b.connect(t) // and never lets go
		}
		for range 3 {
			must(t, fe.Store.Dispatch())
			f.Poll()
		}
	}
	if !f.Connected() {
		t.Fatal("not connected at the end")
	}
	must(t, b.show(5))
	must(t, f.Close())
}

// xenstore's errors and silence, and a lack of pages, delay a connection; they
// don't end it.
func TestOurOwnTroubles(t *testing.T) {
	faults := map[string]*xentest.StoreFault{
		"EIO": {Errno: abi.EIO}, "ENOMEM": {Errno: abi.ENOMEM}, "EAGAIN": {Errno: abi.EAGAIN}, "silence": {Drop: true},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			h, ts := host(t)
			be, fe := h.NewDomain(1), h.NewDomain(2)
			serve(t, be, echo(t))
			_, err := ts.AddVTPM(2, 1, 0, drivertest.UUID1)
			must(t, err)
			n := 0
			h.StoreFault = func(dom abi.DomID, req xenstore.Packet) *xentest.StoreFault {
				if dom != 2 || req.Type == abi.XS_WATCH || req.Type == abi.XS_UNWATCH {
					return nil
				}
				if n++; n%4 == 0 && n < 60 {
					return fault
				}
				return nil
			}
			cfg := config(t, fe)
			cfg.ConnectWait = 10 * time.Minute
			f, err := tpmfront.Open(cfg)
			must(t, err)
			works(t, f, 20)
			must(t, f.Close())
			drivertest.Leaks(t, h, fe)
		})
	}
	t.Run("no pages", func(t *testing.T) {
		h, ts := host(t)
		be, fe := h.NewDomain(1), h.NewDomain(2)
		serve(t, be, echo(t))
		_, err := ts.AddVTPM(2, 1, 0, drivertest.UUID1)
		must(t, err)
		fe.LimitPages(0)
		h.Go(func() {
			h.Sleep(5 * time.Second)
			h.Locked(func() {})
			fe.LimitPages(1)
		})
		f, err := tpmfront.Open(config(t, fe))
		must(t, err)
		works(t, f, 20)
	})
}

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
	if s, _ := h.Get("/local/domain/2/device/vtpm/9/state"); s != "4" {
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
	serve(t, be, echo(t))
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
