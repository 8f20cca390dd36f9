package blkfront

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/drivertest"
)

func (l *lab) openDeep(depth int) *Disk {
	l.t.Helper()
	cfg := l.config()
	cfg.Depth = depth
	d, err := Open(cfg)
	must(l.t, err)
	return d
}

// Several requests are in flight at once: a long transfer waits for the backend
// as often as Depth says, and no more.
func TestDepth(t *testing.T) {
	const latency = 100 * time.Millisecond
	for _, tt := range []struct{ depth, rounds int }{{1, 16}, {4, 4}, {16, 1}, {99, 1}} {
		l := newLab(t, mib, xentest.DiskConfig{Latency: latency})
		d := l.openDeep(tt.depth)
		w, r := pattern(16*chunk, 5), make([]byte, 16*chunk)
		for what, f := range map[string]func() (int, error){
			"write": func() (int, error) { return d.WriteAt(w, 512) },
			"read":  func() (int, error) { return d.ReadAt(r, 512) },
		} {
			start := l.h.Now()
			n, err := f()
			must(t, err)
			if n != len(w) {
				t.Fatalf("%s: %d bytes", what, n)
			}
			took := time.Duration(l.h.Now() - start)
			if want := time.Duration(tt.rounds) * latency; took < want || took > want+latency/2 {
				t.Errorf("%s with depth %d took %v, want %v", what, tt.depth, took, want)
			}
		}
		_, err := d.ReadAt(r, 512)
		must(t, err)
		if !bytes.Equal(r, w) {
			t.Errorf("depth %d: what is read is not what was written", tt.depth)
		}
		must(t, d.Close())
		drivertest.Leaks(t, l.h, l.d)
	}
}

// reversed answers each n requests in the opposite order. All of them have been
// executed when the first is answered.
func reversed(n uint64, after uint64) func([]byte) []byte {
	return func(rsp []byte) []byte {
		if id := binary.LittleEndian.Uint64(rsp); id > after {
			at := id - after - 1
			binary.LittleEndian.PutUint64(rsp, after+1+at/n*n+(n-1-at%n))
		}
		return rsp
	}
}

func TestAnswersOutOfOrder(t *testing.T) {
	const depth = 8
	var mangle func([]byte) []byte
	l := newLab(t, mib, xentest.DiskConfig{Latency: time.Millisecond, Mangle: func(rsp []byte) []byte {
		if mangle != nil {
			return mangle(rsp)
		}
		return rsp
	}})
	d := l.openDeep(depth)
	want := pattern(depth*chunk, 7)
	_, err := d.WriteAt(want, 1024)
	must(t, err)
	mangle = reversed(depth, d.lastID)
	got := make([]byte, depth*chunk)
	_, err = d.ReadAt(got, 1024)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Fatal("parts of the transfer are in each other's places")
	}
	// The same answer twice is one that was not asked for.
	first := d.lastID + 1
	mangle = func(rsp []byte) []byte {
		binary.LittleEndian.PutUint64(rsp, first)
		return rsp
	}
	if _, err := d.ReadAt(got, 0); !errors.Is(err, ErrBroken) {
		t.Fatalf("one answer, given for all: %v", err)
	}
}

// One bad sector fails the transfer, after the tries that it has, and when all
// that was in flight is answered: the disk is usable afterwards.
func TestErrorAmongOthers(t *testing.T) {
	for _, write := range []bool{false, true} {
		l := newLab(t, mib, xentest.DiskConfig{Latency: time.Millisecond})
		d := l.openDeep(4)
		const bad = 9 * chunk / SectorSize
		tries, later := 0, 0
		l.disk.Fault = func(_ string, sector int64, n int) error {
			switch {
			case sector == bad:
				tries++
				return errors.New("bad sector")
			case sector > bad+4*chunk/SectorSize:
				later++
			}
			return nil
		}
		p := pattern(20*chunk, 1)
		var err error
		if write {
			_, err = d.WriteAt(p, 0)
		} else {
			_, err = d.ReadAt(p, 0)
		}
		if !errors.Is(err, ErrIO) || tries != 3 {
			t.Errorf("write %v: %v after %d tries", write, err, tries)
		}
		if later > 8 {
			t.Errorf("write %v: %d requests after the failure", write, later)
		}
		l.disk.Fault = nil
		_, err = d.WriteAt(p, 0)
		must(t, err)
		got := make([]byte, len(p))
		_, err = d.ReadAt(got, 0)
		must(t, err)
		if !bytes.Equal(got, p) {
			t.Error("the disk differs afterwards")
		}
		must(t, d.Flush())
	}
}

