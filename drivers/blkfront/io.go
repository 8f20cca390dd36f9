package blkfront

import (
	"encoding/binary"
	"errors"
	"fmt"

	"xenvtpm/board/xen/abi"
)

// chunk is the most bytes that one request moves.
const chunk = segments * abi.PageSize

// ReadAt reads len(p) bytes at off, both multiples of SectorSize. It reads all
// or fails.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	return d.each(p, off, func(part []byte, s span) error {
		return d.try(func(l *link) error {
			if err := d.exchange(l, abi.BLKIF_OP_READ, s.start, s.end-s.start); err != nil {
				return err
			}
			l.copyOut(part, s.at)
			return nil
		})
	})
}

// WriteAt writes len(p) bytes at off, both multiples of SectorSize, and returns
// when the backend has acknowledged them. They are durable after the next
// Flush. Where the device's own sectors are larger than SectorSize, the rest of
// a sector is read and written back.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	if d.shape.readOnly {
		return 0, ErrReadOnly
	}
	return d.each(p, off, func(part []byte, s span) error {
		return d.try(func(l *link) error {
			if s.end-s.start != int64(len(part)) {
				if err := d.exchange(l, abi.BLKIF_OP_READ, s.start, s.end-s.start); err != nil {
					return err
				}
			}
			l.copyIn(part, s.at)
			d.dirty = true
			return d.exchange(l, abi.BLKIF_OP_WRITE, s.start, s.end-s.start)
		})
	})
}

// Flush returns when everything that WriteAt has written is durable. When the
// connection was lost since a write, it fails once with ErrDisconnected,
// because the old backend may have dropped what it had only acknowledged. A
// Flush that failed must not be taken for done by repeating it.
func (d *Disk) Flush() error {
	if d.shape.readOnly {
		return nil
	}
	if err := d.begin(); err != nil {
		return err
	}
	defer d.end()
	if err := d.ready(); err != nil {
		return err
	}
	if d.lost {
		d.lost = false
		return fmt.Errorf("%w, after writes that were not flushed", ErrDisconnected)
	}
	err := d.exchange(d.link, d.shape.flush, 0, 0)
	if err == nil {
		d.dirty = false
	}
	return err
}

func (d *Disk) begin() error {
	switch {
	case d.closed:
		return ErrClosed
	case d.busy:
		return ErrBusy
	}
	d.busy = true
	return nil
}

func (d *Disk) end() { d.busy = false }

// A span is the bytes [start, end) of the disk, whole sectors of the device,
// that cover a part of a transfer, and where in them the part lies.
type span struct{ start, end, at int64 }

// each cuts a transfer into requests.
func (d *Disk) each(p []byte, off int64, f func(part []byte, s span) error) (int, error) {
	size := d.shape.size
	if off < 0 || off%SectorSize != 0 || len(p)%SectorSize != 0 || off > size || int64(len(p)) > size-off {
		return 0, fmt.Errorf("%w: %d bytes at %d of %d", ErrRange, len(p), off, size)
	}
	if err := d.begin(); err != nil {
		return 0, err
	}
	defer d.end()
	unit := d.shape.sector
	done := 0
	for done < len(p) {
		pos := off + int64(done)
		at := pos % unit
		n := min(int64(len(p)-done), chunk-at)
		s := span{start: pos - at, end: (pos + n + unit - 1) / unit * unit, at: at}
		if err := f(p[done:done+int(n)], s); err != nil {
			return done, err
		}
		done += int(n)
	}
	return done, nil
}

// copyOut copies from the bounce pages, beginning at byte at.
func (l *link) copyOut(p []byte, at int64) {
	for len(p) > 0 {
		in := int(at % abi.PageSize)
		n := min(len(p), abi.PageSize-in)
		l.pages[at/abi.PageSize].CopyOut(p[:n], in)
		p, at = p[n:], at+int64(n)
	}
}

// copyIn copies to the bounce pages, beginning at byte at.
func (l *link) copyIn(p []byte, at int64) {
	for len(p) > 0 {
		in := int(at % abi.PageSize)
		n := min(len(p), abi.PageSize-in)
		l.pages[at/abi.PageSize].CopyIn(in, p[:n])
		p, at = p[n:], at+int64(n)
	}
}

