package xentest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/xenstore"
)

// miniBack is the least backend: it says InitWait, follows a request to close,
// and removes its directory a second later.
type miniBack struct {
	t      *testing.T
	d      *Domain
	dir    string
	delay  time.Duration // from Closed to the removal
	closed int64
	gone   bool
}

func (m *miniBack) start() {
	_, err := m.d.Store.Watch("backend/vtpm", func(string) { m.look() })
	must(m.t, err)
}

func (m *miniBack) look() {
	state, err := m.d.Store.Read(m.dir + "/state")
	if errors.Is(err, xenstore.ErrNotExist) {
		return
	}
	online, _ := m.d.Store.Read(m.dir + "/online")
	switch {
	case state == "1":
		err = m.d.Store.Write(m.dir+"/state", "2")
	case state == "5" && online == "0":
		err = m.d.Store.Write(m.dir+"/state", "6")
		m.closed = m.d.Channels.Now()
	}
	if err != nil {
		m.t.Error(err)
	}
}

func (m *miniBack) poll() {
	must(m.t, m.d.Store.Dispatch())
	if m.closed != 0 && !m.gone && m.d.Channels.Now() >= m.closed+int64(m.delay) {
		must(m.t, m.d.Store.Rm(m.dir))
		m.gone = true
	}
}

// TestToolstackIdle drives a backend by hand, in the test's own goroutine.
func TestToolstackIdle(t *testing.T) {
	h, _, be := pair(t)
	m := &miniBack{t: t, d: be, dir: "backend/vtpm/1/0", delay: time.Second}
	m.start()
	ts := h.Toolstack()
	ts.Idle = m.poll
	dev, err := ts.AddVTPM(1, 2, 0, "u")
	must(t, err)
	for _, name := range []string{"frontend", "frontend-id", "online", "handle", "uuid", "resume"} {
		if _, err := be.Store.Read(dev.BackPath() + "/" + name); err != nil {
			t.Errorf("backend node %s: %v", name, err)
		}
	}
	before := h.Now()
	must(t, ts.Detach(dev))
	if d := time.Duration(h.Now() - before); d < time.Second || d > 2*time.Second {
		t.Errorf("detach took %v", d)
	}
	if h.List("/local/domain/2/backend/vtpm/1") != nil {
		t.Error("backend directory is left")
	}
}

// TestLibxlLooksLate: a backend that is in InitWait for an instant only, or
// that removes its directory at once, is missed.
func TestLibxlLooksLate(t *testing.T) {
	h, _, be := pair(t)
	ts := h.Toolstack()
	be.Run(func() {
		state := "backend/vtpm/1/0/state"
		for {
			if v, err := be.Store.Read(state); err == nil && v == "1" {
				break
			}
			h.Sleep(time.Millisecond)
		}
		_ = be.Store.Write(state, "2")
		_ = be.Store.Write(state, "4")
	})
	if _, err := ts.AddVTPM(1, 2, 0, "u"); !errors.Is(err, ErrNoBackend) {
		t.Errorf("passing InitWait quickly: %v", err)
	}
	h.Join()

	m := &miniBack{t: t, d: be, dir: "backend/vtpm/1/1"}
	m.start()
	ts.Idle = m.poll
	dev, err := ts.AddVTPM(1, 2, 1, "u")
	must(t, err)
	if err := ts.Detach(dev); !errors.Is(err, ErrVanished) {
		t.Errorf("removal at once: %v", err)
	}
}

func TestToolstackDestroy(t *testing.T) {
	h, fe, be := pair(t)
	m := &miniBack{t: t, d: be, dir: "backend/vtpm/1/0", delay: time.Second}
	m.start()
	ts := h.Toolstack()
	ts.Idle = m.poll
	_, err := ts.AddVTPM(1, 2, 0, "u")
	must(t, err)
	ts.AddDisk(1, 51712, NewDisk(4096), DiskConfig{})
	fe.Run(func() {
		for {
			fe.Channels.Wait(evtchn.Forever)
			fe.Channels.TestClear(fe.StorePort)
		}
	})
	must(t, ts.Destroy(fe))
	h.Join()
	if !fe.Dead() || h.Domain(1) != nil || len(h.Zombies()) != 0 {
		t.Error("the domain is not gone")
	}
	if h.List("/local/domain/1") != nil || h.List("/local/domain/2/backend/vtpm/1") != nil ||
		h.List("/local/domain/0/backend/vbd/1") != nil {
		t.Error("nodes are left")
	}
	// The number can be used again.
	if again := h.NewDomain(1); again.Dead() {
		t.Error("born dead")
	}
}

func TestSpecialWatches(t *testing.T) {
	h, a, b := pair(t)
	zero := h.Domain(0)
	var seen []string
	for _, d := range []*Domain{zero, a} {
		for _, name := range []string{"@introduceDomain", "@releaseDomain"} {
			_, err := d.Store.Watch(name, func(p string) {
				if d == a {
					p = "guest " + p
				}
				seen = append(seen, p)
			})
			must(t, err)
		}
		must(t, d.Store.Dispatch())
	}
	seen = nil // the first, unconditional events
	h.NewDomain(7)
	h.Destroy(b)
	must(t, zero.Store.Dispatch())
	must(t, a.Store.Dispatch())
	if want := []string{"@introduceDomain", "@releaseDomain"}; !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
}

