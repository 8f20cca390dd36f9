package blkfront

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/shm"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/drivertest"
)

const (
	xvda = 51712
	mib  = 1 << 20
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recorder remembers the pages that a driver shares; the first is its ring.
type recorder struct {
	gnttab.Grants
	pages []*shm.Page
}

func (r *recorder) Share(remote abi.DomID, writable bool) (gnttab.Ref, *shm.Page, error) {
	ref, page, err := r.Grants.Share(remote, writable)
	r.pages = append(r.pages, page)
	return ref, page, err
}

type lab struct {
	t    *testing.T
	h    *xentest.Hypervisor
	ts   *xentest.Toolstack
	d    *xentest.Domain
	rec  *recorder
	disk *xentest.Disk
	dev  xentest.Device
}

func newLab(t *testing.T, size int64, cfg xentest.DiskConfig) *lab {
	t.Helper()
	h := xentest.New(t)
	l := &lab{t: t, h: h, ts: h.Toolstack(), d: h.NewDomain(1), disk: xentest.NewDisk(size)}
	l.rec = &recorder{Grants: l.d.Grants}
	l.dev = l.ts.AddDisk(1, xvda, l.disk, cfg)
	return l
}

func (l *lab) config() Config {
	return Config{Store: l.d.Store, Channels: l.d.Channels, Grants: l.rec, Logf: l.t.Logf, RequestWait: 10 * time.Second}
}

func (l *lab) open() *Disk {
	l.t.Helper()
	d, err := Open(l.config())
	must(l.t, err)
	return d
}

func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>9) ^ byte(i) ^ seed
	}
	return b
}

