package gnttab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/shm"
)

// Hypercaller is the raw hypercalls under a Table, with Xen's results.
type Hypercaller interface {
	// GrantTableOp is HYPERVISOR_grant_table_op(cmd, arg, 1).
	GrantTableOp(cmd uint32, arg []byte) int
	// AddToPhysmap is XENMEM_add_to_physmap for ourselves: make page idx of
	// space appear at guest frame gfn.
	AddToPhysmap(space uint32, idx, gfn uint64) int
}

// Memory is where a Table gets pages. Guest frame numbers are those that Xen
// sees: on bare metal, a physical address divided by the page size.
type Memory interface {
	// AllocPage gives a page of RAM and its frame number.
	AllocPage() (*shm.Page, uint64, error)
	// FreePage takes it back.
	FreePage(*shm.Page, uint64)
	// AllocFrame gives a frame number where nothing is mapped, outside RAM.
	AllocFrame() (uint64, error)
	// FreeFrame takes it back.
	FreeFrame(uint64)
	// PageAt is access to what is at a frame number; each call gives a Page of
	// its own, which can be detached without effect on others.
	PageAt(gfn uint64) *shm.Page
}

// eagainTries bounds how often a map is repeated that Xen asks to be repeated
// (the granted page is being paged in or shared).
const eagainTries = 100

// Table implements Grants on version 1 of the grant table.
type Table struct {
	hv  Hypercaller
	mem Memory

	frames []*shm.Page // of the table itself
	limit  int         // frames that Xen allows us
	free   []Ref
	shares map[Ref]share
	parked []Ref // quarantine: revoked by us, still mapped by the peer
}

// share is a page of ours that a peer may map. The caller works on a view of
// its own, which is cut off when the page is given back: a stale pointer must
// not write to what has become somebody else's page.
type share struct {
	page, view *shm.Page
	gfn        uint64
}

var _ Grants = (*Table)(nil)

// New asks Xen for the table's size and maps its first frame.
func New(hv Hypercaller, mem Memory) (*Table, error) {
	t := &Table{hv: hv, mem: mem, shares: make(map[Ref]share)}
	var arg [abi.GnttabQuerySizeSize]byte
	le := binary.LittleEndian
	le.PutUint16(arg[abi.GnttabQuerySizeDom:], uint16(abi.DOMID_SELF))
	err := t.op(abi.GNTTABOP_query_size, arg[:], abi.GnttabQuerySizeStatus)
	if err != nil {
		return nil, fmt.Errorf("gnttab: asking for the table's size: %w", err)
	}
	t.limit = int(min(le.Uint32(arg[abi.GnttabQuerySizeMaxNrFrames:]), 1<<10))
	if err := t.grow(); err != nil {
		return nil, err
	}
	return t, nil
}

// op does a single grant-table operation and reads its status field.
func (t *Table) op(cmd uint32, arg []byte, statusAt int) error {
	if err := abi.HypercallError(t.hv.GrantTableOp(cmd, arg)); err != nil {
		return err
	}
	status := abi.GrantStatus(binary.LittleEndian.Uint16(arg[statusAt:]))
	if status != abi.GNTST_okay {
		return status
	}
	return nil
}

// grow maps the next frame of the table.
func (t *Table) grow() error {
	if len(t.frames) >= t.limit {
		return fmt.Errorf("%w: all %d frames of the grant table are used", ErrFull, t.limit)
	}
	gfn, err := t.mem.AllocFrame()
	if err != nil {
		return fmt.Errorf("gnttab: no frame for the table: %w", err)
	}
	n := len(t.frames)
	rc := t.hv.AddToPhysmap(abi.XENMAPSPACE_grant_table, uint64(n), gfn)
	if err := abi.HypercallError(rc); err != nil {
		t.mem.FreeFrame(gfn)
		return fmt.Errorf("gnttab: mapping frame %d of the table: %w", n, err)
	}
	t.frames = append(t.frames, t.mem.PageAt(gfn))
	first := n * abi.GrantEntriesPerPage
	for i := abi.GrantEntriesPerPage - 1; i >= 0; i-- {
		if ref := first + i; ref >= abi.GNTTAB_NR_RESERVED_ENTRIES {
			t.free = append(t.free, Ref(ref))
		}
	}
	return nil
}

// entry locates a reference in the table.
func (t *Table) entry(ref Ref) (*shm.Page, int) {
	return t.frames[ref/abi.GrantEntriesPerPage], int(ref%abi.GrantEntriesPerPage) * abi.GrantEntrySize
}

// Share implements Grants.
func (t *Table) Share(remote abi.DomID, writable bool) (Ref, *shm.Page, error) {
	t.Reap()
	if len(t.free) == 0 {
		if err := t.grow(); err != nil {
			return 0, nil, err
		}
	}
	page, gfn, err := t.mem.AllocPage()
	if err != nil {
		return 0, nil, fmt.Errorf("gnttab: no page to share: %w", err)
	}
	if gfn > 1<<32-1 {
		t.mem.FreePage(page, gfn)
		return 0, nil, fmt.Errorf("%w: frame %#x does not fit a version 1 entry", ErrFull, gfn)
	}
	page.Zero()
	ref := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	view := t.mem.PageAt(gfn)
	t.shares[ref] = share{page, view, gfn}
	t.publish(ref, remote, uint32(gfn), writable)
	return ref, view, nil
}

