package blkfront

import (
	"errors"
	"fmt"
	"strconv"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/ring"
	"xenvtpm/board/xen/shm"
	"xenvtpm/board/xen/xenbus"
	"xenvtpm/board/xen/xenstore"
)

// shape is what a backend says of the disk.
type shape struct {
	size     int64 // bytes, a multiple of sector
	sector   int64 // the device's own unit of writing, in bytes
	readOnly bool
}

// link is what is shared with one backend.
type link struct {
	ringRef gnttab.Ref
	port    evtchn.Port
	ring    *ring.Front
	refs    []gnttab.Ref // of pages: lane n has those from n*segments on
	pages   []*shm.Page
	up      bool
}

// driver is the Disk as its FrontDevice sees it.
type driver struct{ d *Disk }

// Publish implements xenbus.FrontDriver.
func (w driver) Publish(backend abi.DomID) (map[string]string, error) {
	l := new(link)
	w.d.link = l
	ref, page, err := w.d.cfg.Grants.Share(backend, true)
	if err == nil {
		l.ringRef, l.ring = ref, ring.NewFront(page, ring.Blkif)
		for len(l.refs) < w.d.cfg.Depth*segments && err == nil {
			if ref, page, err = w.d.cfg.Grants.Share(backend, true); err == nil {
				l.refs, l.pages = append(l.refs, ref), append(l.pages, page)
			}
		}
	}
	if err == nil {
		l.port, err = w.d.cfg.Channels.AllocUnbound(backend)
	}
	if err != nil {
		w.Disconnect()
		return nil, err
	}
	return map[string]string{
		"ring-ref":           strconv.FormatUint(uint64(l.ringRef), 10),
		"event-channel":      strconv.FormatUint(uint64(l.port), 10),
		"protocol":           abi.XEN_IO_PROTO_ABI_X86_64,
		"feature-persistent": "0",
	}, nil
}

// Check implements xenbus.FrontDriver.
func (w driver) Check(r xenbus.Reader, dir string) error {
	s, err := readShape(r, dir)
	if err != nil {
		return err
	}
	if old := w.d.shape; old.size != 0 && (old.size != s.size || old.sector != s.sector || old.readOnly != s.readOnly) {
		return fmt.Errorf("the disk came back with %d bytes in sectors of %d, it had %d and %d", s.size, s.sector, old.size, old.sector)
	}
	w.d.shape = s
	w.d.link.up = true
	return nil
}

// readShape reads what a connected backend says of the disk.
func readShape(r xenbus.Reader, dir string) (shape, error) {
	sectors, err := xenbus.ReadUint(r, dir+"/sectors", maxSectors)
	if err != nil {
		return shape{}, err
	}
	unit, err := xenbus.ReadUint(r, dir+"/sector-size", abi.PageSize)
	if errors.Is(err, xenstore.ErrNotExist) {
		unit, err = SectorSize, nil
	}
	if err != nil {
		return shape{}, err
	}
	if unit < SectorSize || unit&(unit-1) != 0 {
		return shape{}, fmt.Errorf("%w: sector-size %d", xenbus.ErrBadNode, unit)
	}
	info, err := xenbus.ReadUint(r, dir+"/info", 1<<32-1)
	if err != nil && !errors.Is(err, xenstore.ErrNotExist) {
		return shape{}, err
	}
	s := shape{sector: int64(unit), readOnly: info&abi.VDISK_READONLY != 0}
	s.size = int64(sectors) * SectorSize / s.sector * s.sector
	if s.size == 0 {
		return shape{}, fmt.Errorf("%w: the disk has %d sectors", xenbus.ErrBadNode, sectors)
	}
	if s.readOnly {
		return s, nil
	}
	return s, checkFlush(r, dir)
}

// checkFlush refuses a backend on whose disk nothing would ever be known to be
// durable. A barrier is no flush: what it means when it carries no data is up to
// the backend, and blktap's does nothing then.
func checkFlush(r xenbus.Reader, dir string) error {
	_, err := r.Read(dir + "/tapdisk-params")
	if !errors.Is(err, xenstore.ErrNotExist) {
		return errors.Join(ErrTapdisk, err)
	}
	flush, err := xenbus.ReadFlag(r, dir+"/feature-flush-cache")
	if flush || err != nil {
		return err
	}
	barrier, err := xenbus.ReadFlag(r, dir+"/feature-barrier")
	if barrier {
		return ErrBarrierOnly
	}
	return errors.Join(ErrNoFlush, err)
}

// Port implements xenbus.FrontDriver.
func (w driver) Port() evtchn.Port {
	if w.d.link == nil {
		return 0
	}
	return w.d.link.port
}

// Disconnect implements xenbus.FrontDriver.
func (w driver) Disconnect() {
	l := w.d.link
	w.d.link = nil
	if l == nil {
		return
	}
	w.d.lost = w.d.lost || w.d.dirty
	w.d.dirty = false
	if l.port != 0 {
		if err := w.d.cfg.Channels.Close(l.port); err != nil {
			w.d.cfg.Logf("blkfront: %v", err)
		}
	}
	if l.ring != nil {
		l.refs = append(l.refs, l.ringRef)
	}
	for _, ref := range l.refs {
		err := w.d.cfg.Grants.Unshare(ref)
		if err != nil && !errors.Is(err, gnttab.ErrInUse) { // in use: in quarantine, as it should be
			w.d.cfg.Logf("blkfront: %v", err)
		}
	}
}
