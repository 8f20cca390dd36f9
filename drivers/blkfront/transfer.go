package blkfront

import (
	"errors"
	"fmt"
	"slices"

	"xenvtpm/board/xen/abi"
)

// A request is one of those that a transfer is cut into: the bytes [start, end)
// of the disk, whole sectors of the device, that cover a part of the caller's
// buffer, which begins at byte at of them. It has a lane of bounce pages.
type request struct {
	op         uint8 // of what is in the ring
	id         uint64
	lane       int
	start, end int64
	at         int64
	part       []byte
	tries      int
}

// An extent is a buffer and its place on the disk.
type extent struct {
	p   []byte
	off int64
}

// transfer moves p.
func (d *Disk) transfer(p []byte, off int64, write bool) (int, error) {
	if err := d.transferAll([]extent{{p, off}}, write); err != nil {
		return 0, err
	}
	return len(p), nil
}

// transferAll moves all of the list, with up to Depth requests in flight. They may be executed in any order.
func (d *Disk) transferAll(list []extent, write bool) error {
	size := d.shape.size
	for _, e := range list {
		if e.off < 0 || e.off%SectorSize != 0 || len(e.p)%SectorSize != 0 || e.off > size || int64(len(e.p)) > size-e.off {
			return fmt.Errorf("%w: %d bytes at %d of %d", ErrRange, len(e.p), e.off, size)
		}
	}
	if err := d.begin(); err != nil {
		return err
	}
	defer d.end()
	t := transfer{d: d, write: write, more: list}
	for lane := range d.cfg.Depth {
		t.lanes = append(t.lanes, lane)
	}
	return t.run()
}

// transfer is a transfer that is going on.
type transfer struct {
	d       *Disk
	l       *link
	write   bool
	more    []extent // not yet begun
	rest    []byte   // of the one that was begun, not yet cut into requests
	pos     int64    // of rest
	lanes   []int    // free ones
	running []*request
	failed  error // first error of the disk: nothing new is begun
}

// run returns when nothing is in flight any more, or never will be.
func (t *transfer) run() error {
	for {
		if len(t.running) == 0 {
			if t.failed != nil || !t.left() {
				return t.failed
			}
			if err := t.d.ready(); err != nil {
				return err
			}
			t.l = t.d.link
		}
		for t.failed == nil && len(t.lanes) > 0 && t.left() {
			if err := t.start(t.next()); err != nil {
				return err
			}
		}
		if err := t.d.publish(t.l); err != nil {
			return err
		}
		r, status, err := t.d.await(t.l, t.running)
		if err != nil {
			return err
		}
		if err := t.answered(r, status); err != nil {
			return err
		}
	}
}

// left reports whether there is something to cut a request off, and takes up the next extent for that.
func (t *transfer) left() bool {
	for len(t.rest) == 0 && len(t.more) > 0 {
		t.rest, t.pos, t.more = t.more[0].p, t.more[0].off, t.more[1:]
	}
	return len(t.rest) > 0
}

// next cuts the next request off the rest.
func (t *transfer) next() *request {
	unit := t.d.shape.sector
	at := t.pos % unit
	n := min(int64(len(t.rest)), chunk-at)
	r := &request{lane: t.lanes[0], start: t.pos - at, end: (t.pos + n + unit - 1) / unit * unit, at: at, part: t.rest[:n]}
	t.rest, t.pos, t.lanes = t.rest[n:], t.pos+n, t.lanes[1:]
	t.running = append(t.running, r)
	return r
}

// start begins a request: by reading, unless it writes whole sectors.
func (t *transfer) start(r *request) error {
	if t.write && r.end-r.start == int64(len(r.part)) {
		return t.put(r)
	}
	r.op = abi.BLKIF_OP_READ
	return t.d.submit(t.l, r)
}

// put begins the writing of a request.
func (t *transfer) put(r *request) error {
	t.l.copyIn(r.lane, r.part, r.at)
	t.d.dirty = true
	r.op = abi.BLKIF_OP_WRITE
	return t.d.submit(t.l, r)
}

// answered goes on with a request.
func (t *transfer) answered(r *request, status int16) error {
	switch {
	case status != abi.BLKIF_RSP_OKAY:
		err := ioError{r.op, r.start, r.end - r.start, status}
		if r.tries < t.d.cfg.Retries {
			r.tries++
			t.d.cfg.Logf("%v; trying again", err)
			return t.start(r)
		}
		t.failed = errors.Join(t.failed, err)
	case r.op == abi.BLKIF_OP_READ && t.write:
		return t.put(r)
	case r.op == abi.BLKIF_OP_READ:
		t.l.copyOut(r.lane, r.part, r.at)
	}
	t.running = slices.DeleteFunc(t.running, func(o *request) bool { return o == r })
	t.lanes = append(t.lanes, r.lane)
	return nil
}