func TestReadWriteFlush(t *testing.T) {
	l := newLab(t, 2*mib+3*512, xentest.DiskConfig{Latency: time.Millisecond})
	d := l.open()
	if d.Size() != 2*mib+3*512 || d.ReadOnly() {
		t.Fatalf("size %d", d.Size())
	}
	for i, n := range []int{512, 1024, 4096, 4096 + 512, chunk - 512, chunk, chunk + 512, 3*chunk + 1536, 0} {
		for _, off := range []int64{0, 512, 4096, 4608, d.Size() - int64(n)} {
			w := pattern(n, byte(i))
			if got, err := d.WriteAt(w, off); err != nil || got != n {
				t.Fatalf("write %d at %d: %d %v", n, off, got, err)
			}
			r := make([]byte, n)
			if got, err := d.ReadAt(r, off); err != nil || got != n || !bytes.Equal(r, w) {
				t.Fatalf("read %d at %d: %d %v", n, off, got, err)
			}
			direct := make([]byte, n)
			_, err := l.disk.ReadAt(direct, off)
			must(t, err)
			if !bytes.Equal(direct, w) {
				t.Fatalf("%d at %d: other bytes on the disk", n, off)
			}
		}
	}
	if l.disk.Unsynced() == 0 {
		t.Fatal("the test's disk has no cache")
	}
	must(t, d.Flush())
	if n := l.disk.Unsynced(); n != 0 {
		t.Fatalf("%d sectors are not durable after Flush", n)
	}
	must(t, d.Close())
	if _, err := d.ReadAt(make([]byte, 512), 0); !errors.Is(err, ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
	drivertest.Leaks(t, l.h, l.d)
	l.d.Grants.Reap() // what the backend still had when we closed
	if n := l.d.Grants.Shared(); n != 0 {
		t.Fatalf("%d pages still shared", n)
	}
	d = l.open() // the device can be opened again
	_, err := d.ReadAt(make([]byte, 512), 0)
	must(t, err)
}

func TestRange(t *testing.T) {
	l := newLab(t, mib, xentest.DiskConfig{})
	d := l.open()
	for _, c := range []struct {
		off int64
		n   int
	}{{-512, 512}, {1, 512}, {0, 511}, {mib, 512}, {mib - 512, 1024}, {1 << 62, 512}, {-1 << 63, 512}, {256, 512}} {
		if _, err := d.ReadAt(make([]byte, c.n), c.off); !errors.Is(err, ErrRange) {
			t.Errorf("read %d at %d: %v", c.n, c.off, err)
		}
		if _, err := d.WriteAt(make([]byte, c.n), c.off); !errors.Is(err, ErrRange) {
			t.Errorf("write %d at %d: %v", c.n, c.off, err)
		}
	}
	if _, err := d.ReadAt(nil, mib); err != nil {
		t.Errorf("nothing at the end: %v", err)
	}
}

// A device with 4096-byte sectors gets whole ones, and the neighbours of what is
// written keep their contents.
func TestLargeSectors(t *testing.T) {
	l := newLab(t, mib+3*512, xentest.DiskConfig{Nodes: map[string]string{"sector-size": "4096"}})
	l.disk.Fault = func(op string, sector int64, n int) error {
		if op != "flush" && (sector%8 != 0 || n%8 != 0) {
			return fmt.Errorf("%s of %d sectors at %d is not whole", op, n, sector)
		}
		return nil
	}
	d := l.open()
	if d.Size() != mib {
		t.Fatalf("size %d, want whole sectors", d.Size())
	}
	shadow := pattern(mib, 9)
	_, err := d.WriteAt(shadow, 0)
	must(t, err)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 300 {
		n := 512 * (1 + rng.IntN(200))
		off := 512 * rng.Int64N((mib-int64(n))/512+1)
		p := pattern(n, byte(i))
		if i%2 == 0 {
			_, err = d.WriteAt(p, off)
			copy(shadow[off:], p)
		} else {
			_, err = d.ReadAt(p, off)
			if !bytes.Equal(p, shadow[off:off+int64(n)]) {
				t.Fatalf("read %d at %d differs", n, off)
			}
		}
		must(t, err)
	}
	got := make([]byte, mib)
	_, err = d.ReadAt(got, 0)
	must(t, err)
	if !bytes.Equal(got, shadow) {
		t.Fatal("the disk differs")
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  xentest.DiskConfig
		want error
	}{
		{"no flush", xentest.DiskConfig{NoFlush: true}, ErrNoFlush},
		{"no flush node", xentest.DiskConfig{Nodes: map[string]string{"feature-flush-cache": "-", "feature-barrier": "-"}}, ErrNoFlush},
		{"flush 2", xentest.DiskConfig{Nodes: map[string]string{"feature-flush-cache": "2"}}, ErrNoFlush},
		{"barrier only", xentest.DiskConfig{NoFlush: true, Barrier: true}, ErrBarrierOnly},
		{"tapdisk", xentest.DiskConfig{Nodes: map[string]string{"tapdisk-params": "aio:/d.img"}}, ErrTapdisk},
		{"sectors missing", xentest.DiskConfig{Nodes: map[string]string{"sectors": "-"}}, ErrNotConnected},
		{"sectors 0", xentest.DiskConfig{Nodes: map[string]string{"sectors": "0"}}, ErrNotConnected},
		{"sectors 2^64-1", xentest.DiskConfig{Nodes: map[string]string{"sectors": "18446744073709551615"}}, ErrNotConnected},
		{"sectors a word", xentest.DiskConfig{Nodes: map[string]string{"sectors": "many"}}, ErrNotConnected},
		{"sector-size 0", xentest.DiskConfig{Nodes: map[string]string{"sector-size": "0"}}, ErrNotConnected},
		{"sector-size 513", xentest.DiskConfig{Nodes: map[string]string{"sector-size": "513"}}, ErrNotConnected},
		{"sector-size 8192", xentest.DiskConfig{Nodes: map[string]string{"sector-size": "8192"}}, ErrNotConnected},
		{"less than a sector", xentest.DiskConfig{Nodes: map[string]string{"sectors": "7", "sector-size": "4096"}}, ErrNotConnected},
		{"never connects", xentest.DiskConfig{Never: true}, ErrNotConnected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, mib, tt.cfg)
			start := l.h.Now()
			if _, err := Open(l.config()); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if took := time.Duration(l.h.Now() - start); took > 31*time.Second {
				t.Fatalf("took %v", took)
			}
			if n := l.d.OpenPorts(); n > 0 {
				t.Fatalf("%d ports left", n)
			}
		})
	}
}

