package gnttab

import (
	"encoding/binary"
	"errors"
	"testing"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/shm"
)

// script is a hypervisor and a memory that do what they are told.
type script struct {
	table    *shm.Page
	pages    map[uint64]*shm.Page
	next     uint64
	frames   int // out
	ram      int // out
	maxTable uint32

	status  []abi.GrantStatus // of the next map or unmap operations
	rc      int
	maps    int
	addFail bool
}

func newScript() *script {
	return &script{table: shm.New(), pages: map[uint64]*shm.Page{}, next: 100, maxTable: 2}
}

func (s *script) GrantTableOp(cmd uint32, arg []byte) int {
	le := binary.LittleEndian
	at := map[uint32]int{
		abi.GNTTABOP_query_size:      abi.GnttabQuerySizeStatus,
		abi.GNTTABOP_map_grant_ref:   abi.GnttabMapStatus,
		abi.GNTTABOP_unmap_grant_ref: abi.GnttabUnmapStatus,
	}[cmd]
	var status abi.GrantStatus
	if cmd == abi.GNTTABOP_query_size {
		le.PutUint32(arg[abi.GnttabQuerySizeMaxNrFrames:], s.maxTable)
	} else if len(s.status) > 0 {
		status, s.status = s.status[0], s.status[1:]
	}
	if cmd == abi.GNTTABOP_map_grant_ref {
		s.maps++
	}
	le.PutUint16(arg[at:], uint16(status))
	return s.rc
}

func (s *script) AddToPhysmap(space uint32, idx, gfn uint64) int {
	if s.addFail {
		return -int(abi.ENOMEM)
	}
	if idx == 0 {
		s.pages[gfn] = s.table
	} else {
		s.pages[gfn] = shm.New()
	}
	return 0
}

func (s *script) AllocPage() (*shm.Page, uint64, error) {
	s.ram++
	s.next++
	p := shm.New()
	p.Store64(0, ^uint64(0)) // dirty: what an earlier user left
	s.pages[s.next] = p
	return p, s.next, nil
}
func (s *script) FreePage(*shm.Page, uint64)  { s.ram-- }
func (s *script) AllocFrame() (uint64, error) { s.frames++; s.next++; return s.next, nil }
func (s *script) FreeFrame(uint64)            { s.frames-- }
func (s *script) PageAt(gfn uint64) *shm.Page {
	if p := s.pages[gfn]; p != nil {
		return shm.At(p.Addr()) // another Page of the same memory, which s.pages keeps alive
	}
	return shm.New()
}