// A backend that goes away while several requests are in flight.
func TestGoneAmongOthers(t *testing.T) {
	l := newLab(t, mib, xentest.DiskConfig{Latency: time.Second})
	cfg := l.config()
	cfg.Depth = 8
	gone := false
	cfg.Idle = func() {
		if gone {
			gone = false
			l.h.Set(l.dev.BackPath()+"/state", "6")
		}
	}
	d, err := Open(cfg)
	must(t, err)
	gone = true
	if _, err := d.WriteAt(make([]byte, 8*chunk), 0); !errors.Is(err, ErrDisconnected) {
		t.Fatalf("got %v", err)
	}
	must(t, d.Close())
	drivertest.Leaks(t, l.h, l.d)
}

// FuzzResponses answers several requests in flight with arbitrary responses. The
// transfer ends, and succeeds only if each request was answered once, with success.
func FuzzResponses(f *testing.F) {
	const depth = 4
	answer := func(ids ...byte) (b []byte) {
		for _, id := range ids {
			b = append(b, id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		}
		return b
	}
	f.Add(answer(1, 2, 3, 4))
	f.Add(answer(4, 3, 2, 1))
	f.Add(answer(1, 1, 2, 3))
	f.Add(answer(2, 9))
	failed := answer(1, 2, 3, 4, 5)
	failed[10] = 0xFF
	f.Add(failed)
	f.Fuzz(func(t *testing.T, script []byte) {
		seen := map[uint64]bool{}
		l := newLab(t, mib, xentest.DiskConfig{Latency: time.Millisecond, Mangle: func(rsp []byte) []byte {
			if len(script) < len(rsp) {
				return nil
			}
			n := copy(rsp, script)
			script = script[n:]
			if binary.LittleEndian.Uint16(rsp[10:]) == 0 {
				seen[binary.LittleEndian.Uint64(rsp)] = true
			}
			return rsp
		}})
		cfg := l.config()
		cfg.Logf, cfg.RequestWait, cfg.Depth = nil, time.Second, depth
		d, err := Open(cfg)
		must(t, err)
		n, err := d.ReadAt(make([]byte, depth*chunk), 0)
		if err == nil && (n != depth*chunk || len(seen) < depth) {
			t.Fatalf("%d bytes with %d good answers", n, len(seen))
		}
		must(t, d.Close())
		drivertest.Leaks(t, l.h, l.d)
	})
}

// Several places are read in as few rounds as Depth allows, each into its own buffer.
func TestReadMany(t *testing.T) {
	const latency, places = 100 * time.Millisecond, 16
	l := newLab(t, mib, xentest.DiskConfig{Latency: latency})
	d := l.openDeep(8)
	content := pattern(mib, 9)
	_, err := d.WriteAt(content, 0)
	must(t, err)
	var bufs [][]byte
	var offs []int64
	for i := range places {
		bufs, offs = append(bufs, make([]byte, 4096)), append(offs, int64(places-1-i)*40960+512)
	}
	bufs[3] = nil                     // nothing to read there
	bufs[5] = make([]byte, chunk+512) // two requests
	start := l.h.Now()
	must(t, d.ReadMany(bufs, offs))
	if took := time.Duration(l.h.Now() - start); took < 2*latency || took > 2*latency+latency/2 {
		t.Errorf("16 requests, 8 at a time, took %v", took)
	}
	for i, b := range bufs {
		if !bytes.Equal(b, content[offs[i]:offs[i]+int64(len(b))]) {
			t.Errorf("buffer %d has something else", i)
		}
	}
	must(t, d.ReadMany(nil, nil))
	for what, err := range map[string]error{
		"a buffer too few":    d.ReadMany(bufs[1:], offs),
		"outside the disk":    d.ReadMany(bufs[:2], []int64{0, mib}),
		"part of a sector":    d.ReadMany([][]byte{make([]byte, 512), make([]byte, 100)}, []int64{0, 512}),
		"not at a sector":     d.ReadMany(bufs[:2], []int64{0, 100}),
		"before the disk":     d.ReadMany(bufs[:1], []int64{-512}),
		"over the disk's end": d.ReadMany(bufs[:1], []int64{mib - 512}),
	} {
		if !errors.Is(err, ErrRange) {
			t.Errorf("%s: %v", what, err)
		}
	}
	l.disk.Fault = func(_ string, sector int64, n int) error {
		if sector == offs[4]/SectorSize {
			return errors.New("bad sector")
		}
		return nil
	}
	if err := d.ReadMany(bufs, offs); !errors.Is(err, ErrIO) {
		t.Errorf("a bad sector: %v", err)
	}
	l.disk.Fault = nil
	must(t, d.ReadMany(bufs, offs))
	must(t, d.Close())
	drivertest.Leaks(t, l.h, l.d)
}