// try does f, a few times over if the backend reports an error.
func (d *Disk) try(f func(l *link) error) error {
	for attempt := 0; ; attempt++ {
		if err := d.ready(); err != nil {
			return err
		}
		err := f(d.link)
		if err == nil || attempt >= d.cfg.Retries || !errors.Is(err, ErrIO) {
			return err
		}
		d.cfg.Logf("%v; trying again", err)
	}
}

// ready makes sure that there is a ring to put a request in.
func (d *Disk) ready() error {
	if d.broken != nil {
		return d.broken
	}
	return d.connect()
}

// An ioError is a request that the backend answered with an error.
type ioError struct {
	op     uint8
	off, n int64
	status int16
}

func (e ioError) Error() string {
	return fmt.Sprintf("%v: operation %d, %d bytes at %d: status %d", ErrIO, e.op, e.n, e.off, e.status)
}

func (e ioError) Is(target error) bool { return target == ErrIO }

// exchange puts one request in the ring and waits for its response.
func (d *Disk) exchange(l *link, op uint8, off, n int64) error {
	if d.link != l {
		return ErrDisconnected
	}
	d.lastID++
	if !l.ring.Put(d.encode(op, off, n)) {
		return d.fail("no room in an empty ring")
	}
	if l.ring.Publish() {
		if err := d.cfg.Channels.Notify(l.port); err != nil {
			return err
		}
	}
	status, err := d.await(l, op)
	if err != nil {
		return err
	}
	if status != abi.BLKIF_RSP_OKAY {
		return ioError{op, off, n, status}
	}
	return nil
}

// encode makes the ring's form of a request for n bytes in the bounce pages.
func (d *Disk) encode(op uint8, off, n int64) []byte {
	le := binary.LittleEndian
	req := make([]byte, abi.BlkifSlotSize)
	req[abi.BlkifReqOperation] = op
	le.PutUint64(req[abi.BlkifReqID:], d.lastID)
	le.PutUint64(req[abi.BlkifReqSectorNumber:], uint64(off/SectorSize))
	count := 0
	for ; n > 0; n -= abi.PageSize {
		seg := req[abi.BlkifReqSegments+count*abi.BlkifSegSize:]
		le.PutUint32(seg[abi.BlkifSegGref:], uint32(d.link.refs[count]))
		seg[abi.BlkifSegLast] = uint8(min(n, abi.PageSize)/SectorSize - 1)
		count++
	}
	req[abi.BlkifReqNrSegments] = uint8(count)
	return req
}

// await waits for the response to the one request that is in flight.
func (d *Disk) await(l *link, op uint8) (int16, error) {
	var rsp [abi.BlkifRspSize]byte
	deadline := d.cfg.Channels.Now() + int64(d.cfg.RequestWait)
	for {
		d.dev.Look()
		ok, err := l.ring.Take(rsp[:])
		if err != nil {
			return 0, d.fail(err.Error())
		}
		if ok {
			break
		}
		if l.ring.Arm() {
			continue
		}
		if d.cfg.Channels.Now() >= deadline {
			// The backend still has our pages, and may yet do what it was asked.
			return 0, d.fail(fmt.Sprintf("no answer to operation %d within %v", op, d.cfg.RequestWait))
		}
		d.dev.Wait(deadline)
		if d.link != l {
			return 0, ErrDisconnected
		}
	}
	id := binary.LittleEndian.Uint64(rsp[abi.BlkifRspID:])
	if id != d.lastID || rsp[abi.BlkifRspOperation] != op {
		return 0, d.fail(fmt.Sprintf("an answer to request %d, operation %d, while %d, %d was running", id, rsp[abi.BlkifRspOperation], d.lastID, op))
	}
	return int16(binary.LittleEndian.Uint16(rsp[abi.BlkifRspStatus:])), nil
}

// fail puts the disk out of use: what the ring holds is not known any more.
func (d *Disk) fail(why string) error {
	d.broken = fmt.Errorf("%w: %s", ErrBroken, why)
	d.cfg.Logf("%v", d.broken)
	return d.broken
}
