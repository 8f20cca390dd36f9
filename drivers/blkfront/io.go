package blkfront

import (
	"encoding/binary"
	"fmt"

	"xenvtpm/board/xen/abi"
)

// chunk is the most bytes that one request moves.
const chunk = segments * abi.PageSize

// ReadAt reads len(p) bytes at off, both multiples of SectorSize. It reads all
// or fails.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	return d.transfer(p, off, false)
}

// ReadMany reads from several places, as ReadAt does from one, with up to Depth requests in flight: bufs[i] at
// offs[i]. After an error the content of none of them is known.
func (d *Disk) ReadMany(bufs [][]byte, offs []int64) error {
	if len(bufs) != len(offs) {
		return fmt.Errorf("%w: %d buffers for %d places", ErrRange, len(bufs), len(offs))
	}
	list := make([]extent, len(bufs))
	for i := range bufs {
		list[i] = extent{bufs[i], offs[i]}
	}
	return d.transferAll(list, false)
}

// WriteAt writes len(p) bytes at off, both multiples of SectorSize, and returns
// when the backend has acknowledged them. They are durable after the next
// Flush. Where the device's own sectors are larger than SectorSize, the rest of
// a sector is read and written back.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	if d.shape.readOnly {
		return 0, ErrReadOnly
	}
	return d.transfer(p, off, true)
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
	r := &request{op: abi.BLKIF_OP_FLUSH_DISKCACHE}
	l := d.link
	if err := d.submit(l, r); err != nil {
		return err
	}
	if err := d.publish(l); err != nil {
		return err
	}
	if _, status, err := d.await(l, []*request{r}); err != nil {
		return err
	} else if status != abi.BLKIF_RSP_OKAY {
		return ioError{r.op, 0, 0, status}
	}
	d.dirty = false
	return nil
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

// copyOut copies from a lane's bounce pages, beginning at byte at.
func (l *link) copyOut(lane int, p []byte, at int64) {
	pages := l.pages[lane*segments:]
	for len(p) > 0 {
		in := int(at % abi.PageSize)
		n := min(len(p), abi.PageSize-in)
		pages[at/abi.PageSize].CopyOut(p[:n], in)
		p, at = p[n:], at+int64(n)
	}
}

// copyIn copies to a lane's bounce pages, beginning at byte at.
func (l *link) copyIn(lane int, p []byte, at int64) {
	pages := l.pages[lane*segments:]
	for len(p) > 0 {
		in := int(at % abi.PageSize)
		n := min(len(p), abi.PageSize-in)
		pages[at/abi.PageSize].CopyIn(in, p[:n])
		p, at = p[n:], at+int64(n)
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

// submit puts a request in the ring, for publish to show it to the backend.
func (d *Disk) submit(l *link, r *request) error {
	if d.link != l {
		return ErrDisconnected
	}
	d.lastID++
	r.id = d.lastID
	if !l.ring.Put(d.encode(l, r)) {
		return d.fail("no room in a ring that cannot be full")
	}
	return nil
}

// publish shows the backend what was submitted.
func (d *Disk) publish(l *link) error {
	if l.ring.Publish() {
		return d.cfg.Channels.Notify(l.port)
	}
	return nil
}

// encode makes the ring's form of a request for the bytes in its lane.
func (d *Disk) encode(l *link, r *request) []byte {
	le := binary.LittleEndian
	req := make([]byte, abi.BlkifSlotSize)
	req[abi.BlkifReqOperation] = r.op
	le.PutUint64(req[abi.BlkifReqID:], r.id)
	le.PutUint64(req[abi.BlkifReqSectorNumber:], uint64(r.start/SectorSize))
	count := 0
	for n := r.end - r.start; n > 0; n -= abi.PageSize {
		seg := req[abi.BlkifReqSegments+count*abi.BlkifSegSize:]
		le.PutUint32(seg[abi.BlkifSegGref:], uint32(l.refs[r.lane*segments+count]))
		seg[abi.BlkifSegLast] = uint8(min(n, abi.PageSize)/SectorSize - 1)
		count++
	}
	req[abi.BlkifReqNrSegments] = uint8(count)
	return req
}

// await waits for the response to any of the requests, which are all that are
// in flight.
func (d *Disk) await(l *link, running []*request) (*request, int16, error) {
	var rsp [abi.BlkifRspSize]byte
	deadline := d.cfg.Channels.Now() + int64(d.cfg.RequestWait)
	for {
		d.dev.Look()
		ok, err := l.ring.Take(rsp[:])
		if err != nil {
			return nil, 0, d.fail(err.Error())
		}
		if ok {
			break
		}
		if l.ring.Arm() {
			continue
		}
		if d.cfg.Channels.Now() >= deadline {
			// The backend still has our pages, and may yet do what it was asked.
			return nil, 0, d.fail(fmt.Sprintf("no answer to operation %d within %v", running[0].op, d.cfg.RequestWait))
		}
		d.dev.Wait(deadline)
		if d.link != l {
			return nil, 0, ErrDisconnected
		}
	}
	id, op := binary.LittleEndian.Uint64(rsp[abi.BlkifRspID:]), rsp[abi.BlkifRspOperation]
	for _, r := range running {
		if r.id == id && r.op == op {
			return r, int16(binary.LittleEndian.Uint16(rsp[abi.BlkifRspStatus:])), nil
		}
	}
	return nil, 0, d.fail(fmt.Sprintf("an answer to request %d, operation %d, which was not asked", id, op))
}

// fail puts the disk out of use: what the ring holds is not known any more.
func (d *Disk) fail(why string) error {
	d.broken = fmt.Errorf("%w: %s", ErrBroken, why)
	d.cfg.Logf("%v", d.broken)
	return d.broken
}
