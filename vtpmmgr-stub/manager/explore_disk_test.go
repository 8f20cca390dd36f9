package manager

import (
	"bytes"
	"errors"
	"maps"
	"slices"
)

// cutDisk is a disk in units that a power cut keeps or loses as a whole. It is
// copied in no time, as the exploration keeps many.
type cutDisk struct {
	unit    int
	size    int64
	durable map[int64][]byte // by unit; a missing one is zero. Contents are never changed in place
	pending map[int64][]byte // written since the last flush

	step func(op string) (applied int, err error) // before a write or a flush; of a failed write so many units get there
	done func()                                   // after it
}

func newCutDisk(unit int, size int64) *cutDisk {
	return &cutDisk{unit: unit, size: size, durable: map[int64][]byte{}, pending: map[int64][]byte{}}
}

func (d *cutDisk) clone() *cutDisk {
	return &cutDisk{unit: d.unit, size: d.size, durable: maps.Clone(d.durable), pending: maps.Clone(d.pending)}
}

func (d *cutDisk) Size() int64 { return d.size }

func (d *cutDisk) at(n int64) []byte {
	if b := d.pending[n]; b != nil {
		return b
	}
	return d.durable[n]
}

func (d *cutDisk) ReadAt(p []byte, off int64) (int, error) {
	for done := 0; done < len(p); {
		n, from := (off+int64(done))/int64(d.unit), int((off+int64(done))%int64(d.unit))
		size := min(d.unit-from, len(p)-done)
		if b := d.at(n); b != nil {
			copy(p[done:done+size], b[from:])
		} else {
			clear(p[done : done+size])
		}
		done += size
	}
	return len(p), nil
}

func (d *cutDisk) WriteAt(p []byte, off int64) (int, error) {
	units, err := len(p)/d.unit, error(nil)
	if d.step != nil {
		var part int
		if part, err = d.step("write"); err != nil {
			units = min(units, part)
		}
	}
	for i := range units {
		d.pending[off/int64(d.unit)+int64(i)] = bytes.Clone(p[i*d.unit : (i+1)*d.unit])
	}
	if d.done != nil {
		d.done()
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (d *cutDisk) Flush() error {
	if d.step != nil {
		if _, err := d.step("flush"); err != nil {
			return err
		}
	}
	maps.Copy(d.durable, d.pending)
	clear(d.pending)
	if d.done != nil {
		d.done()
	}
	return nil
}

// cuts are the disks that a power cut can leave: every subset of what was not
// flushed. What together names says nothing by itself, and is kept or lost as one.
func (d *cutDisk) cuts(together func(n int64) bool) []*cutDisk {
	var parts [][]int64
	var group []int64
	for _, n := range slices.Sorted(maps.Keys(d.pending)) {
		if together(n) {
			group = append(group, n)
		} else {
			parts = append(parts, []int64{n})
		}
	}
	if group != nil {
		parts = append(parts, group)
	}
	var out []*cutDisk
	for set := range 1 << len(parts) {
		c := &cutDisk{unit: d.unit, size: d.size, durable: maps.Clone(d.durable), pending: map[int64][]byte{}}
		for i, part := range parts {
			if set>>i&1 == 1 {
				for _, n := range part {
					c.durable[n] = d.pending[n]
				}
			}
		}
		out = append(out, c)
	}
	return out
}

var errDisk = errors.New("the disk failed")
