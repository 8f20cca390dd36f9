package manager

import (
	"crypto/rand"
	"encoding/binary"
	"runtime"
	"testing"

	"xenvtpm/vtpmmgr-stub/proto"
)

// plainDisk is a disk in memory.
type plainDisk []byte

func (d plainDisk) ReadAt(p []byte, off int64) (int, error)  { return copy(p, d[off:]), nil }
func (d plainDisk) WriteAt(p []byte, off int64) (int, error) { return copy(d[off:], p), nil }
func (d plainDisk) Flush() error                             { return nil }
func (d plainDisk) Size() int64                              { return int64(len(d)) }

// A manager with 100,000 vTPMs fits into its 24 MB domain, of which some 16 MB are
// for the heap: what it holds stays small however it is used.
func TestLargeStoreInLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 vTPMs")
	}
	const vtpms, clients, limit = 100_000, 256, 8 << 20
	d, hw := make(plainDisk, 64<<20), newTPM()
	c := Config{Disk: d, HW: hw, PCRs: selection, Rand: rand.Reader}
	m := start(t, c)
	number := func(i int) (u proto.UUID) {
		binary.BigEndian.PutUint32(u[:], uint32(i)*2654435761) // all over the tree
		u[15] = 1
		return u
	}
	var worst uint64
	held := func(before uint64) {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		worst = max(worst, s.HeapAlloc-min(before, s.HeapAlloc))
	}
	save := func(from int) {
		batch := make([]Request, clients)
		for i := range batch {
			batch[i] = Request{Client: ClientID{Domain: uint16(i)}, UUID: number(from + i), Frame: saveFrame(record(from + i))}
		}
		for _, rsp := range m.Handle(batch) {
			if r, err := proto.ParseResponse(rsp); err != nil || r.Result != proto.Success {
				t.Fatal(r, err)
			}
		}
		for i := range batch {
			m.Disconnected(batch[i].Client)
		}
	}
	for i := 0; i < vtpms; i += clients {
		save(i)
	}
	m = nil
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	before := s.HeapAlloc

	m = start(t, c)
	held(before)
	if n := m.store.Count(); n < vtpms {
		t.Fatalf("%d entries", n)
	}
	for i := range 40 {
		save(i * 2300)
	}
	held(before)
	admin := &proto.Client{S: client{m: m, admin: true}}
	listed, req := 0, proto.ListRequest{}
	for {
		var page proto.List
		if err := admin.Admin(proto.OrdList, req, &page); err != nil {
			t.Fatal(err)
		}
		listed += len(page.VTPMs)
		if !page.More {
			break
		}
		req.After = &page.VTPMs[len(page.VTPMs)-1].UUID
	}
	held(before)
	saved := 0
	for _, p := range backup(t, &site{t: t, m: m, a: admin}) {
		saved += len(p.Box)
	}
	held(before)
	runtime.KeepAlive(d)
	t.Logf("%d vTPMs listed, backup of %d bytes, the manager held at most %d KiB", listed, saved, worst>>10)
	if listed < vtpms || worst > limit {
		t.Errorf("%d vTPMs listed, %d bytes held, want at most %d", listed, worst, limit)
	}
}
