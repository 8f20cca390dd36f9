package manager

import (
	"errors"
	"testing"

	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// populated is the disk of a manager with n vTPMs.
func populated(t *testing.T, size, n int) (*simDisk, *fakeTPM) {
	t.Helper()
	d, hw := newDisk(size), newTPM()
	m := start(t, quiet(d, hw))
	var batch []Request
	for i := range n {
		batch = append(batch, Request{Client: ClientID{Domain: uint16(i)}, UUID: uuid(i), Frame: saveFrame(record(i))})
	}
	for _, rsp := range m.Handle(batch) {
		if r, err := proto.ParseResponse(rsp); err != nil || r.Result != proto.Success {
			t.Fatal(r, err)
		}
	}
	return d, hw
}

// TestDamagedSectors spoils one tree sector after the other. A leaf costs its own
// vTPMs, by FAIL and never by "no record"; an inner node, or the root, costs all
// service, by name.
func TestDamagedSectors(t *testing.T) {
	const n = 2600 // enough for two inner levels
	d, hw := populated(t, 4<<20, n)
	leaves, inner, root := 0, 0, 0
	for sector := 20; sector < 1024 && (leaves < 5 || inner < 1 || root < 1); sector++ {
		img := diskOf(d.live)
		img.live[sector*store.SectorSize+200] ^= 4
		m, err := New(quiet(img, hw.restart()))
		switch {
		case errors.Is(err, store.ErrReadOnly):
			inner++
			if _, err := vtpmClient(m, 1).LoadHashKey(); !errors.Is(err, proto.Fail) {
				t.Errorf("sector %d, inner node: %v", sector, err)
			}
			continue
		case errors.Is(err, store.ErrDamaged):
			root++
			continue
		case err != nil:
			t.Fatalf("sector %d: %v", sector, err)
		}
		lost := 0
		for i := range n {
			r, err := vtpmClient(m, i).LoadHashKey()
			switch {
			case errors.Is(err, proto.Fail):
				lost++
				if err := vtpmClient(m, i).SaveHashKey(record(9)); !errors.Is(err, proto.Fail) {
					t.Errorf("sector %d: save into a damaged leaf: %v", sector, err)
				}
			case err != nil || r != record(i):
				t.Fatalf("sector %d, vTPM %d: %v", sector, i, err)
			}
		}
		if lost == 0 {
			continue // a free sector
		}
		leaves++
		if lost > 40 {
			t.Errorf("sector %d: %d vTPMs lost with one leaf", sector, lost)
		}
		if err := vtpmClient(m, n+1).SaveHashKey(record(1)); err != nil && !errors.Is(err, proto.Fail) {
			t.Errorf("sector %d: a new vTPM: %v", sector, err)
		}
		if m.Degraded() != nil {
			t.Errorf("sector %d: one leaf degrades all: %v", sector, m.Degraded())
		}
		admin := &proto.Client{S: client{m: m, admin: true}}
		var e proto.Events
		if err := admin.Admin(proto.OrdEvents, proto.EventsRequest{}, &e); err != nil || len(e.Events) == 0 {
			t.Errorf("sector %d: no event: %v", sector, err)
		}
	}
	if leaves == 0 || inner == 0 || root == 0 {
		t.Errorf("%d leaves, %d inner nodes, %d roots: a case was never taken", leaves, inner, root)
	}
}