// publish writes an entry: everything else first, the flags that make it
// valid last.
func (t *Table) publish(ref Ref, remote abi.DomID, frame uint32, writable bool) {
	flags := abi.GTF_permit_access
	if !writable {
		flags |= abi.GTF_readonly
	}
	table, off := t.entry(ref)
	table.Store32(off+abi.GrantEntryFrame, frame)
	table.Store16(off+abi.GrantEntryDomid, uint16(remote))
	shm.Barrier()
	table.Store16(off+abi.GrantEntryFlags, flags)
}

// Unshare implements Grants.
func (t *Table) Unshare(ref Ref) error {
	if _, ok := t.shares[ref]; !ok || t.isParked(ref) {
		return fmt.Errorf("%w: %d", ErrBadRef, ref)
	}
	if !t.revoke(ref) {
		t.parked = append(t.parked, ref)
		return fmt.Errorf("%w: reference %d", ErrInUse, ref)
	}
	t.release(ref)
	return nil
}

// revoke clears an entry unless the peer maps the page. Xen sets the two bits
// of use atomically with reading the rest, so the whole word is exchanged.
func (t *Table) revoke(ref Ref) bool {
	table, off := t.entry(ref)
	for {
		flags := table.Load16(off + abi.GrantEntryFlags)
		if flags&(abi.GTF_reading|abi.GTF_writing) != 0 {
			return false
		}
		if table.CompareAndSwap16(off+abi.GrantEntryFlags, flags, abi.GTF_invalid) {
			return true
		}
	}
}

func (t *Table) release(ref Ref) {
	s := t.shares[ref]
	delete(t.shares, ref)
	s.view.Detach()
	t.mem.FreePage(s.page, s.gfn)
	t.free = append(t.free, ref)
}

func (t *Table) isParked(ref Ref) bool {
	for _, r := range t.parked {
		if r == ref {
			return true
		}
	}
	return false
}

// Reap frees what is in quarantine and no longer mapped, and returns how many
// are left. Share does it too.
func (t *Table) Reap() int {
	kept := t.parked[:0]
	for _, ref := range t.parked {
		if t.revoke(ref) {
			t.release(ref)
		} else {
			kept = append(kept, ref)
		}
	}
	t.parked = kept
	return len(kept)
}

// Shared is the number of references in use, quarantine included.
func (t *Table) Shared() int { return len(t.shares) }

// Map implements Grants.
func (t *Table) Map(remote abi.DomID, ref Ref, writable bool) (*Mapping, error) {
	gfn, err := t.mem.AllocFrame()
	if err != nil {
		return nil, fmt.Errorf("gnttab: no frame to map at: %w", err)
	}
	handle, err := t.mapAt(remote, ref, writable, gfn)
	if err != nil {
		t.mem.FreeFrame(gfn)
		return nil, fmt.Errorf("gnttab: mapping reference %d of domain %d: %w", ref, remote, err)
	}
	return &Mapping{
		Page: t.mem.PageAt(gfn), Remote: remote, Ref: ref,
		gfn: gfn, handle: handle, open: true,
	}, nil
}

func (t *Table) mapAt(remote abi.DomID, ref Ref, writable bool, gfn uint64) (uint32, error) {
	le := binary.LittleEndian
	flags := uint32(abi.GNTMAP_host_map)
	if !writable {
		flags |= abi.GNTMAP_readonly
	}
	for range eagainTries {
		var arg [abi.GnttabMapSize]byte
		le.PutUint64(arg[abi.GnttabMapHostAddr:], gfn*abi.PageSize)
		le.PutUint32(arg[abi.GnttabMapFlags:], flags)
		le.PutUint32(arg[abi.GnttabMapRef:], uint32(ref))
		le.PutUint16(arg[abi.GnttabMapDom:], uint16(remote))
		err := t.op(abi.GNTTABOP_map_grant_ref, arg[:], abi.GnttabMapStatus)
		if err == nil {
			return le.Uint32(arg[abi.GnttabMapHandle:]), nil
		}
		if !errors.Is(err, abi.GNTST_eagain) {
			return 0, err
		}
	}
	return 0, abi.GNTST_eagain
}

// Unmap implements Grants. The frame is used again only when Xen confirms that
// nothing is mapped there any more.
func (t *Table) Unmap(m *Mapping) error {
	if m == nil || !m.open {
		return fmt.Errorf("%w: mapping is not open", ErrBadRef)
	}
	m.open = false
	m.Page.Detach()
	var arg [abi.GnttabUnmapSize]byte
	le := binary.LittleEndian
	le.PutUint64(arg[abi.GnttabUnmapHostAddr:], m.gfn*abi.PageSize)
	le.PutUint32(arg[abi.GnttabUnmapHandle:], m.handle)
	if err := t.op(abi.GNTTABOP_unmap_grant_ref, arg[:], abi.GnttabUnmapStatus); err != nil {
		return fmt.Errorf("gnttab: unmapping reference %d of domain %d: %w", m.Ref, m.Remote, err)
	}
	t.mem.FreeFrame(m.gfn)
	return nil
}
