package manager

import (
	"bytes"
	"errors"
	mrand "math/rand/v2"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// TestCrash cuts the power at every write, flush, increment and anchor change,
// from the making of the store on. Whatever was acknowledged must be there, and
// the manager must start.
func TestCrash(t *testing.T) {
	r := mrand.New(mrand.NewPCG(21, 22))
	rounds := 6
	if testing.Short() {
		rounds = 1
	}
	cuts, twice := 0, 0
	for range rounds {
		d, hw := newDisk(diskSize), newTPM()
		acked := map[int]proto.Record{}
		saving := map[int]proto.Record{}
		check := func() {
			cuts++
			disk, tpm := d.afterCut(r), hw.restart()
			if cuts%5 == 0 { // and cut that start, too
				disk, tpm = cutStart(t, r, disk, tpm)
				twice++
			}
			m, err := New(quiet(disk, tpm))
			if err != nil {
				t.Fatalf("cut %d: %v", cuts, err)
			}
			for n := range 30 {
				got, err := vtpmClient(m, n).LoadHashKey()
				old, had := acked[n]
				next, busy := saving[n]
				switch {
				case err == nil && (had && got == old || busy && got == next):
				case errors.Is(err, proto.ErrNoRecord) && !had:
				default:
					t.Fatalf("cut %d, vTPM %d: %v", cuts, n, err)
				}
			}
		}
		d.event, hw.event = check, check
		m := start(t, quiet(d, hw))
		for i := range 40 {
			var batch []Request
			for range 1 + r.IntN(4) {
				n := r.IntN(30)
				if _, dup := saving[n]; dup {
					continue
				}
				saving[n] = record(i + n)
				batch = append(batch, Request{Client: ClientID{Domain: uint16(n)}, UUID: uuid(n), Frame: saveFrame(saving[n])})
			}
			for _, rsp := range m.Handle(batch) {
				if p, err := proto.ParseResponse(rsp); err != nil || p.Result != proto.Success {
					t.Fatal(p, err)
				}
			}
			for n, rec := range saving {
				acked[n] = rec
			}
			clear(saving)
		}
	}
	t.Logf("%d cuts, %d of them with a second cut while starting", cuts, twice)
	if cuts < 200*rounds {
		t.Error("too few cuts: the test no longer tests")
	}
}

// cutStart starts a manager and cuts the power at a random event.
func cutStart(t *testing.T, r *mrand.Rand, d *simDisk, hw *fakeTPM) (*simDisk, *fakeTPM) {
	d2, hw2 := d, hw
	left := r.IntN(12)
	ev := func() {
		if left--; left == 0 {
			d2, hw2 = d.afterCut(r), hw.restart()
		}
	}
	d.event, hw.event = ev, ev
	if _, err := New(quiet(d, hw)); err != nil {
		t.Fatal(err)
	}
	d.event, hw.event = nil, nil
	return d2, hw2.restart()
}

// TestReplayOfUnacknowledged: a thief keeps the disk of a commit whose increment
// never happened, and puts it back later, when the counter has that value.
func TestReplayOfUnacknowledged(t *testing.T) {
	d, hw := newDisk(diskSize), newTPM()
	m := start(t, quiet(d, hw))
	before := bytes.Clone(d.live)
	hw.fail = failOp("increment", hwtpm.ErrBusy)
	if err := vtpmClient(m, 1).SaveHashKey(record(1)); err == nil {
		t.Fatal("acknowledged without an increment")
	}
	stolen := bytes.Clone(d.live)
	d, hw = diskOf(before), hw.restart()
	m = start(t, quiet(d, hw))
	if err := vtpmClient(m, 1).SaveHashKey(record(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(quiet(diskOf(stolen), hw.restart())); !errors.Is(err, ErrRollback) {
		t.Errorf("the stolen disk: %v", err)
	}
}
