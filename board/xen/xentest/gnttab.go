package xentest

import (
	"encoding/binary"
	"errors"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/shm"
)

// frame is one page of host memory.
type frame struct {
	mem   []byte
	views map[*shm.Page]*Domain // to whom PageAt has given it
}

func newFrame() *frame {
	return &frame{mem: make([]byte, abi.PageSize), views: make(map[*shm.Page]*Domain)}
}

func (f *frame) view(d *Domain) *shm.Page {
	p := shm.FromBytes(f.mem)
	f.views[p] = d
	return p
}

// memory is a domain's guest physical memory.
type memory struct {
	p2m        map[uint64]*frame
	nextRAM    uint64
	nextHole   uint64
	freeHoles  []uint64
	pageBudget int // pages that AllocPage still gives; negative: no limit
}

const (
	firstRAM  = 0x1000
	firstHole = 0xE0000
)

func newMemory() memory {
	return memory{p2m: make(map[uint64]*frame), nextRAM: firstRAM, nextHole: firstHole, pageBudget: -1}
}

// guestMemory is a domain's gnttab.Memory.
type guestMemory struct{ d *Domain }

var errNoMemory = errors.New("xentest: out of memory")

func (m guestMemory) AllocPage() (*shm.Page, uint64, error) {
	d := m.d
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.pageBudget == 0 {
		return nil, 0, errNoMemory
	}
	d.pageBudget--
	gfn := d.nextRAM
	d.nextRAM++
	f := newFrame()
	d.p2m[gfn] = f
	return f.view(d), gfn, nil
}

func (m guestMemory) FreePage(_ *shm.Page, gfn uint64) {
	m.d.h.mu.Lock()
	defer m.d.h.mu.Unlock()
	m.d.pageBudget++
	delete(m.d.p2m, gfn)
}

func (m guestMemory) AllocFrame() (uint64, error) {
	d := m.d
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if n := len(d.freeHoles); n > 0 {
		gfn := d.freeHoles[n-1]
		d.freeHoles = d.freeHoles[:n-1]
		return gfn, nil
	}
	d.nextHole++
	return d.nextHole - 1, nil
}

func (m guestMemory) FreeFrame(gfn uint64) {
	d := m.d
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.p2m[gfn] != nil {
		d.h.tb.Errorf("xentest: domain %d frees frame %#x while something is mapped there", d.ID, gfn)
	}
	d.freeHoles = append(d.freeHoles, gfn)
}

func (m guestMemory) PageAt(gfn uint64) *shm.Page {
	d := m.d
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if f := d.p2m[gfn]; f != nil {
		return f.view(d)
	}
	d.h.tb.Errorf("xentest: domain %d looks at frame %#x where nothing is", d.ID, gfn)
	return shm.New()
}

// grantTable is Xen's side of a domain's grant table.
type grantTable struct {
	table      []*frame
	pins       map[gnttab.Ref]*pin // of entries that others map
	maps       map[uint32]*mapped  // that this domain has made
	nextHandle uint32
}

type pin struct{ readers, writers int }

type mapped struct {
	owner    *Domain
	ref      gnttab.Ref
	gfn      uint64
	writable bool
}

const maxGrantFrames = 64

var _ gnttab.Hypercaller = hypercalls{}

func (hc hypercalls) AddToPhysmap(space uint32, idx, gfn uint64) int {
	d := hc.d
	defer d.leave()
	if !d.enter() {
		return -int(abi.ESRCH)
	}
	if space != abi.XENMAPSPACE_grant_table || idx >= maxGrantFrames || idx > uint64(len(d.table)) {
		return -int(abi.EINVAL)
	}
	if idx == uint64(len(d.table)) {
		d.table = append(d.table, newFrame())
	}
	d.p2m[gfn] = d.table[idx]
	return 0
}

func (hc hypercalls) GrantTableOp(cmd uint32, arg []byte) int {
	d := hc.d
	defer d.leave()
	if !d.enter() {
		return -int(abi.ESRCH)
	}
	le := binary.LittleEndian
	switch cmd {
	case abi.GNTTABOP_query_size:
		le.PutUint32(arg[abi.GnttabQuerySizeNrFrames:], uint32(len(d.table)))
		le.PutUint32(arg[abi.GnttabQuerySizeMaxNrFrames:], maxGrantFrames)
		le.PutUint16(arg[abi.GnttabQuerySizeStatus:], 0)
	case abi.GNTTABOP_map_grant_ref:
		handle, status := d.mapGrant(arg)
		le.PutUint32(arg[abi.GnttabMapHandle:], handle)
		le.PutUint16(arg[abi.GnttabMapStatus:], uint16(status))
	case abi.GNTTABOP_unmap_grant_ref:
		handle := le.Uint32(arg[abi.GnttabUnmapHandle:])
		status := abi.GNTST_bad_handle
		if m := d.maps[handle]; m != nil {
			status = abi.GNTST_general_error
			if m.gfn*abi.PageSize == le.Uint64(arg[abi.GnttabUnmapHostAddr:]) {
				d.unmap(handle)
				status = abi.GNTST_okay
			}
		}
		le.PutUint16(arg[abi.GnttabUnmapStatus:], uint16(status))
	default:
		return -int(abi.ENOSYS)
	}
	return 0
}

