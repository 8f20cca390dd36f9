package state

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

const testDisk = 64 << 10

func blobOf(i int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("state %d ", i)), 100+37*i)
}

func mustOpen(t testing.TB, d *simDisk, k *simKeys) *Store {
	t.Helper()
	s, err := Open(Config{Disk: d, Keys: k})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// saved gives a disk and manager after n saves.
func saved(t testing.TB, n int) (*simDisk, *simKeys) {
	t.Helper()
	d, k := newSim(testDisk), &simKeys{}
	s := mustOpen(t, d, k)
	if !s.IsNew() || s.Blob() != nil {
		t.Fatal("a blank disk is not new")
	}
	for i := range n {
		if err := s.Save(blobOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	return d, k
}

func TestSaveAndOpen(t *testing.T) {
	d, k := saved(t, 1)
	for i := 1; i < 10; i++ {
		s := mustOpen(t, d, k)
		if got := s.Blob(); !bytes.Equal(got, blobOf(i-1)) || s.Blob() != nil || s.IsNew() {
			t.Fatalf("save %d: %.20q", i-1, got)
		}
		if err := s.Save(blobOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.record) != RecordSize {
		t.Fatal("record of", len(k.record))
	}
}

func TestSlotsAlternateAndKeysDiffer(t *testing.T) {
	d, k := saved(t, 1)
	s := mustOpen(t, d, k)
	seen := map[string]bool{}
	for range 8 {
		before := append([]byte(nil), d.data...)
		old := s.current
		if err := s.Save([]byte("same")); err != nil {
			t.Fatal(err)
		}
		if s.current == old {
			t.Fatal("the current slot was overwritten")
		}
		lo := int64(old) * s.second
		if !bytes.Equal(before[lo:lo+s.second], d.data[lo:lo+s.second]) {
			t.Fatal("the old slot was touched")
		}
		if seen[string(k.record[hashSize:])] || bytes.Contains(d.data, k.record[hashSize:]) {
			t.Fatal("a key was used twice or lies on the disk")
		}
		seen[string(k.record[hashSize:])] = true
		if bytes.Contains(d.data, []byte("same")) {
			t.Fatal("plain text on the disk")
		}
	}
}

// A power cut before or after each step of each save, with any part of the
// unflushed sectors kept: the next start finds the old or the new state, and
// the new one whenever Save had returned.
func TestCrashAtEachStep(t *testing.T) {
	points := 0
	for first := range 3 { // number of saves before the one that is cut
		for cut := 0; ; cut++ {
			finished := false
			for seed := range int64(40) {
				finished = crashOnce(t, first, cut, seed)
				points++
			}
			if finished {
				break
			}
		}
	}
	// The first save has 10 steps, a later one 4, and one run is not cut.
	if want := (11 + 5 + 5) * 40; points != want {
		t.Fatalf("%d crashes, expected %d", points, want)
	}
}

func crashOnce(t *testing.T, first, cut int, seed int64) (finished bool) {
	t.Helper()
	d, k := saved(t, first)
	s := mustOpen(t, d, k)
	n := 0
	step := func(string) error {
		if n++; n > cut {
			return errCrash
		}
		return nil
	}
	d.step, k.step = step, step
	err := s.Save(blobOf(first))
	if err == nil {
		finished = n <= cut
	}
	next := d.crash(seed)
	again, openErr := Open(Config{Disk: next, Keys: &simKeys{record: k.record}})
	if openErr != nil {
		t.Fatalf("save %d cut at step %d, seed %d: %v", first, cut, seed, openErr)
	}
	got := again.Blob()
	isNew := bytes.Equal(got, blobOf(first))
	isOld := first > 0 && bytes.Equal(got, blobOf(first-1)) || first == 0 && again.IsNew()
	if !isNew && !isOld || err == nil && !isNew {
		t.Fatalf("save %d cut at step %d, seed %d: state %.20q, Save said %v", first, cut, seed, got, err)
	}
	// Whatever it found, it can go on.
	if err := again.Save([]byte("next")); err != nil {
		t.Fatal(err)
	}
	return finished
}

// I/O errors instead of power cuts: Save reports them, the old or new state is
// found, and the same store goes on when the disk works again.
func TestErrorAtEachStep(t *testing.T) {
	for first := range 3 {
		for bad := 0; ; bad++ {
			d, k := saved(t, first)
			s := mustOpen(t, d, k)
			n := 0
			step := func(string) error {
				if n++; n == bad+1 {
					return errIO
				}
				return nil
			}
			d.step, k.step = step, step
			err := s.Save(blobOf(first))
			d.step, k.step = nil, nil
			if err == nil {
				if n > bad {
					t.Fatalf("save %d: error at step %d was swallowed", first, bad)
				}
				break
			}
			if err := s.Save([]byte("next")); err != nil {
				t.Fatalf("save %d after an error at step %d: %v", first, bad, err)
			}
			if got := mustOpen(t, d.crash(int64(bad)), k).Blob(); string(got) != "next" {
				t.Fatalf("save %d after an error at step %d: %.20q", first, bad, got)
			}
		}
	}
}

// After a SAVE of unknown outcome neither slot is written until the manager
// has answered.
func TestUncertainRecord(t *testing.T) {
	for _, outcome := range []string{"lost", "stored"} {
		d, k := saved(t, 2)
		s := mustOpen(t, d, k)
		k.fail = outcome
		if err := s.Save(blobOf(2)); !errors.Is(err, ErrUncertain) {
			t.Fatal(outcome, err)
		}
		k.load = errIO
		before := append([]byte(nil), d.data...)
		for range 3 {
			if err := s.Save(blobOf(3)); !errors.Is(err, ErrUncertain) {
				t.Fatal(outcome, err)
			}
			if err := s.Settle(); !errors.Is(err, ErrUncertain) {
				t.Fatal(outcome, err)
			}
		}
		if !bytes.Equal(before, d.data) || len(d.pending) != 0 {
			t.Fatal(outcome, "a slot was written while the record was uncertain")
		}
		want := map[string][]byte{"lost": blobOf(1), "stored": blobOf(2)}[outcome]
		if got := mustOpen(t, d.crash(1), &simKeys{record: k.record}).Blob(); !bytes.Equal(got, want) {
			t.Fatalf("%s: %.20q", outcome, got)
		}
		k.fail, k.load = "", nil
		if err := s.Settle(); err != nil {
			t.Fatal(outcome, err)
		}
		if got := mustOpen(t, d.crash(1), k).Blob(); !bytes.Equal(got, blobOf(2)) {
			t.Fatalf("%s, settled: %.20q", outcome, got)
		}
		if err := s.Save(blobOf(3)); err != nil {
			t.Fatal(outcome, err)
		}
		if got := mustOpen(t, d, k).Blob(); !bytes.Equal(got, blobOf(3)) {
			t.Fatalf("%s: %.20q", outcome, got)
		}
	}
}

// Any changed bit of the current slot, or of the record, is refused; any change
// of the other slot is of no meaning.
func TestBitFlips(t *testing.T) {
	d, k := saved(t, 3)
	s := mustOpen(t, d, k)
	lo := int64(s.current) * s.second
	used := int64(imageSize(uint64(len(s.Blob()))))
	for off := int64(0); off < used; off += 1 + off/64 {
		for _, bit := range []byte{1, 0x80} {
			bad := d.crash(0)
			bad.data[lo+off] ^= bit
			_, err := Open(Config{Disk: bad, Keys: k})
			if !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrNewer) {
				t.Fatalf("flip at %d: %v", off, err)
			}
		}
	}
	for i := range k.record {
		r := append([]byte(nil), k.record...)
		r[i] ^= 1
		if _, err := Open(Config{Disk: d, Keys: &simKeys{record: r}}); !errors.Is(err, ErrMismatch) {
			t.Fatalf("flip in the record at %d: %v", i, err)
		}
	}
	other := d.crash(0)
	for i := range s.second {
		other.data[int64(1-s.current)*s.second+i] = 0xa5
	}
	if got := mustOpen(t, other, k).Blob(); !bytes.Equal(got, blobOf(2)) {
		t.Fatal("the other slot matters")
	}
}

func TestRefusals(t *testing.T) {
	old, _ := saved(t, 3)
	old = old.crash(0)
	d, k := saved(t, 3)
	s := mustOpen(t, d, k)
	for range 2 { // both slots get newer
		if err := s.Save([]byte("newer")); err != nil {
			t.Fatal(err)
		}
	}
	image := d.crash(0)
	unreadable := d.crash(0)
	unreadable.bad = map[int64]bool{int64(s.current) * s.second / SectorSize: true}
	otherUnreadable := d.crash(0)
	otherUnreadable.bad = map[int64]bool{int64(1-s.current) * s.second / SectorSize: true}
	newer := d.crash(0)
	newer.data[int64(s.current)*s.second+9] = version + 1
	tail := newSim(testDisk)
	tail.data[testDisk-1] = 1
	head := newSim(testDisk)
	head.data[0] = 1
	badTail := newSim(testDisk)
	badTail.bad = map[int64]bool{testDisk/SectorSize - 1: true}
	slow := errors.New("timeout")
	for _, c := range []struct {
		name string
		disk *simDisk
		keys *simKeys
		want error
	}{
		{"older disk image", old, k, ErrMismatch},
		{"blank disk with a record", newSim(testDisk), k, ErrMismatch},
		{"no record", image, &simKeys{}, ErrNotBlank},
		{"no record, data at the end", tail, &simKeys{}, ErrNotBlank},
		{"no record, data at the start", head, &simKeys{}, ErrNotBlank},
		{"no record, unreadable disk", badTail, &simKeys{}, errIO},
		{"manager does not answer", image, &simKeys{load: slow}, slow},
		{"manager does not answer, blank disk", newSim(testDisk), &simKeys{load: slow}, slow},
		{"short record", image, &simKeys{record: make([]byte, 52)}, ErrRecord},
		{"empty record", image, &simKeys{record: []byte{}}, ErrRecord},
		{"current slot unreadable", unreadable, k, ErrMismatch},
		{"other slot unreadable", otherUnreadable, k, nil},
		{"newer format", newer, k, ErrNewer},
		{"no disk", newSim(0), k, ErrDiskSize},
		{"tiny disk", newSim(4096), k, ErrDiskSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := append([]byte(nil), c.disk.data...)
			s, err := Open(Config{Disk: c.disk, Keys: c.keys})
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err != nil && s != nil {
				t.Error("a store was returned with an error")
			}
			if !bytes.Equal(before, c.disk.data) || c.keys.saves > k.saves {
				t.Error("a refusal wrote something")
			}
		})
	}
	if _, err := Open(Config{Disk: image, Keys: k, MinCapacity: 40000}); !errors.Is(err, ErrDiskSize) {
		t.Error("capacity:", err)
	}
}

// The announcement of a first save counts as blank only alone: with a second
// copy, or with anything else on the disk, a TPM has been there.
func TestInterruptedFirstSave(t *testing.T) {
	d, k := saved(t, 0)
	s := mustOpen(t, d, k)
	n := 0
	k.step = func(op string) error {
		if n++; n == 1 {
			return errCrash
		}
		return nil
	}
	if err := s.Save(blobOf(0)); err == nil {
		t.Fatal("no crash")
	}
	if s := mustOpen(t, d, &simKeys{}); !s.IsNew() {
		t.Fatal("not new")
	}
	d.data[s.second] = 1
	if _, err := Open(Config{Disk: d, Keys: &simKeys{}}); !errors.Is(err, ErrNotBlank) {
		t.Fatal(err)
	}
	// Between the two copies: the record exists, Open completes the pair.
	d, k = saved(t, 0)
	s = mustOpen(t, d, k)
	n = 0
	d.step = func(string) error {
		if n++; n > 4 { // mark, flush, slot 0, flush
			return errCrash
		}
		return nil
	}
	if err := s.Save(blobOf(0)); err == nil {
		t.Fatal("no crash")
	}
	next := d.crash(0)
	if got := mustOpen(t, next, k).Blob(); !bytes.Equal(got, blobOf(0)) {
		t.Fatalf("%.20q", got)
	}
	if blank(next.data[s.second : s.second+SectorSize]) {
		t.Fatal("Open left a single copy")
	}
	if _, err := Open(Config{Disk: next, Keys: &simKeys{}}); !errors.Is(err, ErrNotBlank) {
		t.Fatal("a TPM that may have served was taken for blank:", err)
	}
}

func TestSizes(t *testing.T) {
	for _, size := range []int{8192, 8192 + 512, 12288, 1 << 20, 4<<20 + 4096} {
		d, k := newSim(size), &simKeys{}
		s := mustOpen(t, d, k)
		for _, n := range []int{0, 1, 431, 432, 433, s.Capacity() - 1, s.Capacity()} {
			if err := s.Save(make([]byte, n)); err != nil {
				t.Fatal(size, n, err)
			}
			if got := mustOpen(t, d, k).Blob(); len(got) != n {
				t.Fatalf("disk %d: saved %d, found %d", size, n, len(got))
			}
		}
		if err := s.Save(make([]byte, s.Capacity()+1)); !errors.Is(err, ErrTooLarge) {
			t.Fatal(size, err)
		}
		if got := mustOpen(t, d, k).Blob(); len(got) != s.Capacity() {
			t.Fatal("a refused save changed the state")
		}
	}
}

func TestNoRandomness(t *testing.T) {
	d, k := saved(t, 1)
	s := mustOpen(t, d, k)
	s.cfg.Rand = strings.NewReader("too short")
	before := append([]byte(nil), d.data...)
	if err := s.Save(blobOf(1)); err == nil {
		t.Fatal("saved without a key")
	}
	if !bytes.Equal(before, d.data) {
		t.Fatal("something was written")
	}
}

func FuzzOpen(f *testing.F) {
	d, k := saved(f, 3)
	f.Add(d.data[:SectorSize], d.data[testDisk/2:testDisk/2+2*SectorSize], k.record)
	old, oldKeys := saved1(f, testDisk, 2)
	f.Add(old.data[:SectorSize], old.data[testDisk/2:testDisk/2+2*SectorSize], oldKeys.record)
	f.Add(old.data[:SectorSize], append(make([]byte, 3*slotAlign), old.data[testDisk/2:testDisk/2+2*SectorSize]...), oldKeys.record)
	f.Add([]byte("xvtpmsta\x00\x01"), []byte{}, k.record)
	f.Add([]byte("xvtpmsta\x00\x01\x00\x01"), []byte{}, []byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 64), []byte("xvtpmsta\x00\x02"), make([]byte, 64))
	f.Fuzz(func(t *testing.T, slot0, slot1, record []byte) {
		d := newSim(testDisk)
		copy(d.data[:testDisk/2], slot0)
		copy(d.data[testDisk/2:], slot1)
		k := &simKeys{}
		if len(record) > 0 {
			k.record = record
		}
		s, err := Open(Config{Disk: d, Keys: k})
		if err != nil {
			return
		}
		if k.record != nil && s.IsNew() {
			t.Fatal("a new TPM in spite of a record")
		}
		if s.IsNew() && !blank(d.data[testDisk/2:]) {
			t.Fatal("a new TPM on a disk that is not blank")
		}
	})
}
