package drivertest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/blkfront"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmback"
	"xenvtpm/drivers/tpmfront"
)

// The chain is the whole product without its engines: guests, a vTPM domain
// with a disk, a manager. For each command the vTPM domain writes and flushes
// its disk and asks the manager, as a command that changes permanent state does.
type chain struct {
	t       *testing.T
	h       *xentest.Hypervisor
	ts      *xentest.Toolstack
	disk    *xentest.Disk
	manager map[tpmback.UUID]int // commands that the manager served
	served  int
}

const (
	managerDom = abi.DomID(1)
	vtpmDom    = abi.DomID(2)
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newChain(t *testing.T) *chain {
	t.Helper()
	h := xentest.New(t)
	c := &chain{t: t, h: h, ts: h.Toolstack(), disk: xentest.NewDisk(1 << 20), manager: make(map[tpmback.UUID]int)}
	c.ts.Idle = func() {} // look again and again, not only after events
	t.Cleanup(func() {
		for id := abi.DomID(1); id < 100; id++ {
			if d := h.Domain(id); d != nil {
				h.Destroy(d)
			}
		}
		h.Join()
	})
	m := h.NewDomain(managerDom)
	m.Run(func() { c.loop(m, nil, c.manage) })
	c.startVTPM()
	return c
}

// loop is an image's main loop.
func (c *chain) loop(d *xentest.Domain, poll func(), serve func(*tpmback.Backend, *tpmback.Request)) {
	b, err := tpmback.New(tpmback.Config{Store: d.Store, Channels: d.Channels, Grants: d.Grants, Logf: c.t.Logf})
	if err != nil {
		c.t.Errorf("domain %d: %v", d.ID, err)
		return
	}
	d.Store.SetIdle(b.Poll)
	for d.Store.Dispatch() == nil {
		b.Poll()
		if poll != nil {
			poll()
		}
		for req := b.Next(); req != nil; req = b.Next() {
			serve(b, req)
		}
		if !d.Store.Pending() {
			d.Channels.Wait(min(b.Deadline(), d.Channels.Now()+int64(time.Second)))
		}
	}
}

// manage is the manager: it knows its clients by uuid.
func (c *chain) manage(_ *tpmback.Backend, req *tpmback.Request) {
	c.manager[req.UUID]++
	if err := req.Respond(drivertest.Echo(req.Command)); err != nil && !errors.Is(err, tpmback.ErrDisconnected) {
		c.t.Errorf("manager: %v", err)
	}
}

// startVTPM makes the vTPM's domain, with its device and disk.
func (c *chain) startVTPM() {
	c.t.Helper()
	d := c.h.NewDomain(vtpmDom)
	c.ts.AddDisk(vtpmDom, 51712, c.disk, xentest.DiskConfig{Latency: 2 * time.Millisecond})
	if _, err := c.ts.AddVTPM(vtpmDom, managerDom, 0, drivertest.UUID1); err != nil {
		c.t.Fatalf("the vTPM's own device: %v", err)
	}
	d.Run(func() { c.vtpm(d) })
}

// vtpm is the vTPM's domain.
func (c *chain) vtpm(d *xentest.Domain) {
	var back *tpmback.Backend
	idle := func() {
		if back != nil {
			back.Poll()
		}
	}
	disk, err := blkfront.Open(blkfront.Config{Store: d.Store, Channels: d.Channels, Grants: d.Grants, Idle: idle, Logf: c.t.Logf})
	if err != nil {
		c.t.Errorf("disk: %v", err)
		return
	}
	front, err := tpmfront.Open(tpmfront.Config{Store: d.Store, Channels: d.Channels, Grants: d.Grants, Idle: idle, Logf: c.t.Logf})
	if err != nil {
		c.t.Errorf("manager: %v", err)
		return
	}
	sector := make([]byte, 512)
	c.loop(d, func() { disk.Poll(); front.Poll() }, func(b *tpmback.Backend, req *tpmback.Request) {
		back = b
		c.served++
		binary.LittleEndian.PutUint64(sector, uint64(c.served))
		rsp, err := c.commit(disk, front, req.Command, sector)
		if err != nil {
			c.t.Errorf("vTPM: %v", err)
		}
		if err := req.Respond(rsp); err != nil && !errors.Is(err, tpmback.ErrDisconnected) {
			c.t.Errorf("vTPM: %v", err)
		}
	})
}

// commit is what a command that changes state costs.
func (c *chain) commit(disk *blkfront.Disk, front *tpmfront.Device, cmd, sector []byte) ([]byte, error) {
	if _, err := disk.WriteAt(sector, 0); err != nil {
		return nil, err
	}
	if err := disk.Flush(); err != nil {
		return nil, err
	}
	return front.Send(cmd)
}

// guest runs commands for as long as life lasts and counts those answered.
type guest struct {
	*drivertest.LinuxFront
	answered int
}

func (c *chain) attach(id abi.DomID, uuid string) *guest {
	c.t.Helper()
	dom := c.h.NewDomain(id)
	dev, err := c.ts.AddVTPM(id, vtpmDom, 0, uuid)
	if err != nil {
		c.t.Fatalf("vtpm-attach %d: %v", id, err)
	}
	return &guest{LinuxFront: &drivertest.LinuxFront{Dom: dom, Dev: dev}}
}

// live sends commands, with script done in between (called with their number).
func (c *chain) live(g *guest, script func(n int) (more bool, err error)) {
	g.Dom.Run(func() {
		if err := errors.Join(g.Probe(), g.Connect(5*time.Second)); err != nil {
			c.t.Errorf("guest %d: %v", g.Dom.ID, err)
			return
		}
		for n := 0; ; n++ {
			cmd := drivertest.Command(uint32(g.Dom.ID), 20+n%300)
			rsp, err := g.Command(cmd, 20*time.Second)
			if errors.Is(err, drivertest.ErrNoDevice) {
				_ = g.Run(time.Hour) // the guest lives on without a TPM
				return
			}
			if err != nil || !bytes.Equal(rsp, drivertest.Echo(cmd)) {
				c.t.Errorf("guest %d, command %d: %.20x %v", g.Dom.ID, n, rsp, err)
				return
			}
			g.answered++
			if script != nil {
				if more, err := script(n); err != nil || !more {
					if err != nil {
						c.t.Errorf("guest %d: %v", g.Dom.ID, err)
					}
					return
				}
			}
		}
	})
}

// TestChain runs three guests at once: one is busy all the time, one resumes,
// rebinds and shuts down, one is attached and detached while it works; a fourth
// comes and is destroyed. Everything that libxl does ends within its limits,
// nobody waits for another's troubles, and nothing is left behind.
func TestChain(t *testing.T) {
	c := newChain(t)
	busy := c.attach(10, drivertest.UUID1)
	c.live(busy, nil)

	changing := c.attach(11, drivertest.UUID2)
	ended, stalled := false, false
	c.live(changing, func(n int) (bool, error) {
		switch {
		case n == 20 || n == 40:
			return true, errors.Join(changing.Resume(), changing.Connect(time.Second))
		case n == 60:
			return true, errors.Join(changing.Unbind(), changing.Probe(), changing.Connect(time.Second))
		case n == 80:
			return true, errors.Join(changing.Kexec(), changing.Probe(), changing.Connect(time.Second))
		case n == 100:
			var err error
			stalled, err = changing.Shutdown()
			ended = true
			return false, err
		}
		return true, nil
	})

	for round := range 3 {
		id := abi.DomID(20 + round)
		hot := c.attach(id, drivertest.UUID3)
		c.live(hot, nil)
		c.h.Sleep(2 * time.Second)
		start := c.h.Now()
		if err := c.ts.Detach(hot.Dev); err != nil {
			t.Fatalf("vtpm-detach: %v", err)
		}
		if took := time.Duration(c.h.Now() - start); took > 4*time.Second {
			t.Fatalf("vtpm-detach took %v", took)
		}
		must(t, c.ts.Destroy(hot.Dom))

		doomed := c.attach(id+10, drivertest.UUID3)
		c.live(doomed, nil)
		c.h.Sleep(1700 * time.Millisecond)
		if err := c.ts.Destroy(doomed.Dom); err != nil {
			t.Fatalf("xl destroy: %v", err)
		}
		if hot.answered == 0 || doomed.answered == 0 {
			t.Fatalf("round %d: %d and %d commands answered", round, hot.answered, doomed.answered)
		}
	}
	for range 60 {
		if ended {
			break
		}
		c.h.Sleep(time.Second)
	}
	if !ended || stalled {
		t.Fatalf("the guest's shutdown: ended %t, stalled %t, %d commands", ended, stalled, changing.answered)
	}
	must(t, c.ts.Destroy(changing.Dom))
	before := busy.answered
	c.h.Sleep(5 * time.Second)
	if busy.answered < before+50 {
		t.Fatalf("the busy guest got %d answers in 5 s", busy.answered-before)
	}
	must(t, c.ts.Destroy(busy.Dom))
	if z := c.h.Zombies(); len(z) > 0 {
		t.Fatalf("zombies %v", z)
	}
	vtpm := c.h.Domain(vtpmDom)
	if n := vtpm.Mapped(); n > 0 {
		t.Fatalf("the vTPM's domain maps %d pages of guests that are gone", n)
	}
	if list := c.h.List(fmt.Sprintf("/local/domain/%d/backend/vtpm", vtpmDom)); len(list) > 0 {
		for _, dom := range list {
			if devs := c.h.List(fmt.Sprintf("/local/domain/%d/backend/vtpm/%s", vtpmDom, dom)); len(devs) > 0 {
				t.Fatalf("left behind: %s %v", dom, devs)
			}
		}
	}
	if len(c.manager) != 1 {
		t.Fatalf("the manager saw %v", c.manager)
	}
	t.Logf("%d commands in %v", c.served, time.Duration(c.h.Now()))
}

// TestChainManagerRestarts destroys the manager under a busy guest and brings
// another one: the guest's commands wait, none is lost.
func TestChainManagerReplaced(t *testing.T) {
	c := newChain(t)
	busy := c.attach(10, drivertest.UUID1)
	works := func() {
		t.Helper()
		cmd := drivertest.Command(1, 100)
		rsp, err := busy.Command(cmd, 60*time.Second)
		if err != nil || !bytes.Equal(rsp, drivertest.Echo(cmd)) {
			t.Fatalf("%.20x %v", rsp, err)
		}
	}
	must(t, busy.Probe())
	must(t, busy.Connect(time.Second))
	works()
	must(t, c.ts.Destroy(c.h.Domain(managerDom)))
	old := xentest.Device{Kind: "vtpm", Frontend: vtpmDom, Backend: managerDom}
	c.h.Remove(old.FrontPath())
	c.h.Sleep(2 * time.Second)
	c.h.Go(func() {
		c.h.Sleep(10 * time.Second)
		m := c.h.NewDomain(3)
		m.Run(func() { c.loop(m, nil, c.manage) })
		if _, err := c.ts.AddVTPM(vtpmDom, 3, 0, drivertest.UUID1); err != nil {
			t.Errorf("vtpm-attach: %v", err)
		}
	})
	works()
	works()
	if busy.Gone {
		t.Fatal("the guest has lost its TPM")
	}
}