// mapGrant is GNTTABOP_map_grant_ref on one entry.
func (d *Domain) mapGrant(arg []byte) (uint32, abi.GrantStatus) {
	le := binary.LittleEndian
	return d.mapAt(abi.DomID(le.Uint16(arg[abi.GnttabMapDom:])),
		gnttab.Ref(le.Uint32(arg[abi.GnttabMapRef:])),
		le.Uint32(arg[abi.GnttabMapFlags:])&abi.GNTMAP_readonly == 0,
		le.Uint64(arg[abi.GnttabMapHostAddr:])/abi.PageSize)
}

func (d *Domain) mapAt(remote abi.DomID, ref gnttab.Ref, writable bool, gfn uint64) (uint32, abi.GrantStatus) {
	owner := d.h.domains[remote]
	if owner == nil {
		return 0, abi.GNTST_bad_domain
	}
	f, status := owner.pin(d.ID, ref, writable)
	if status != abi.GNTST_okay {
		return 0, status
	}
	if d.maps == nil {
		d.maps = make(map[uint32]*mapped)
	}
	d.nextHandle++
	d.maps[d.nextHandle] = &mapped{owner: owner, ref: ref, gfn: gfn, writable: writable}
	d.p2m[gfn] = f
	return d.nextHandle, abi.GNTST_okay
}

// pin takes an entry of d's table into use by another domain.
func (d *Domain) pin(by abi.DomID, ref gnttab.Ref, writable bool) (*frame, abi.GrantStatus) {
	if int(ref) >= len(d.table)*abi.GrantEntriesPerPage {
		return nil, abi.GNTST_bad_gntref
	}
	page, off := d.grantEntry(ref)
	use := abi.GTF_reading
	if writable {
		use |= abi.GTF_writing
	}
	for {
		flags := page.Load16(off + abi.GrantEntryFlags)
		dom := page.Load16(off + abi.GrantEntryDomid)
		if flags&abi.GTF_type_mask != abi.GTF_permit_access || abi.DomID(dom) != by ||
			writable && flags&abi.GTF_readonly != 0 {
			return nil, abi.GNTST_general_error
		}
		f := d.p2m[uint64(page.Load32(off+abi.GrantEntryFrame))]
		if f == nil {
			return nil, abi.GNTST_bad_page
		}
		if page.CompareAndSwap16(off+abi.GrantEntryFlags, flags, flags|use) {
			d.count(ref, writable)
			return f, abi.GNTST_okay
		}
	}
}

func (d *Domain) count(ref gnttab.Ref, writable bool) {
	if d.pins == nil {
		d.pins = make(map[gnttab.Ref]*pin)
	}
	if d.pins[ref] == nil {
		d.pins[ref] = new(pin)
	}
	d.pins[ref].readers++
	if writable {
		d.pins[ref].writers++
	}
}

func (d *Domain) grantEntry(ref gnttab.Ref) (*shm.Page, int) {
	return shm.FromBytes(d.table[ref/abi.GrantEntriesPerPage].mem),
		int(ref%abi.GrantEntriesPerPage) * abi.GrantEntrySize
}

// unmap ends a mapping of d's.
func (d *Domain) unmap(handle uint32) {
	m := d.maps[handle]
	delete(d.maps, handle)
	for v, who := range d.p2m[m.gfn].views {
		if who == d {
			delete(d.p2m[m.gfn].views, v)
		}
	}
	delete(d.p2m, m.gfn)
	p := m.owner.pins[m.ref]
	p.readers--
	var drop uint16
	if m.writable {
		if p.writers--; p.writers == 0 {
			drop |= abi.GTF_writing
		}
	}
	if p.readers == 0 {
		drop |= abi.GTF_reading
		delete(m.owner.pins, m.ref)
	}
	page, off := m.owner.grantEntry(m.ref)
	for drop != 0 {
		flags := page.Load16(off + abi.GrantEntryFlags)
		if page.CompareAndSwap16(off+abi.GrantEntryFlags, flags, flags&^drop) {
			break
		}
	}
}

// Mapped is the number of foreign pages that the domain maps. A driver that
// leaks one has a bug.
func (d *Domain) Mapped() int {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	return len(d.maps)
}

// LimitPages lets the domain have n more pages to share.
func (d *Domain) LimitPages(n int) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	d.pageBudget = n
}

// Revoke takes the page behind a grant of d's away from everybody who maps it:
// they read ones from then on and their writes go nowhere. Xen itself does not
// do that; memory errors and bugs do.
func (d *Domain) Revoke(ref gnttab.Ref) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	page, off := d.grantEntry(ref)
	f := d.p2m[uint64(page.Load32(off+abi.GrantEntryFrame))]
	if f == nil {
		return
	}
	for v, who := range f.views {
		if who != d {
			v.Detach()
		}
	}
}
