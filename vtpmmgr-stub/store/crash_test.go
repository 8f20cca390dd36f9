package store

import (
	"bytes"
	"errors"
	"maps"
	mrand "math/rand/v2"
	"strings"
	"testing"
)

// TestCrash cuts the power after every single write and every flush of a long
// random run, with the unflushed writes torn and reordered, and demands the
// last acknowledged state or, inside a commit, that commit's whole state.
func TestCrash(t *testing.T) {
	ops := 10_000
	if testing.Short() {
		ops = 1_000
	}
	r := mrand.New(mrand.NewPCG(11, 12))
	d := newSimDisk(MinSize)
	s := mustFormat(t, d)
	acked, model := map[Key]string{}, map[Key]string{}
	ackedKey, modelKey := []byte("sealed"), []byte("sealed")
	cuts, second, committing := 0, 0, false
	d.event = func() {
		cuts++
		after, err := reopen(d.afterCut(r))
		if err != nil {
			t.Fatalf("cut %d: %v", cuts, err)
		}
		got := contents(t, after)
		old := maps.Equal(got, acked) && bytes.Equal(after.KeyArea(), ackedKey)
		new := maps.Equal(got, model) && bytes.Equal(after.KeyArea(), modelKey)
		if !old && !(committing && new) {
			t.Fatalf("cut %d: %d entries, neither the acknowledged %d nor the committing %d", cuts, len(got), len(acked), len(model))
		}
		if cuts%32 == 0 { // a second cut, while the first is being repaired
			img := after.disk.(*cutDisk).flat()
			again, err := reopen(img)
			if err != nil {
				t.Fatal(err)
			}
			img.event = func() {
				second++
				s, err := reopen(img.afterCut(r))
				if err != nil {
					t.Fatalf("cut %d, cut again while repairing: %v", cuts, err)
				}
				if s.Generation() != again.Generation() {
					t.Fatalf("cut %d, cut again while repairing: generation %d, want %d", cuts, s.Generation(), again.Generation())
				}
			}
			if err := again.Repair(); err != nil {
				t.Fatal(err)
			}
		}
		if cuts%8 == 0 { // and the repaired store goes on
			if err := after.Repair(); err != nil {
				t.Fatal(err)
			}
			if err := after.Put(Key{1}, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if err := after.Commit(9); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range ops {
		step(t, r, s, model, 150)
		if r.IntN(100) == 0 {
			modelKey = randVal(r)
			if err := s.SetKeyArea(modelKey); err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(5) > 0 {
			continue
		}
		committing = true
		if err := s.Commit(uint64(i)); err != nil {
			t.Fatal(err)
		}
		committing, acked, ackedKey = false, maps.Clone(model), modelKey
	}
	t.Logf("%d cuts in %d operations, %d more while repairing", cuts, ops, second)
	if cuts < ops/5 || second == 0 {
		t.Errorf("only %d cuts: the test no longer tests", cuts)
	}
}

// TestCrashFormat cuts the power during the making of a store: Begin and Format
// can always be done again, or the store is there.
func TestCrashFormat(t *testing.T) {
	r := mrand.New(mrand.NewPCG(13, 14))
	made, again := 0, 0
	for range 40 {
		d := newSimDisk(MinSize)
		begun := false
		d.event = func() {
			cut := d.afterCut(r)
			s, err := reopen(cut)
			p, perr := Probe(cut)
			switch {
			case err == nil:
				made++
				if len(contents(t, s)) != 0 || !bytes.Equal(s.KeyArea(), []byte("sealed")) {
					t.Fatal("half a store")
				}
				if err := s.Repair(); err != nil {
					t.Fatal(err)
				}
			case errors.Is(perr, ErrBlank) && !begun, perr == nil && p.Birth:
				again++
				mustFormat(t, cut)
			default:
				t.Fatalf("open: %v, probe: %v %+v", err, perr, p)
			}
		}
		if err := Begin(d, nil, testID); err != nil {
			t.Fatal(err)
		}
		begun = true
		if _, err := Format(d, testID, []byte("sealed"), 1, testConfig()); err != nil {
			t.Fatal(err)
		}
	}
	if made == 0 || again == 0 {
		t.Errorf("%d made, %d made again: one branch was never taken", made, again)
	}
}

// TestBitFlips spoils one bit in every sector of a populated store. Each flip
// must be found: an error with a name, or good data from the other copy.
func TestBitFlips(t *testing.T) {
	r := mrand.New(mrand.NewPCG(15, 16))
	d := newSimDisk(MinSize)
	s := mustFormat(t, d)
	model := map[Key]string{}
	for i := range 1200 {
		step(t, r, s, model, 1000)
		if i%50 == 49 {
			if err := s.Commit(uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	gen := s.Generation()
	used := s.used
	var served, older, refused, partial, unused int
	for sector := range s.sb.sectors {
		bit := r.IntN(SectorSize * 8)
		if sector == 0 || sector == sectorKeyB {
			bit = r.IntN((keyHeader + len("sealed")) * 8) // the rest of the area is padding
		}
		img := diskOf(d.live)
		img.live[int(sector)*SectorSize+bit/8] ^= 1 << (bit % 8)
		s2, err := reopen(img)
		switch {
		case err != nil:
			refused++
			if sector < firstNode || !errors.Is(err, ErrDamaged) {
				t.Fatalf("sector %d: %v", sector, err)
			}
		case s2.Generation() != gen:
			older++
			t.Fatalf("sector %d: one flipped bit gives generation %d", sector, s2.Generation())
		case sector < firstNode:
			served++
			if got := contents(t, s2); !maps.Equal(got, model) {
				t.Fatalf("sector %d: wrong content", sector)
			}
			if isPad := sector%keyAreaSectors != 0 && sector < sectorSuper; !isPad && len(s2.Damaged()) == 0 {
				t.Fatalf("sector %d: damage not noticed", sector)
			}
			if err := s2.Repair(); err != nil {
				t.Fatal(err)
			}
			s3, err := reopen(img)
			if err != nil {
				t.Fatalf("sector %d: after repair: %v", sector, err)
			}
			for _, what := range s3.Damaged() { // the older superblock is the next commit's business
				if !strings.Contains(what, "older") {
					t.Fatalf("sector %d: after repair: %s", sector, what)
				}
			}
		case !used.has(sector):
			unused++
			if got := contents(t, s2); !maps.Equal(got, model) {
				t.Fatalf("free sector %d: wrong content", sector)
			}
		default:
			partial++
			checkPartial(t, sector, s2, model)
		}
	}
	t.Logf("%d served from the other copy, %d refused at open, %d partly readable, %d in free sectors", served, refused, partial, unused)
	if served == 0 || refused == 0 || partial == 0 || unused == 0 {
		t.Error("one branch was never taken")
	}
}

// checkPartial: what is read is right, and what is missing was reported.
func checkPartial(t *testing.T, sector uint32, s *Store, model map[Key]string) {
	t.Helper()
	missing := 0
	for k, v := range model {
		got, err := s.Get(k)
		switch {
		case errors.Is(err, ErrDamaged):
			missing++
			if err := s.Put(k, []byte("over")); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrReadOnly) {
				t.Fatalf("sector %d: put into the damaged leaf: %v", sector, err)
			}
		case err != nil || string(got) != v:
			t.Fatalf("sector %d: %x: %q %v", sector, k, got, err)
		}
	}
	bad := 0
	_ = s.Scan(Key{}, func(Key, []byte) bool { return true }, func(Key, error) { bad++ })
	if missing == 0 || bad != 1 {
		t.Fatalf("sector %d: %d entries refused, %d damaged places reported", sector, missing, bad)
	}
}