// TestWatchersHearOnlyWhatTheyMayRead as since XSA-115.
func TestWatchersHearOnlyWhatTheyMayRead(t *testing.T) {
	_, a, b := pair(t)
	n := 0
	_, err := b.Store.Watch("/local/domain/1/data", func(string) { n++ })
	must(t, err)
	must(t, b.Store.Dispatch())
	must(t, a.Store.Write("data/secret", "1"))
	must(t, b.Store.Dispatch())
	if n != 1 {
		t.Errorf("heard of a node that it cannot read (%d events)", n)
	}
	must(t, a.Store.SetPerms("data/secret", []xenstore.Perm{{Dom: 1}, {Dom: 2, Read: true}}))
	must(t, a.Store.Write("data/secret", "2"))
	must(t, b.Store.Dispatch())
	if n != 2 {
		t.Errorf("%d events", n)
	}
}

func TestDiskConfig(t *testing.T) {
	h, a, _ := pair(t)
	ts := h.Toolstack()
	open := func(id int, cfg DiskConfig) (Device, *blkFront) {
		dev := ts.AddDisk(a.ID, id, NewDisk(1<<16), cfg)
		return dev, newBlkFront(t, a, dev)
	}
	node := func(dev Device, name string) string { v, _ := h.Get(dev.BackPath() + "/" + name); return v }

	dev, fe := open(1, DiskConfig{NoFlush: true, ReadOnly: true, Nodes: map[string]string{"sector-size": "-", "sectors": "junk"}})
	if node(dev, "feature-flush-cache") != "0" || node(dev, "info") != "4" || node(dev, "sectors") != "junk" || node(dev, "sector-size") != "" {
		t.Error("nodes")
	}
	if st := fe.do(abi.BLKIF_OP_FLUSH_DISKCACHE, 0, 1, 0); st != abi.BLKIF_RSP_EOPNOTSUPP {
		t.Errorf("flush: %d", st)
	}
	if st := fe.do(abi.BLKIF_OP_WRITE, 0, 0, 0); st != abi.BLKIF_RSP_ERROR {
		t.Errorf("write to a read-only disk: %d", st)
	}

	_, fe = open(2, DiskConfig{Latency: 300 * time.Millisecond})
	before := h.Now()
	if st := fe.do(abi.BLKIF_OP_READ, 0, 0, 7); st != abi.BLKIF_RSP_OKAY {
		t.Errorf("read: %d", st)
	}
	if d := time.Duration(h.Now() - before); d < 300*time.Millisecond {
		t.Errorf("a slow disk answered after %v", d)
	}

	_, fe = open(3, DiskConfig{Mangle: func(rsp []byte) []byte { rsp[abi.BlkifRspStatus] = 0x99; return rsp }})
	if st := fe.do(abi.BLKIF_OP_READ, 0, 0, 7); st != 0x99 {
		t.Errorf("mangled status: %d", st)
	}

	dev, _ = open(4, DiskConfig{Never: true})
	if node(dev, "state") != "2" {
		t.Errorf("state %s", node(dev, "state"))
	}
}

// TestConcurrentDomains has many domains talk at once, for the race detector.
func TestConcurrentDomains(t *testing.T) {
	h := New(t)
	hub := h.NewDomain(1)
	const spokes = 8
	h.Set("/local/domain/1/data/in", "", xenstore.Perm{Dom: 1, Read: true, Write: true})
	for i := range spokes {
		d := h.NewDomain(abi.DomID(10 + i))
		d.Run(func() {
			ref, page, err := d.Grants.Share(hub.ID, true)
			if err != nil {
				t.Error(err)
				return
			}
			port, err := d.Channels.AllocUnbound(hub.ID)
			if err != nil {
				t.Error(err)
				return
			}
			page.Store8(1, byte(i+1))
			msg := itoa(ref) + " " + itoa(port)
			if err := d.Store.Write("/local/domain/1/data/in/"+itoa(d.ID), msg); err != nil {
				t.Error(err)
			}
			for page.Load8(0) == 0 { // answered?
				d.Channels.WaitPort(port, evtchn.Forever)
				d.Channels.TestClear(port)
			}
			if page.Load8(2) != byte(i+1) {
				t.Errorf("spoke %d got %d", i, page.Load8(2))
			}
		})
	}
	served := map[string]bool{}
	hub.Run(func() {
		_, err := hub.Store.Watch("data/in", func(string) {
			names, err := hub.Store.Directory("data/in")
			if err != nil {
				t.Error(err)
			}
			for _, name := range names {
				if !served[name] {
					served[name] = true
					serveSpoke(t, h, hub, name)
				}
			}
		})
		if err != nil {
			t.Error(err)
		}
		for len(served) < spokes {
			hub.Channels.Wait(evtchn.Forever)
			if err := hub.Store.Dispatch(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	h.Join()
}

func serveSpoke(t *testing.T, h *Hypervisor, hub *Domain, name string) {
	var ref, port uint32
	msg, _ := h.Get("/local/domain/1/data/in/" + name)
	id := atoi(name)
	if _, err := sscan(msg, &ref, &port); err != nil {
		t.Error(msg, err)
		return
	}
	m, err := hub.Grants.Map(abi.DomID(id), gref(ref), true)
	if err != nil {
		t.Error(err)
		return
	}
	p, err := hub.Channels.BindInterdomain(abi.DomID(id), evtchn.Port(port))
	if err != nil {
		t.Error(err)
		return
	}
	m.Page.Store8(2, m.Page.Load8(1))
	m.Page.Store8(0, 1)
	for _, err := range []error{hub.Channels.Notify(p), hub.Channels.Close(p), hub.Grants.Unmap(m)} {
		if err != nil {
			t.Error(err)
		}
	}
}
