package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	mrand "math/rand/v2"
	"runtime"
	"testing"
	"time"
)

func randKey(r *mrand.Rand, space uint64) Key {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], r.Uint64N(space)*0x9E3779B97F4A7C15)
	return MakeKey('v', id)
}

func randVal(r *mrand.Rand) []byte {
	n := 1 + r.IntN(150)
	if r.IntN(20) == 0 {
		n = 1 + r.IntN(MaxValue)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// step makes one random change to the store and to the model.
func step(t *testing.T, r *mrand.Rand, s *Store, model map[Key]string, space uint64) {
	t.Helper()
	k := randKey(r, space)
	if r.IntN(3) == 0 {
		if err := s.Delete(k); err != nil {
			t.Fatal(err)
		}
		delete(model, k)
		return
	}
	v := randVal(r)
	if err := s.Put(k, v); err != nil {
		t.Fatal(err)
	}
	model[k] = string(v)
}

func TestModel(t *testing.T) {
	d := newSimDisk(8 << 20)
	s := mustFormat(t, d)
	r := mrand.New(mrand.NewPCG(1, 2))
	committed, model := map[Key]string{}, map[Key]string{}
	for i := range 6000 {
		space := uint64(2000)
		if i > 4000 {
			space = 200 // shrink: most deletes hit, most keys go
		}
		step(t, r, s, model, space)
		switch r.IntN(40) {
		case 0, 1, 2:
			if err := s.Commit(uint64(i)); err != nil {
				t.Fatal(err)
			}
			committed = maps.Clone(model)
		case 3:
			if err := s.Discard(); err != nil {
				t.Fatal(err)
			}
			model = maps.Clone(committed)
		case 4:
			var err error
			if s, err = reopen(d); err != nil {
				t.Fatal(err)
			}
			model = maps.Clone(committed)
		}
		if i%500 == 0 || i == 5999 {
			if got := contents(t, s); !maps.Equal(got, model) || s.Count() != uint64(len(model)) {
				t.Fatalf("step %d: %d entries, Count %d, want %d", i, len(got), s.Count(), len(model))
			}
		}
	}
	for k := range model {
		if err := s.Delete(k); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(1); err != nil {
		t.Fatal(err)
	}
	free, total := s.Space()
	if s.root.level != 0 || free != total-1 {
		t.Fatalf("emptied store: root level %d, %d of %d sectors free; sectors leaked", s.root.level, free, total)
	}
}

// Every sector that the bitmap holds must be reachable, and the reverse: compare
// the running bitmap with the one that Open rebuilds.
func TestSpaceAccounting(t *testing.T) {
	d := newSimDisk(4 << 20)
	s := mustFormat(t, d)
	r := mrand.New(mrand.NewPCG(3, 4))
	model := map[Key]string{}
	for i := range 300 {
		for range 10 {
			step(t, r, s, model, 1500)
		}
		if i%7 == 0 {
			if err := s.Discard(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := s.Commit(1); err != nil {
			t.Fatal(err)
		}
		again, err := reopen(d)
		if err != nil {
			t.Fatal(err)
		}
		if a, _ := s.Space(); a != s.sb.sectors-firstNode-again.used.count {
			t.Fatalf("commit %d: %d free while running, %d after reopening", i, a, s.sb.sectors-firstNode-again.used.count)
		}
	}
}

func TestFull(t *testing.T) {
	d := newSimDisk(MinSize)
	s := mustFormat(t, d)
	r := mrand.New(mrand.NewPCG(5, 6))
	var keys []Key
	for {
		k := randKey(r, 1<<40)
		err := s.Put(k, make([]byte, 100))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		if err := s.Commit(1); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys) < 2000 {
		t.Fatalf("full after %d entries on 1 MiB", len(keys))
	}
	for i, k := range keys { // a full store still changes and deletes
		if err := s.Put(k, bytes.Repeat([]byte{byte(i)}, 100)); err != nil {
			t.Fatalf("update %d of a full store: %v", i, err)
		}
		if err := s.Commit(2); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(contents(t, s)); got != len(keys) {
		t.Fatalf("%d entries, want %d", got, len(keys))
	}
	for _, k := range keys[:len(keys)/2] {
		if err := s.Delete(k); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(3); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(randKey(r, 1<<40), make([]byte, 100)); err != nil {
		t.Fatalf("insert after deletes: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	if _, err := Probe(newSimDisk(MinSize - SectorSize)); !errors.Is(err, ErrTooSmall) {
		t.Errorf("small disk: %v", err)
	}
	d := newSimDisk(MinSize)
	if _, err := Probe(d); !errors.Is(err, ErrBlank) {
		t.Errorf("blank disk: %v", err)
	}
	d.live[MinSize-1] = 1
	if _, err := Probe(d); !errors.Is(err, ErrForeign) {
		t.Errorf("one foreign byte at the end: %v", err)
	}
	if err := Begin(d, nil, testID); !errors.Is(err, ErrForeign) {
		t.Errorf("Begin on a foreign disk: %v", err)
	}
	d.live[MinSize-1] = 0
	s := mustFormat(t, d)
	if err := Begin(d, nil, testID); !errors.Is(err, ErrForeign) {
		t.Errorf("Begin on a store: %v", err)
	}
	if p, err := Probe(d); err != nil || !errors.Is(Begin(d, p, testID), ErrForeign) {
		t.Errorf("Begin on a store that was probed: %v", err)
	}
	if _, err := Format(d, testID, nil, 1, testConfig()); !errors.Is(err, ErrForeign) {
		t.Errorf("Format on a store: %v", err)
	}
	p, _ := Probe(d)
	c := testConfig()
	c.Key = bytes.Repeat([]byte{1}, 32)
	if _, err := Open(d, p, c); !errors.Is(err, ErrNoSuper) {
		t.Errorf("wrong key: %v", err)
	}
	if _, err := reopen(diskOf(append(bytes.Clone(d.live), make([]byte, MinSize)...))); err != nil {
		t.Errorf("grown disk: %v", err)
	}
	big := newSimDisk(2 * MinSize)
	mustFormat(t, big)
	if _, err := reopen(diskOf(big.live[:MinSize])); !errors.Is(err, ErrShrunk) {
		t.Errorf("shrunk disk: %v", err)
	}
	newer := diskOf(d.live)
	newer.live[11], newer.live[sectorKeyB*SectorSize+11] = 2, 2
	if _, err := Probe(newer); !errors.Is(err, ErrNewer) {
		t.Errorf("newer version: %v", err)
	}
	if err := s.Put(Key{1}, make([]byte, MaxValue+1)); !errors.Is(err, ErrTooBig) {
		t.Errorf("long value: %v", err)
	}
	if err := s.Put(Key{1}, make([]byte, MaxValue)); err != nil {
		t.Errorf("longest value: %v", err)
	}
}

func TestDiskErrorsBreakTheStore(t *testing.T) {
	for name, set := range map[string]func(*simDisk){
		"read-only": func(d *simDisk) { d.failWrite = errors.New("read-only") },
		"flush":     func(d *simDisk) { d.failFlush = errors.New("lost cache") },
	} {
		d := newSimDisk(MinSize)
		s := mustFormat(t, d)
		if err := s.Put(Key{1}, []byte("a")); err != nil {
			t.Fatal(err)
		}
		set(d)
		if err := s.Commit(2); !errors.Is(err, ErrIO) {
			t.Errorf("%s: commit: %v", name, err)
		}
		if err := s.Commit(2); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: second commit: %v", name, err)
		}
		if _, err := s.Get(Key{1}); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: get: %v", name, err)
		}
	}
}

func TestKeyAreaUpdate(t *testing.T) {
	d := newSimDisk(MinSize)
	s := mustFormat(t, d)
	for i := range 5 {
		payload := bytes.Repeat([]byte{byte(i)}, i*6000)
		if err := s.SetKeyArea(payload); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(1); err != nil {
			t.Fatal(err)
		}
		var err error
		if s, err = reopen(d); err != nil || !bytes.Equal(s.KeyArea(), payload) || len(s.stale) != 0 {
			t.Fatalf("round %d: %v, %d bytes, stale %v", i, err, len(s.KeyArea()), s.stale)
		}
	}
	if err := s.SetKeyArea(make([]byte, MaxKeyArea+1)); !errors.Is(err, ErrTooBig) {
		t.Errorf("long key area: %v", err)
	}
	// An older key area put back, both copies: refused by name.
	old := bytes.Clone(d.live[:2*keyAreaBytes])
	if err := s.SetKeyArea([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(1); err != nil {
		t.Fatal(err)
	}
	copy(d.live, old)
	if _, err := reopen(d); !errors.Is(err, ErrKeyArea) {
		t.Errorf("older key area: %v", err)
	}
}

// TestLarge is the size: 100,000 vTPMs on 64 MiB.
func TestLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 entries")
	}
	d := &memDisk{b: make([]byte, 64<<20)}
	s := mustFormat(t, d)
	r := mrand.New(mrand.NewPCG(7, 8))
	val := make([]byte, 136)
	keys := make([]Key, 0, 100_000)
	for len(keys) < cap(keys) {
		var k Key
		k[0] = 'v'
		for i := 1; i < len(k); i++ {
			k[i] = byte(r.Uint32())
		}
		if err := s.Put(k, val); err != nil {
			t.Fatalf("after %d: %v", len(keys), err)
		}
		keys = append(keys, k)
		if s.Dirty() > 512 {
			if err := s.Commit(1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Commit(1); err != nil {
		t.Fatal(err)
	}
	free, total := s.Space()
	t.Logf("100,000 entries: root level %d, %d of %d sectors free", s.root.level, free, total)

	d.reads = 0
	start := time.Now()
	s, err := reopen(d)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	t.Logf("open: %v, %d reads", took, d.reads)
	if d.reads > 200 { // of some 2,700 sectors; the time is the benchmark's
		t.Errorf("open read %d times: it must not load everything", d.reads)
	}
	const saves = 2000
	written := 0
	for i := range saves {
		d.writes = 0
		if err := s.Put(keys[r.IntN(len(keys))], val); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(uint64(i)); err != nil {
			t.Fatal(err)
		}
		written = max(written, d.writes)
	}
	// Path of the tree and two copies of the superblock.
	if want := int(s.root.level) + 1 + 2; written != want {
		t.Errorf("a save wrote up to %d sectors, want %d", written, want)
	}
	if got := len(contents(t, s)); got != len(keys) {
		t.Fatalf("%d entries", got)
	}
	var with, without runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&with)
	runtime.KeepAlive(s)
	s = nil
	runtime.GC()
	runtime.ReadMemStats(&without)
	runtime.KeepAlive(d)
	held := int64(with.HeapAlloc) - int64(without.HeapAlloc)
	t.Logf("a save writes at most %d sectors; the open store holds %d KiB", written, held>>10)
	if held < 64<<10 || held > 4<<20 {
		t.Errorf("the open store holds %d bytes", held)
	}
}

// memDisk is a plain disk in memory that counts.
type memDisk struct {
	b             []byte
	reads, writes int
}

func (d *memDisk) Size() int64 { return int64(len(d.b)) }
func (d *memDisk) ReadAt(p []byte, off int64) (int, error) {
	d.reads++
	return copy(p, d.b[off:]), nil
}
func (d *memDisk) WriteAt(p []byte, off int64) (int, error) {
	d.writes += len(p) / SectorSize
	return copy(d.b[off:], p), nil
}
func (d *memDisk) Flush() error { return nil }
