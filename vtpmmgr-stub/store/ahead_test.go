package store

import (
	"errors"
	"maps"
	mrand "math/rand/v2"
	"testing"
)

// manyDisk is a memDisk that reads from several places at once.
type manyDisk struct {
	memDisk
	rounds int // calls of ReadMany
	most   int // places of one
	fail   error
}

func (d *manyDisk) ReadMany(bufs [][]byte, offs []int64) error {
	d.rounds, d.most = d.rounds+1, max(d.most, len(bufs))
	for i := range bufs {
		copy(bufs[i], d.b[offs[i]:])
	}
	return d.fail
}

// populated makes a store whose tree has three levels, on a disk of 16 MB.
func populated(t *testing.T) []byte {
	t.Helper()
	d := &memDisk{b: make([]byte, 16<<20)}
	s := mustFormat(t, d)
	r := mrand.New(mrand.NewPCG(3, 4))
	for i := range 12_000 {
		if err := s.Put(randKey(r, 1<<40), make([]byte, 140)); err != nil {
			t.Fatal(err)
		}
		if i%500 == 499 {
			if err := s.Commit(1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s.root.level < 2 {
		t.Fatalf("the root has level %d", s.root.level)
	}
	return d.b
}

// seen is all that a user sees of a store.
func seen(t *testing.T, s *Store) (found map[Key]string, bad []string) {
	t.Helper()
	found = map[Key]string{}
	if err := s.Scan(Key{}, func(k Key, v []byte) bool {
		found[k] = string(v)
		return true
	}, func(_ Key, err error) { bad = append(bad, err.Error()) }); err != nil {
		t.Fatal(err)
	}
	return found, bad
}

// Reading ahead changes how often the disk is asked, and nothing else: neither on a good disk, nor on one with
// damaged nodes, nor where reading ahead fails.
func TestReadAhead(t *testing.T) {
	image := populated(t)
	whole, err := reopen(&memDisk{b: image})
	if err != nil {
		t.Fatal(err)
	}
	inner := whole.root.refs[1].sector
	kid, err := whole.kid(whole.root, 0)
	if err != nil {
		t.Fatal(err)
	}
	leaf := kid.refs[2].sector
	for _, c := range []struct {
		what   string
		damage []uint32
		fail   error
	}{
		{"a good disk", nil, nil},
		{"a damaged leaf", []uint32{leaf}, nil},
		{"a damaged inner node", []uint32{inner}, nil},
		{"both", []uint32{leaf, inner}, nil},
		{"reading ahead fails", nil, errors.New("one of the places is bad")},
	} {
		plain, many := &memDisk{b: append([]byte(nil), image...)}, &manyDisk{fail: c.fail}
		for _, sector := range c.damage {
			plain.b[int(sector)*SectorSize+100] ^= 1
		}
		many.b = plain.b
		want, err1 := reopen(plain)
		got, err2 := reopen(many)
		if err1 != nil || err2 != nil {
			t.Fatalf("%s: %v, %v", c.what, err1, err2)
		}
		wantFree, _ := want.Space()
		if free, _ := got.Space(); free != wantFree || got.ReadOnly() != want.ReadOnly() {
			t.Errorf("%s: %d sectors free, read-only %v; want %d, %v", c.what, free, got.ReadOnly(), wantFree, want.ReadOnly())
		}
		opened := plain.reads
		wantAll, wantBad := seen(t, want)
		all, bad := seen(t, got)
		if !maps.Equal(all, wantAll) || len(bad) != len(wantBad) || (len(bad) > 0) != (len(c.damage) > 0) {
			t.Errorf("%s: %d entries, damaged %q; want %d, %q", c.what, len(all), bad, len(wantAll), wantBad)
		}
		for i := range bad {
			if bad[i] != wantBad[i] {
				t.Errorf("%s: %s, want %s", c.what, bad[i], wantBad[i])
			}
		}
		if many.most != ahead {
			t.Errorf("%s: up to %d places at a time, want %d", c.what, many.most, ahead)
		}
		if c.fail == nil && (many.reads+many.rounds)*4 > plain.reads {
			t.Errorf("%s: the disk was asked %d+%d times, without reading ahead %d times (%d of them to open)", c.what, many.reads, many.rounds, plain.reads, opened)
		}
	}
}
