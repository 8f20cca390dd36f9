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