func TestReadOnly(t *testing.T) {
	l := newLab(t, mib, xentest.DiskConfig{ReadOnly: true, NoFlush: true})
	d := l.open()
	if !d.ReadOnly() {
		t.Fatal("not read-only")
	}
	if _, err := d.WriteAt(make([]byte, 512), 0); !errors.Is(err, ErrReadOnly) {
		t.Fatalf("write: %v", err)
	}
	_, err := d.ReadAt(make([]byte, 512), 0)
	must(t, err)
	must(t, d.Flush())
}

// Errors of the disk: each request is tried three times in all, a flush once.
func TestErrors(t *testing.T) {
	for _, op := range []string{"read", "write", "flush"} {
		for fails, want := range []error{nil, nil, nil, ErrIO} {
			if op == "flush" && fails > 0 {
				want = ErrIO
			}
			l := newLab(t, mib, xentest.DiskConfig{})
			d := l.open()
			left, tries := fails, 0
			l.disk.Fault = func(o string, sector int64, _ int) error {
				if o != op || sector != 0 {
					return nil
				}
				tries++
				if left > 0 {
					left--
					return errors.New("bad sector")
				}
				return nil
			}
			var err error
			switch op {
			case "read":
				_, err = d.ReadAt(make([]byte, 2*chunk), 0)
			case "write":
				_, err = d.WriteAt(make([]byte, 2*chunk), 0)
			default:
				err = d.Flush()
			}
			if !errors.Is(err, want) || tries > 3 {
				t.Fatalf("%s with %d faults: %v after %d tries", op, fails, err, tries)
			}
			l.disk.Fault = nil
			_, err = d.ReadAt(make([]byte, 512), 0) // the disk stays usable
			must(t, err)
		}
	}
}

// TestHostile: an answer that was not asked for, or none, puts the disk out of
// use and nothing else.
func TestHostile(t *testing.T) {
	var l *lab
	le := binary.LittleEndian
	for _, tt := range []struct {
		name   string
		mangle func(rsp []byte) []byte
		want   error
	}{
		{"wrong id", func(rsp []byte) []byte { le.PutUint64(rsp, le.Uint64(rsp)+1); return rsp }, ErrBroken},
		{"id of the request before", func(rsp []byte) []byte { le.PutUint64(rsp, le.Uint64(rsp)-1); return rsp }, ErrBroken},
		{"other operation", func(rsp []byte) []byte { rsp[8] ^= 1; return rsp }, ErrBroken},
		{"positive status", func(rsp []byte) []byte { rsp[10] = 5; return rsp }, ErrIO},
		{"status -32768", func(rsp []byte) []byte { rsp[11] = 0x80; return rsp }, ErrIO},
		{"no answer", func([]byte) []byte { return nil }, ErrBroken},
		{"two answers at once", func(rsp []byte) []byte {
			ringPage := l.rec.pages[0]
			ringPage.Store32(abi.RingRspProd, ringPage.Load32(abi.RingRspProd)+2)
			return nil
		}, ErrBroken},
		{"index far away", func([]byte) []byte { l.rec.pages[0].Store32(abi.RingRspProd, 1<<31); return nil }, ErrBroken},
		{"index backwards", func([]byte) []byte {
			l.rec.pages[0].Store32(abi.RingRspProd, l.rec.pages[0].Load32(abi.RingRspProd)-1)
			return nil
		}, ErrBroken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calm := true
			l = newLab(t, mib, xentest.DiskConfig{Mangle: func(rsp []byte) []byte {
				if calm {
					return rsp
				}
				return tt.mangle(rsp)
			}})
			d := l.open()
			for i := range 40 { // once round the ring
				_, err := d.WriteAt(pattern(512, byte(i)), int64(i)*512)
				must(t, err)
			}
			calm = false
			start := l.h.Now()
			_, err := d.ReadAt(make([]byte, 512), 0)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if took := time.Duration(l.h.Now() - start); took > 11*time.Second {
				t.Fatalf("took %v", took)
			}
			calm = true
			if _, err := d.WriteAt(make([]byte, 512), 0); tt.want == ErrBroken && !errors.Is(err, ErrBroken) {
				t.Fatalf("a broken disk took a write: %v", err)
			}
			must(t, d.Close())
			drivertest.Leaks(t, l.h, l.d)
		})
	}
}

