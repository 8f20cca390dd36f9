package xentest

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/xenstore"
)

func pair(t *testing.T) (h *Hypervisor, a, b *Domain) {
	t.Helper()
	h = New(t)
	return h, h.NewDomain(1), h.NewDomain(2)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestBindIsPending looks at Xen's own act, without evtchn.Table's.

// TestPingPong has two domains in goroutines of their own.

// TestBlock: time goes on while a participant waits for a Go channel, and the

// others may wait for ever meanwhile without that being a deadlock.

func TestGrantLifecycle(t *testing.T) {
	h, a, b := pair(t)
	ref, pa, err := a.Grants.Share(b.ID, true)
	must(t, err)
	m, err := b.Grants.Map(a.ID, ref, true)
	must(t, err)
	pa.Store32(100, 0xDEADBEEF)
	if got := m.Page.Load32(100); got != 0xDEADBEEF {
		t.Errorf("peer reads %#x", got)
	}
	m.Page.Store8(5, 0x42)
	if pa.Load8(5) != 0x42 {
		t.Error("peer's write did not arrive")
	}
	if err := a.Grants.Unshare(ref); !errors.Is(err, gnttab.ErrInUse) {
		t.Errorf("Unshare of a mapped page: %v", err)
	}
	if err := a.Grants.Unshare(ref); !errors.Is(err, gnttab.ErrBadRef) {
		t.Errorf("second Unshare: %v", err)
	}
	if n := a.Grants.Reap(); n != 1 {
		t.Errorf("%d in quarantine, want 1", n)
	}
	must(t, b.Grants.Unmap(m))
	if m.Page.Load32(100) != 0xFFFFFFFF {
		t.Error("an unmapped page still shows data")
	}
	m.Page.Store32(100, 1)
	if pa.Load32(100) != 0xDEADBEEF {
		t.Error("a write through an unmapped page arrived")
	}
	if err := b.Grants.Unmap(m); !errors.Is(err, gnttab.ErrBadRef) {
		t.Errorf("second Unmap: %v", err)
	}
	if n := a.Grants.Reap(); n != 0 || a.Grants.Shared() != 0 {
		t.Errorf("%d in quarantine, %d shared, want none", n, a.Grants.Shared())
	}
	if b.Mapped() != 0 || len(h.Zombies()) != 0 {
		t.Error("something is left")
	}
}

func TestGrantRefusals(t *testing.T) {
	h, a, b := pair(t)
	c := h.NewDomain(3)
	ref, _, err := a.Grants.Share(b.ID, false)
	must(t, err)
	for _, tc := range []struct {
		name     string
		by       *Domain
		remote   abi.DomID
		ref      gnttab.Ref
		writable bool
		want     abi.GrantStatus
	}{
		{"stranger", c, a.ID, ref, false, abi.GNTST_general_error},
		{"write to a read-only grant", b, a.ID, ref, true, abi.GNTST_general_error},
		{"entry never granted", b, a.ID, ref + 1, false, abi.GNTST_general_error},
		{"beyond the table", b, a.ID, 1 << 20, false, abi.GNTST_bad_gntref},
		{"all ones", b, a.ID, 1<<32 - 1, false, abi.GNTST_bad_gntref},
		{"no such domain", b, 77, ref, false, abi.GNTST_bad_domain},
	} {
		if _, err := tc.by.Grants.Map(tc.remote, tc.ref, tc.writable); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	m, err := b.Grants.Map(a.ID, ref, false)
	must(t, err)
	must(t, b.Grants.Unmap(m))
	must(t, a.Grants.Unshare(ref))
	if _, err := b.Grants.Map(a.ID, ref, false); !errors.Is(err, abi.GNTST_general_error) {
		t.Errorf("map after Unshare: %v", err)
	}
}

func TestGrantTableGrows(t *testing.T) {
	_, a, b := pair(t)
	seen := make(map[gnttab.Ref]bool)
	for range 3 * abi.GrantEntriesPerPage {
		ref, _, err := a.Grants.Share(b.ID, true)
		must(t, err)
		if ref < abi.GNTTAB_NR_RESERVED_ENTRIES || seen[ref] {
			t.Fatalf("reference %d given out", ref)
		}
		seen[ref] = true
	}
	for ref := range seen {
		m, err := b.Grants.Map(a.ID, ref, true)
		must(t, err)
		must(t, b.Grants.Unmap(m))
		must(t, a.Grants.Unshare(ref))
	}
	a.LimitPages(1)
	_, _, err := a.Grants.Share(b.ID, true)
	must(t, err)
	if _, _, err := a.Grants.Share(b.ID, true); err == nil {
		t.Error("shared a page that is not there")
	}
}

func TestDestroyLeavesZombieWhileMapped(t *testing.T) {
	h, a, b := pair(t)
	ref, pa, err := a.Grants.Share(b.ID, true)
	must(t, err)
	pa.Store8(0, 7)
	port, err := a.Channels.AllocUnbound(b.ID)
	must(t, err)
	bp, err := b.Channels.BindInterdomain(a.ID, port)
	must(t, err)
	m, err := b.Grants.Map(a.ID, ref, true)
	must(t, err)
	h.Destroy(a)
	if m.Page.Load8(0) != 7 {
		t.Error("the page went away under its user")
	}
	if z := h.Zombies(); len(z) != 1 || z[0] != a.ID {
		t.Errorf("zombies %v", z)
	}
	must(t, b.Channels.Notify(bp)) // dropped, no error
	if _, err := b.Grants.Map(a.ID, ref, true); !errors.Is(err, abi.GNTST_bad_domain) {
		t.Errorf("map of a dead domain's page: %v", err)
	}
	must(t, b.Grants.Unmap(m))
	must(t, b.Channels.Close(bp))
	if len(h.Zombies()) != 0 || b.OpenPorts() != 0 {
		t.Error("something is left")
	}
}

func TestDestroyEndsRunningDomain(t *testing.T) {
	h, a, b := pair(t)
	a.Run(func() {
		for {
			a.Channels.Wait(evtchn.Forever)
			a.Channels.TestClear(a.StorePort)
		}
	})
	b.Run(func() {
		h.Sleep(time.Second)
		h.Destroy(a)
	})
	h.Join() // a deadlock panics
	if !a.Dead() {
		t.Error("not dead")
	}
}

// TestDestroyedDomainDoesNothing: a domain that computes when it is destroyed,
// and has pages that others see, does nothing more once Destroy is back.
func TestDestroyedDomainDoesNothing(t *testing.T) {
	h, a, b := pair(t)
	_, pa, err := a.Grants.Share(b.ID, true)
	must(t, err)
	started := make(chan struct{})
	a.Run(func() {
		close(started)
		time.Sleep(20 * time.Millisecond) // what a slow machine does to it
		pa.Store8(0, 1)
		a.Channels.Wait(evtchn.Forever)
		pa.Store8(0, 2)
		a.Channels.Wait(evtchn.Forever)
		pa.Store8(0, 3)
	})
	<-started
	h.Destroy(a)
	seen := pa.Load8(0)
	h.Join()
	if now := pa.Load8(0); now != seen {
		t.Errorf("it wrote %d after its end, %d before", now, seen)
	}
}

// TestDestroyEndsBusyLoop: a loop that never blocks, because a port stays
// pending, ends with its domain as well.
func TestDestroyEndsBusyLoop(t *testing.T) {
	h, a, _ := pair(t)
	a.Channels.Rearm(a.StorePort)
	a.Run(func() {
		for {
			a.Channels.Wait(a.Channels.Now() + int64(time.Second))
		}
	})
	h.Destroy(a)
	h.Join()
}

func TestRevoke(t *testing.T) {
	_, a, b := pair(t)
	ref, pa, err := a.Grants.Share(b.ID, true)
	must(t, err)
	m, err := b.Grants.Map(a.ID, ref, true)
	must(t, err)
	a.Revoke(ref)
	m.Page.Store8(0, 1)
	if m.Page.Load8(1) != 0xFF || pa.Load8(0) != 0 {
		t.Error("the revoked page still works")
	}
	must(t, b.Grants.Unmap(m))
}

func TestToolstackAddAndDetach(t *testing.T) {
	h, _, be := pair(t)
	ts := h.Toolstack()
	const dir = "/local/domain/2/backend/vtpm/1/0"
	be.Run(func() { // the least that a backend must do
		set := func(s string) {
			if err := be.Store.Write(dir+"/state", s); err != nil {
				t.Error(err)
			}
		}
		done := false
		_, err := be.Store.Watch("backend/vtpm", func(string) {
			state, err := be.Store.Read(dir + "/state")
			online, _ := be.Store.Read(dir + "/online")
			switch {
			case errors.Is(err, xenstore.ErrNotExist):
			case state == "1":
				set("2")
			case state == "5" && online == "0":
				set("6")
				done = true
			}
		})
		if err != nil {
			t.Error(err)
		}
		for !done {
			be.Channels.Wait(evtchn.Forever)
			if err := be.Store.Dispatch(); err != nil {
				t.Error(err)
				return
			}
		}
		h.Sleep(time.Second)
		if err := be.Store.Rm(dir); err != nil {
			t.Error(err)
		}
	})
	dev, err := ts.AddVTPM(1, 2, 0, "11111111-2222-3333-4444-555555555555")
	must(t, err)
	before := h.Now()
	must(t, ts.Detach(dev))
	if d := time.Duration(h.Now() - before); d > 2*time.Second {
		t.Errorf("detach took %v", d)
	}
	h.Join()
	if _, ok := h.Get(dev.FrontPath()); ok {
		t.Error("frontend directory is left")
	}
}

func TestToolstackLimits(t *testing.T) {
	h, _, be := pair(t)
	ts := h.Toolstack()
	before := h.Now()
	dev, err := ts.AddVTPM(1, 2, 0, "u")
	if !errors.Is(err, ErrNoBackend) {
		t.Errorf("silent backend: %v", err)
	}
	if d := time.Duration(h.Now() - before); d < InitTimeout || d > InitTimeout+time.Second {
		t.Errorf("gave up after %v", d)
	}
	if err := ts.Detach(dev); !errors.Is(err, ErrNotClosed) {
		t.Errorf("backend that does not close: %v", err)
	}
	dev = ts.PlugVTPM(1, 2, 1, "u")
	must(t, be.Store.Write(dev.BackPath()+"/state", "6"))
	if err := ts.Detach(dev); !errors.Is(err, ErrNotRemoved) {
		t.Errorf("backend that does not remove: %v", err)
	}
	dev = ts.PlugVTPM(1, 2, 2, "u")
	h.Go(func() {
		h.WaitUntil(time.Minute, func(v View) bool { s, _ := v.Get(dev.BackPath() + "/state"); return s == "5" })
		h.Remove(dev.BackPath())
	})
	if err := ts.Detach(dev); !errors.Is(err, ErrVanished) {
		t.Errorf("backend that removes at once: %v", err)
	}
	h.Join()
}

func TestDiskPowerCut(t *testing.T) {
	d := NewDisk(8 * 512)
	sector := func(b byte) []byte {
		s := make([]byte, 512)
		s[0] = b
		return s
	}
	write := func(n int64, b byte) {
		if _, err := d.WriteAt(sector(b), n*512); err != nil {
			t.Fatal(err)
		}
	}
	first := func(d *Disk, n int64) byte {
		b := make([]byte, 512)
		if _, err := d.ReadAt(b, n*512); err != nil {
			t.Fatal(err)
		}
		return b[0]
	}
	write(0, 1)
	must(t, d.Flush())
	write(0, 2)
	write(1, 3)
	if first(d, 0) != 2 || d.Unsynced() != 2 {
		t.Error("cache is not visible to reads")
	}
	if after := d.PowerCut(nil); first(after, 0) != 1 || first(after, 1) != 0 {
		t.Error("a cut keeps what was not flushed")
	}
	if after := d.PowerCut(func(i int) bool { return i == 1 }); first(after, 0) != 1 || first(after, 1) != 3 {
		t.Error("a later write cannot survive an earlier one")
	}
	d.Fault = func(op string, sector int64, _ int) error {
		if op == "write" && sector == 5 {
			return errors.New("injected")
		}
		return nil
	}
	if _, err := d.WriteAt(sector(9), 5*512); err == nil || first(d, 5) != 0 {
		t.Error("fault had no effect")
	}
	for _, bad := range []int64{-512, 1, 8 * 512} {
		if _, err := d.WriteAt(sector(1), bad); err == nil {
			t.Errorf("write at %d succeeded", bad)
		}
	}
}

// TestRingBytes pins what goes over the ring for one exchange, so that client

// and fake server cannot agree on something that is not the protocol.

func TestRingBytes(t *testing.T) {
	_, a, _ := pair(t)
	if v, err := a.Store.Read("domid"); err != nil || v != "1" {
		t.Fatalf("%q, %v", v, err)
	}
	req := make([]byte, 22)
	a.StorePage.CopyOut(req, abi.XenstoreReq)
	want := "\x02\x00\x00\x00" + "\x01\x00\x00\x00" + "\x00\x00\x00\x00" + "\x06\x00\x00\x00" + "domid\x00"
	if string(req) != want {
		t.Errorf("request %q", req)
	}
	rsp := make([]byte, 17)
	a.StorePage.CopyOut(rsp, abi.XenstoreRsp)
	if string(rsp) != "\x02\x00\x00\x00"+"\x01\x00\x00\x00"+"\x00\x00\x00\x00"+"\x01\x00\x00\x00"+"1" {
		t.Errorf("response %q", rsp)
	}
	if a.StorePage.Load32(abi.XenstoreReqProd) != 22 || a.StorePage.Load32(abi.XenstoreReqCons) != 22 ||
		a.StorePage.Load32(abi.XenstoreRspProd) != 17 || a.StorePage.Load32(abi.XenstoreRspCons) != 17 {
		t.Error("indices")
	}
}

func TestBlkback(t *testing.T) {
	h, a, _ := pair(t)
	ts := h.Toolstack()
	disk := NewDisk(1 << 16)
	dev := ts.AddDisk(a.ID, 51712, disk, DiskConfig{})
	fe := newBlkFront(t, a, dev)
	if s, _ := h.Get(dev.BackPath() + "/state"); s != "4" {
		t.Fatalf("backend state %s", s)
	}
	fe.data.Store8(0, 0xAB)
	fe.data.Store8(512, 0xCD)
	if st := fe.do(abi.BLKIF_OP_WRITE, 4, 0, 1); st != abi.BLKIF_RSP_OKAY {
		t.Fatalf("write: %d", st)
	}
	if disk.Unsynced() != 2 {
		t.Errorf("%d sectors in the cache", disk.Unsynced())
	}
	if st := fe.do(abi.BLKIF_OP_FLUSH_DISKCACHE, 0, 1, 0); st != abi.BLKIF_RSP_OKAY || disk.Unsynced() != 0 {
		t.Errorf("flush: %d, %d unsynced", st, disk.Unsynced())
	}
	fe.data.Zero()
	if st := fe.do(abi.BLKIF_OP_READ, 5, 3, 3); st != abi.BLKIF_RSP_OKAY || fe.data.Load8(3*512) != 0xCD {
		t.Errorf("read: %d, %#x", st, fe.data.Load8(3*512))
	}
	for name, st := range map[string]int16{
		"beyond the end": fe.do(abi.BLKIF_OP_READ, 1<<40, 0, 0),
		"bad segment":    fe.do(abi.BLKIF_OP_READ, 0, 0, 8),
	} {
		if st != abi.BLKIF_RSP_ERROR {
			t.Errorf("%s: %d", name, st)
		}
	}
	if st := fe.do(abi.BLKIF_OP_DISCARD, 0, 0, 0); st != abi.BLKIF_RSP_EOPNOTSUPP {
		t.Errorf("discard: %d", st)
	}
	must(t, a.Store.Write(dev.FrontPath()+"/state", "6"))
	must(t, a.Grants.Unshare(fe.ref))
	must(t, a.Grants.Unshare(fe.dataRef))
	if s, _ := h.Get(dev.BackPath() + "/state"); s != "6" {
		t.Errorf("backend state %s after the frontend closed", s)
	}
}

func itoa[T ~uint16 | ~uint32](v T) string { return strconv.FormatUint(uint64(v), 10) }

func atoi(s string) uint64 { v, _ := strconv.ParseUint(s, 10, 32); return v }

func sscan(s string, v ...*uint32) (int, error) { return fmt.Sscan(s, v[0], v[1]) }

func gref(v uint32) gnttab.Ref { return gnttab.Ref(v) }
