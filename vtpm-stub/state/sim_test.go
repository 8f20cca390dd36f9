package state

import (
	"errors"
	"fmt"
	"math/rand"
)

var (
	errCrash = errors.New("sim: power cut")
	errIO    = errors.New("sim: I/O error")
)

// simDisk keeps writes volatile until a flush. A crash keeps any subset of the
// volatile sectors, each as its newest or any older content.
type simDisk struct {
	data    []byte // what is durable
	pending []sectorWrite
	rnd     *rand.Rand

	// step is called before each write and flush; an error ends it there.
	step func(op string) error
	bad  map[int64]bool // sectors that cannot be read
}

type sectorWrite struct {
	off  int64
	data []byte
}

func newSim(size int) *simDisk {
	return &simDisk{data: make([]byte, size), rnd: rand.New(rand.NewSource(1))}
}

func (d *simDisk) Size() int64 { return int64(len(d.data)) }

func (d *simDisk) check(p []byte, off int64) {
	if len(p)%SectorSize != 0 || off%SectorSize != 0 || off < 0 || off+int64(len(p)) > d.Size() {
		panic(fmt.Sprintf("sim: access of %d bytes at %d", len(p), off))
	}
}

func (d *simDisk) ReadAt(p []byte, off int64) (int, error) {
	d.check(p, off)
	for o := off; o < off+int64(len(p)); o += SectorSize {
		if d.bad[o/SectorSize] {
			return 0, errIO
		}
	}
	copy(p, d.data[off:])
	for _, w := range d.pending {
		if w.off >= off && w.off < off+int64(len(p)) {
			copy(p[w.off-off:], w.data)
		}
	}
	return len(p), nil
}

func (d *simDisk) WriteAt(p []byte, off int64) (int, error) {
	d.check(p, off)
	var err error
	if d.step != nil {
		err = d.step("write")
	}
	if errors.Is(err, errIO) {
		// A failed write may have done part of its work.
		p = p[:d.rnd.Intn(len(p)/SectorSize+1)*SectorSize]
	}
	for o := int64(0); o < int64(len(p)); o += SectorSize {
		d.pending = append(d.pending, sectorWrite{off + o, append([]byte(nil), p[o:o+SectorSize]...)})
	}
	return len(p), err
}

func (d *simDisk) Flush() error {
	if d.step != nil {
		if err := d.step("flush"); err != nil {
			return err
		}
	}
	for _, w := range d.pending {
		copy(d.data[w.off:], w.data)
	}
	d.pending = nil
	return nil
}

// crash loses a random part of what was not flushed and gives the disk as the
// next start finds it.
func (d *simDisk) crash(seed int64) *simDisk {
	rnd := rand.New(rand.NewSource(seed))
	next := newSim(len(d.data))
	copy(next.data, d.data)
	keep := rnd.Intn(5) // 0: nothing, 4: everything, else a part
	for _, w := range d.pending {
		if keep == 4 || keep > 0 && rnd.Intn(4) < keep {
			copy(next.data[w.off:], w.data)
		}
	}
	return next
}

// simKeys is a manager. fail says what a Save does: "" works, "lost" fails and
// keeps the old record, "stored" fails and keeps the new one.
type simKeys struct {
	record []byte
	fail   string
	load   error
	step   func(op string) error
	saves  int
}

func (k *simKeys) Load() ([]byte, error) {
	if k.load != nil {
		return nil, k.load
	}
	if k.record == nil {
		return nil, ErrNoRecord
	}
	return append([]byte(nil), k.record...), nil
}

func (k *simKeys) Save(r []byte) error {
	if k.step != nil {
		if err := k.step("before save"); err != nil {
			return err
		}
	}
	k.saves++
	if k.fail != "lost" {
		k.record = append([]byte(nil), r...)
	}
	if k.fail != "" {
		return errIO
	}
	if k.step != nil {
		return k.step("after save")
	}
	return nil
}