// The backend goes away and comes back: a write whose fate is unknown is an
// error, and so is the Flush after writes that only the old backend knew.
func TestReconnect(t *testing.T) {
	l := newLab(t, mib, xentest.DiskConfig{})
	d := l.open()
	_, err := d.WriteAt(pattern(512, 1), 0)
	must(t, err)
	must(t, d.Flush())
	state := l.dev.BackPath() + "/state"
	bounce := func() {
		l.h.Set(state, "5")
		for range 5 {
			must(t, l.d.Store.Dispatch())
			d.Poll()
		}
	}
	bounce()
	must(t, d.Flush())  // nothing was open
	l.h.Set(state, "6") // without a warning
	_, err = d.WriteAt(pattern(512, 2), 512)
	must(t, err)
	bounce()
	if err := d.Flush(); !errors.Is(err, ErrDisconnected) {
		t.Fatalf("Flush after a lost connection: %v", err)
	}
	got := make([]byte, 512)
	_, err = d.ReadAt(got, 512)
	must(t, err)
	must(t, d.Flush())
	must(t, d.Close())
	drivertest.Leaks(t, l.h, l.d)
}

// Requests go on being limited when xenstore and Idle are busy with others.
func TestIdleRuns(t *testing.T) {
	l := newLab(t, mib, xentest.DiskConfig{Latency: 500 * time.Millisecond})
	cfg := l.config()
	runs := 0
	var d *Disk
	cfg.Idle = func() {
		runs++
		if d != nil {
			if _, err := d.ReadAt(make([]byte, 512), 0); !errors.Is(err, ErrBusy) {
				t.Errorf("a request inside a request: %v", err)
			}
		}
	}
	disk, err := Open(cfg)
	must(t, err)
	d, runs = disk, 0
	_, err = d.ReadAt(make([]byte, 512), 0)
	must(t, err)
	if runs < 5 {
		t.Fatalf("Idle ran %d times in half a second", runs)
	}
}

// An event that comes after its answer was taken does not keep the domain awake.
func TestLateEvent(t *testing.T) {
	l := newLab(t, mib, xentest.DiskConfig{})
	d := l.open()
	must(t, d.Flush())
	l.d.Fire(d.link.port)
	turns := 0
	for end := l.d.Channels.Now() + int64(10*time.Second); l.d.Channels.Now() < end; turns++ {
		must(t, l.d.Store.Dispatch())
		d.Poll()
		l.d.Channels.Wait(min(end, d.Deadline()))
	}
	if turns > 20 {
		t.Fatalf("%d turns in 10 idle seconds", turns)
	}
}

// FuzzResponse gives the frontend arbitrary responses and indices.
func FuzzResponse(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, uint32(1))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, uint32(1))
	f.Add([]byte{}, uint32(1<<31))
	f.Fuzz(func(t *testing.T, rsp []byte, prod uint32) {
		var l *lab
		l = newLab(t, mib, xentest.DiskConfig{Mangle: func(orig []byte) []byte {
			page := l.rec.pages[0]
			page.CopyIn(abi.RingFirstSlot, rsp[:min(len(rsp), abi.BlkifRspSize)])
			page.Store32(abi.RingRspProd, prod)
			return nil
		}})
		cfg := l.config()
		cfg.Logf, cfg.RequestWait = nil, time.Second
		d, err := Open(cfg)
		must(t, err)
		p := make([]byte, 512)
		if _, err := d.ReadAt(p, 0); err == nil && (prod != 1 || len(rsp) < 8 || rsp[0] != 1) {
			t.Fatalf("took %x with index %d", rsp, prod)
		}
	})
}
