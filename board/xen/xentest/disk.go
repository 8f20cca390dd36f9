package xentest

import (
	"fmt"
	"sync"

	"xenvtpm/board/xen/abi"
)

// A Disk is a block device with a volatile write cache: writes since the last
// Flush survive a power cut only in part. It can also be used directly, without
// any domain.
type Disk struct {
	// Fault, if set, sees every operation first ("read", "write" or "flush";
	// sector and count of 512-byte sectors); an error fails the operation
	// without effect. It runs with the disk locked.
	Fault func(op string, sector int64, count int) error

	mu       sync.Mutex
	now      []byte // what reads see
	durable  []byte
	unsynced []sectorWrite
	ops      DiskOps
}

type sectorWrite struct {
	sector int64
	data   [abi.BlkifSectorSize]byte
}

// DiskOps counts what a disk did.
type DiskOps struct{ Reads, Writes, Flushes, SectorsWritten int }

// NewDisk makes a zeroed disk of whole sectors.
func NewDisk(size int64) *Disk {
	size -= size % abi.BlkifSectorSize
	return &Disk{now: make([]byte, size), durable: make([]byte, size)}
}

// Size is the disk's size in bytes.
func (d *Disk) Size() int64 { return int64(len(d.now)) }

func (d *Disk) begin(op string, off int64, n int) error {
	if off%abi.BlkifSectorSize != 0 || n%abi.BlkifSectorSize != 0 {
		return fmt.Errorf("xentest: %s of %d bytes at %d: not whole sectors", op, n, off)
	}
	if off < 0 || off > int64(len(d.now)) || int64(n) > int64(len(d.now))-off {
		return fmt.Errorf("xentest: %s of %d bytes at %d: beyond the disk's end", op, n, off)
	}
	if d.Fault != nil {
		return d.Fault(op, off/abi.BlkifSectorSize, n/abi.BlkifSectorSize)
	}
	return nil
}

// ReadAt reads whole sectors.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("read", off, len(p)); err != nil {
		return 0, err
	}
	d.ops.Reads++
	return copy(p, d.now[off:]), nil
}

// WriteAt writes whole sectors to the cache.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("write", off, len(p)); err != nil {
		return 0, err
	}
	d.ops.Writes++
	copy(d.now[off:], p)
	for i := 0; i < len(p); i += abi.BlkifSectorSize {
		w := sectorWrite{sector: (off + int64(i)) / abi.BlkifSectorSize}
		copy(w.data[:], p[i:])
		d.unsynced = append(d.unsynced, w)
		d.ops.SectorsWritten++
	}
	return len(p), nil
}

// Flush makes all writes so far durable.
func (d *Disk) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("flush", 0, 0); err != nil {
		return err
	}
	d.ops.Flushes++
	for _, w := range d.unsynced {
		copy(d.durable[w.sector*abi.BlkifSectorSize:], w.data[:])
	}
	d.unsynced = nil
	return nil
}

// Unsynced is the number of sector writes that a power cut now may lose.
func (d *Disk) Unsynced() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.unsynced)
}

// Ops is what the disk has done so far.
func (d *Disk) Ops() DiskOps {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// PowerCut returns the disk as it could be found after a power cut now: all
// that was flushed, and of the sectors written since, in order, those for
// which keep (given their index) says so. A write of several sectors can thus
// be torn, and a later write can survive an earlier one. nil keeps none.
func (d *Disk) PowerCut(keep func(i int) bool) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := NewDisk(int64(len(d.now)))
	copy(after.durable, d.durable)
	for i, w := range d.unsynced {
		if keep != nil && keep(i) {
			copy(after.durable[w.sector*abi.BlkifSectorSize:], w.data[:])
		}
	}
	copy(after.now, after.durable)
	return after
}

// Snapshot returns a copy of what reads see, all of it durable.
func (d *Disk) Snapshot() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := NewDisk(int64(len(d.now)))
	copy(c.now, d.now)
	copy(c.durable, d.now)
	return c
}

// Flip inverts one bit behind everybody's back.
func (d *Disk) Flip(off int64, bit uint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now[off] ^= 1 << (bit % 8)
	d.durable[off] ^= 1 << (bit % 8)
}