func newTable(t *testing.T, s *script) *Table {
	t.Helper()
	tab, err := New(s, s)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestEntryLayout pins what Xen finds in an entry.
func TestEntryLayout(t *testing.T) {
	s := newScript()
	tab := newTable(t, s)
	ref, page, err := tab.Share(0x1234, false)
	if err != nil || ref != abi.GNTTAB_NR_RESERVED_ENTRIES {
		t.Fatalf("reference %d, %v", ref, err)
	}
	if page.Load64(0) != 0 {
		t.Error("what an earlier user left is shown to the peer")
	}
	entry := make([]byte, 8)
	s.table.CopyOut(entry, int(ref)*8)
	want := []byte{5, 0, 0x34, 0x12, byte(s.next), 0, 0, 0} // permit_access | readonly
	if string(entry) != string(want) {
		t.Errorf("entry %x, want %x", entry, want)
	}
	if err := tab.Unshare(ref); err != nil {
		t.Fatal(err)
	}
	if s.table.Load16(int(ref)*8) != 0 || s.ram != 0 {
		t.Error("entry is still valid, or page not freed")
	}
	page.Store64(8, 1)
	if page.Load64(0) != ^uint64(0) || s.pages[s.next].Load64(8) != 0 {
		t.Error("a stale page still works")
	}
}

// TestQuarantine: while Xen's bits say that the peer maps the page, neither
// page nor reference is used again.
func TestQuarantine(t *testing.T) {
	for _, bit := range []uint16{abi.GTF_reading, abi.GTF_writing, abi.GTF_reading | abi.GTF_writing} {
		s := newScript()
		tab := newTable(t, s)
		ref, _, err := tab.Share(1, true)
		if err != nil {
			t.Fatal(err)
		}
		off := int(ref) * abi.GrantEntrySize
		s.table.Store16(off, s.table.Load16(off)|bit)
		if err := tab.Unshare(ref); !errors.Is(err, ErrInUse) {
			t.Fatalf("%v", err)
		}
		if err := tab.Unshare(ref); !errors.Is(err, ErrBadRef) {
			t.Errorf("twice: %v", err)
		}
		if other, _, err := tab.Share(1, true); err != nil || other == ref || s.ram != 2 {
			t.Errorf("reference %d again, or %d pages out, %v", other, s.ram, err)
		}
		s.table.Store16(off, s.table.Load16(off)&^bit)
		if _, _, err := tab.Share(1, true); err != nil || s.ram != 2 {
			t.Errorf("Share did not free what the peer has let go: %d pages out, %v", s.ram, err)
		}
		if left := tab.Reap(); left != 0 {
			t.Errorf("%d left", left)
		}
	}
}

func TestTableFull(t *testing.T) {
	s := newScript()
	tab := newTable(t, s)
	n := 0
	for {
		_, _, err := tab.Share(1, true)
		if err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
		n++
	}
	if n != 2*abi.GrantEntriesPerPage-abi.GNTTAB_NR_RESERVED_ENTRIES || s.ram != n {
		t.Errorf("%d shared, %d pages out", n, s.ram)
	}
	if err := tab.Unshare(700); err != nil {
		t.Fatal(err)
	}
	if ref, _, err := tab.Share(1, true); err != nil || ref != 700 {
		t.Errorf("after a release: %d, %v", ref, err)
	}
}

func TestNewFails(t *testing.T) {
	s := newScript()
	s.rc = -int(abi.EPERM)
	if _, err := New(s, s); !errors.Is(err, abi.EPERM) {
		t.Errorf("query refused: %v", err)
	}
	s = newScript()
	s.addFail = true
	if _, err := New(s, s); !errors.Is(err, abi.ENOMEM) || s.frames != 0 {
		t.Errorf("mapping refused: %v, %d frames out", err, s.frames)
	}
	s = newScript()
	s.maxTable = 0
	if _, err := New(s, s); !errors.Is(err, ErrFull) {
		t.Errorf("no table: %v", err)
	}
}

func TestMapOutcomes(t *testing.T) {
	again := abi.GNTST_eagain
	forever := make([]abi.GrantStatus, 1000)
	for i := range forever {
		forever[i] = again
	}
	for _, tc := range []struct {
		name   string
		status []abi.GrantStatus
		want   error
		tries  int
	}{
		{"at once", nil, nil, 1},
		{"third time", []abi.GrantStatus{again, again, 0}, nil, 3},
		{"never", forever, again, eagainTries},
		{"refused", []abi.GrantStatus{abi.GNTST_bad_gntref}, abi.GNTST_bad_gntref, 1},
	} {
		s := newScript()
		tab := newTable(t, s)
		s.status = tc.status
		m, err := tab.Map(1, 77, true)
		if !errors.Is(err, tc.want) || s.maps != tc.tries {
			t.Errorf("%s: %v after %d tries", tc.name, err, s.maps)
		}
		if err != nil {
			if m != nil || s.frames != 1 {
				t.Errorf("%s: %d frames out", tc.name, s.frames)
			}
			continue
		}
		if err := tab.Unmap(m); err != nil || s.frames != 1 || m.Page.Load8(0) != 0xFF {
			t.Errorf("%s: unmap: %v, %d frames out", tc.name, err, s.frames)
		}
	}
}

// TestUnmapRefused: a frame where Xen may still have something mapped is never
// used again.
func TestUnmapRefused(t *testing.T) {
	s := newScript()
	tab := newTable(t, s)
	m, err := tab.Map(1, 77, true)
	if err != nil {
		t.Fatal(err)
	}
	s.status = []abi.GrantStatus{abi.GNTST_bad_handle}
	if err := tab.Unmap(m); !errors.Is(err, abi.GNTST_bad_handle) || s.frames != 2 {
		t.Errorf("%v, %d frames out", err, s.frames)
	}
	if err := tab.Unmap(m); !errors.Is(err, ErrBadRef) {
		t.Errorf("again: %v", err)
	}
	if err := tab.Unmap(nil); !errors.Is(err, ErrBadRef) {
		t.Errorf("nil: %v", err)
	}
}
