package tpmback_test

import (
	"bytes"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmback"
)

// lab is a fake host with a vTPM domain that runs a main loop as an image does.
type lab struct {
	t  *testing.T
	h  *xentest.Hypervisor
	ts *xentest.Toolstack
	be *xentest.Domain

	serve func(b *tpmback.Backend, req *tpmback.Request)
	turn  func(b *tpmback.Backend) // once in each turn of the loop
	idle  func()                   // while xenstore is waited for
	cfg   tpmback.Config
	ended chan struct{}
}

const backendDom = abi.DomID(1)

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, h: xentest.New(t)}
	l.ts = l.h.Toolstack()
	l.ts.Idle = func() {} // look again and again, not only after events
	l.be = l.h.NewDomain(backendDom)
	l.serve = func(_ *tpmback.Backend, req *tpmback.Request) {
		if err := req.Respond(drivertest.Echo(req.Command)); err != nil {
			t.Errorf("Respond: %v", err)
		}
	}
	t.Cleanup(func() {
		for id := abi.DomID(1); id < 20; id++ {
			if d := l.h.Domain(id); d != nil {
				l.h.Destroy(d)
			}
		}
		l.h.Join()
	})
	return l
}

// start runs the vTPM domain.
func (l *lab) start() *lab {
	l.t.Helper()
	l.ended = make(chan struct{})
	l.be.Run(func() {
		defer close(l.ended)
		l.main()
	})
	return l
}

// main is an image's main loop; it ends on control/shutdown.
func (l *lab) main() {
	stop := false
	d := l.be
	if _, err := d.Store.Watch("control/shutdown", func(string) {
		v, err := d.Store.Read("control/shutdown")
		stop = err == nil && v != ""
	}); err != nil {
		l.t.Errorf("watch: %v", err)
		return
	}
	l.cfg.Store, l.cfg.Channels, l.cfg.Grants = d.Store, d.Channels, d.Grants
	if l.cfg.Logf == nil {
		l.cfg.Logf = l.t.Logf
	}
	b, err := tpmback.New(l.cfg)
	if err != nil {
		l.t.Errorf("New: %v", err)
		return
	}
	d.Store.SetIdle(func() {
		if l.idle != nil {
			l.idle()
		}
		b.Poll()
	})
	for !stop {
		if err := d.Store.Dispatch(); err != nil {
			return // the domain is gone
		}
		b.Poll()
		for req := b.Next(); req != nil; req = b.Next() {
			l.serve(b, req)
		}
		if l.turn != nil {
			l.turn(b)
		}
		if !stop && !d.Store.Pending() {
			d.Channels.Wait(b.Deadline())
		}
	}
	b.Close()
}

// guest makes a guest domain with a device and the driver for it.
func (l *lab) guest(id abi.DomID, uuid string) *drivertest.LinuxFront {
	l.t.Helper()
	dom := l.h.NewDomain(id)
	dev, err := l.ts.AddVTPM(id, backendDom, 0, uuid)
	if err != nil {
		l.t.Fatalf("vtpm-attach: %v", err)
	}
	return &drivertest.LinuxFront{Dom: dom, Dev: dev}
}

// up is guest with a driver that is connected. The caller's goroutine drives
// it.
func (l *lab) up(id abi.DomID, uuid string) *drivertest.LinuxFront {
	l.t.Helper()
	f := l.guest(id, uuid)
	must(l.t, f.Probe())
	must(l.t, f.Connect(3*time.Second))
	return f
}

// stop shuts the vTPM domain's loop down and waits for its end.
func (l *lab) stop() {
	l.ts.Shutdown(l.be, "poweroff")
	l.h.Block(func() { <-l.ended })
}

// background runs f's domain until its device or the domain is gone.
func background(t *testing.T, f *drivertest.LinuxFront) {
	f.Dom.Run(func() {
		for {
			if err := f.Run(time.Hour); err != nil {
				t.Errorf("guest %d: %v", f.Dom.ID, err)
				return
			}
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// works sends a command and checks the echo.
func works(t *testing.T, f *drivertest.LinuxFront, n int) {
	t.Helper()
	cmd := drivertest.Command(0x17B, n)
	rsp, err := f.Command(cmd, 2*time.Second)
	if err != nil || !bytes.Equal(rsp, drivertest.Echo(cmd)) {
		t.Fatalf("guest %d, %d bytes: %.40x %v", f.Dom.ID, n, rsp, err)
	}
}
