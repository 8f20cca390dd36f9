package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

// saved1 is a disk as version 1 left it after n saves: slot 1 at the half. Its
// record is that of the last save.
func saved1(t testing.TB, size, n int) (*simDisk, *simKeys) {
	t.Helper()
	d, k := newSim(size), &simKeys{}
	for i := range n {
		slot := i % 2
		key := bytes.Repeat([]byte{byte(i + 1)}, RecordSize-hashSize)
		h := header{generation: uint64(i + 1)}
		image := seal1(t, h, key, blobOf(i))
		copy(d.data[int64(slot)*halfOf(int64(size)):], image)
		k.record = append(hash(image), key...)
	}
	return d, k
}

// seal1 is seal as version 1 had it.
func seal1(t testing.TB, h header, key, blob []byte) []byte {
	t.Helper()
	h.length = uint64(len(blob))
	image := make([]byte, imageSize(h.length))
	h.put(image)
	binary.BigEndian.PutUint16(image[8:], 1)
	gcm, err := newGCM(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm.Seal(image[headerSize:headerSize], make([]byte, gcm.NonceSize()), blob, image[:headerSize])
	return image
}

func TestSeal1IsVersion1(t *testing.T) {
	image, record := golden(t, 1)
	if !bytes.Equal(seal1(t, header{generation: 7}, record[hashSize:], []byte("golden state")), image) {
		t.Fatal("the tests' version 1 is another format")
	}
}

// resized is a disk with another size and the same content.
func (d *simDisk) resized(size int) *simDisk {
	next := newSim(size)
	copy(next.data, d.data)
	return next
}

// A disk of either version may be enlarged after any number of saves, any number
// of times, by any amount, and goes on.
func TestEnlarged(t *testing.T) {
	makers := map[string]func(testing.TB, int) (*simDisk, *simKeys){
		"version 1":             func(t testing.TB, n int) (*simDisk, *simKeys) { return saved1(t, testDisk, n) },
		"version 2":             saved,
		"version 1, used since": func(t testing.TB, n int) (*simDisk, *simKeys) { return usedSince(t, n) },
	}
	for name, made := range makers {
		for n := 1; n <= 4; n++ {
			for _, first := range []int{testDisk, testDisk + 512, testDisk + 8192, 2 * testDisk, 3*testDisk + 4096, 4 << 20, 5<<20 + 512} {
				d, k := made(t, n)
				want := blobOf(n - 1)
				for i, size := range []int{first, first, first + 4096, 2 * first} {
					d = d.resized(size)
					s, err := Open(Config{Disk: d, Keys: k})
					if err != nil {
						t.Fatalf("%s, %d saves, enlarged to %d (%d): %v", name, n, size, i, err)
					}
					if got := s.Blob(); !bytes.Equal(got, want) {
						t.Fatalf("%s, %d saves, enlarged to %d (%d): %.20q", name, n, size, i, got)
					}
					want = fmt.Appendf(nil, "enlarged to %d, %d", size, i)
					if err := s.Save(want); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// usedSince is a disk of version 1 after n saves, of which all but the first two
// were made by this version.
func usedSince(t testing.TB, n int) (*simDisk, *simKeys) {
	d, k := saved1(t, testDisk, min(n, 2))
	for i := 2; i < n; i++ {
		if err := mustOpen(t, d, k).Save(blobOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	return d, k
}

// The place of slot 1 is found without slot 0, which may be damaged or
// unreadable, wherever the disk's size has it.
func TestEnlargedWithoutSlotZero(t *testing.T) {
	for name, made := range map[string]func() (*simDisk, *simKeys){
		"version 1": func() (*simDisk, *simKeys) { return saved1(t, testDisk, 2) },
		"version 2": func() (*simDisk, *simKeys) { d, k := saved(t, 3); return d, k },
	} {
		for _, size := range []int{testDisk, testDisk + 4096*7, 5 << 20} {
			d, k := made()
			damaged, unreadable := d.resized(size), d.resized(size)
			clear(damaged.data[:SectorSize])
			unreadable.bad = map[int64]bool{0: true, int64(size)/SectorSize - 1: true, 9: true}
			for _, disk := range []*simDisk{damaged, unreadable} {
				want := mustOpen(t, d, k)
				s, err := Open(Config{Disk: disk, Keys: k})
				if want.current != 1 || err != nil || !bytes.Equal(s.Blob(), want.Blob()) {
					t.Fatalf("%s, enlarged to %d, slot %d: %v", name, size, want.current, err)
				}
			}
		}
	}
}

// An enlarged disk has room for states that its old slots had none for, whichever
// slot was current; and a power cut at any step of the change loses nothing.
func TestEnlargedForLargerStates(t *testing.T) {
	large := make([]byte, 100<<10)
	for n := 1; n <= 2; n++ {
		for cut := 0; ; cut++ {
			d, k := saved1(t, testDisk, n)
			d = d.resized(4 << 20)
			cfg := Config{Disk: d, Keys: k, MinCapacity: len(large)}
			steps := 0
			step := func(string) error {
				if steps++; steps > cut {
					return errCrash
				}
				return nil
			}
			d.step, k.step = step, step
			s, err := Open(cfg)
			if err == nil {
				err = s.Save(large)
			}
			for seed := range int64(20) {
				next, nk := d.crash(seed), &simKeys{record: k.record}
				again, openErr := Open(Config{Disk: next, Keys: nk, MinCapacity: len(large)})
				if openErr != nil {
					t.Fatalf("%d saves, cut at %d, seed %d: %v", n, cut, seed, openErr)
				}
				got := again.Blob()
				if !bytes.Equal(got, large) && (err == nil || !bytes.Equal(got, blobOf(n-1))) {
					t.Fatalf("%d saves, cut at %d, seed %d: %.20q", n, cut, seed, got)
				}
				if err := again.Save(large); err != nil {
					t.Fatal(err)
				}
				if got := mustOpen(t, next, nk).Blob(); !bytes.Equal(got, large) {
					t.Fatal("the large state is not there")
				}
			}
			if err == nil {
				// Slot 1, or slot 0 before it, with four steps each.
				if want := 4 * n; steps != want {
					t.Fatalf("%d saves: %d steps, expected %d", n, steps, want)
				}
				break
			}
		}
	}
}

// A disk that was made smaller is refused in that name, also where the state
// happens to lie in what is left.
func TestShrunk(t *testing.T) {
	for _, c := range []struct {
		name string
		made func() (*simDisk, *simKeys)
		size int
		want error
	}{
		{"slot 0 current", func() (*simDisk, *simKeys) { d, k := saved(t, 2); return d, k }, testDisk / 2, ErrShrunk},
		{"slot 1 current, cut off", func() (*simDisk, *simKeys) { return saved(t, 3) }, testDisk / 2, ErrShrunk},
		{"slot 1 current, whole", func() (*simDisk, *simKeys) { return saved(t, 3) }, testDisk/2 + 8192, ErrShrunk},
		{"by one sector", func() (*simDisk, *simKeys) { return saved(t, 3) }, testDisk - SectorSize, ErrShrunk},
		{"version 1, slot 1 current, whole", func() (*simDisk, *simKeys) { return saved1(t, testDisk, 2) }, testDisk/2 + 8192, ErrShrunk},
		{"version 1, slot 0 current", func() (*simDisk, *simKeys) { return saved1(t, testDisk, 1) }, testDisk / 2, nil},
		{"version 1, slot 0 current, no room", func() (*simDisk, *simKeys) { return saved1(t, testDisk, 15) }, 2 * slotAlign, ErrShrunk},
		{"version 1, slot 1 cut off", func() (*simDisk, *simKeys) { return saved1(t, testDisk, 2) }, testDisk / 2, ErrMismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, k := c.made()
			d = d.resized(c.size)
			before := bytes.Clone(d.data)
			if _, err := Open(Config{Disk: d, Keys: k}); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if !bytes.Equal(before, d.data) {
				t.Error("a refusal wrote something")
			}
		})
	}
}

// Of an old place nothing but the state that the record names is taken: a slot
// that was left behind at another place is as dead as one that was overwritten.
func TestOlderSlotElsewhere(t *testing.T) {
	d, k := saved1(t, testDisk, 2) // slot 1 at the half
	d = d.resized(4 * testDisk)
	old := &simKeys{record: bytes.Clone(k.record)}
	for i := 2; i < 6; i++ {
		if err := mustOpen(t, d, k).Save(blobOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(Config{Disk: d, Keys: old}); !errors.Is(err, ErrMismatch) {
		t.Fatal(err)
	}
	clear(d.data[:testDisk/4])
	d.data[0] = 1
	if s := mustOpen(t, d, k); s.current != 1 || !bytes.Equal(s.Blob(), blobOf(5)) {
		t.Fatal("not the newest state")
	}
}

// An interrupted first save is no TPM, also after the disk was enlarged; with the
// second copy behind it, it is one.
func TestInterruptedFirstSaveEnlarged(t *testing.T) {
	initial := func(size, copies int) *simDisk { // of version 1
		d := newSim(size)
		image := seal1(t, header{flags: flagInitial, generation: 1}, make([]byte, 32), blobOf(1))
		copy(d.data, image)
		if copies == 0 { // only the mark, and a part of what was to follow
			clear(d.data[24:32])
		}
		if copies > 1 {
			copy(d.data[halfOf(int64(size)):], seal1(t, header{generation: 2}, make([]byte, 32), blobOf(1)))
		}
		return d
	}
	cut := func(step int) *simDisk { // of this version
		d, k := newSim(testDisk), &simKeys{}
		n := 0
		d.step = func(string) error {
			if n++; n > step {
				return errCrash
			}
			return nil
		}
		k.step = d.step
		s := mustOpen(t, d, k)
		if err := s.Save(blobOf(1)); step < 10 && err == nil {
			t.Fatal("no crash")
		}
		return d.crash(int64(step))
	}
	for _, c := range []struct {
		name string
		disk *simDisk
		want error
	}{
		{"version 1, mark", initial(testDisk, 0), nil},
		{"version 1, one copy", initial(testDisk, 1), nil},
		{"version 1, two copies", initial(testDisk, 2), ErrNotBlank},
		{"mark", cut(2), nil},
		{"one copy", cut(5), nil},
		{"two copies", cut(8), ErrNotBlank},
	} {
		for _, size := range []int{testDisk, 2 * testDisk, 4*testDisk + 512, 5 << 20} {
			s, err := Open(Config{Disk: c.disk.resized(size), Keys: &simKeys{}})
			if !errors.Is(err, c.want) || err == nil && !s.IsNew() {
				t.Errorf("%s, enlarged to %d: %v", c.name, size, err)
			}
		}
	}
}
