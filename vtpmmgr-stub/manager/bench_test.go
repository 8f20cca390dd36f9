package manager

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

// fileDisk is a file with real flushes.
type fileDisk struct {
	*os.File
	size int64
}

func (d fileDisk) Flush() error { return d.Sync() }
func (d fileDisk) Size() int64  { return d.size }

func newFileDisk(b *testing.B, size int64) fileDisk {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "disk"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	if err := f.Truncate(size); err != nil {
		b.Fatal(err)
	}
	return fileDisk{f, size}
}

// benchManager is a manager on a file, with a swtpm as its hardware.
func benchManager(b *testing.B, off bool) (*Manager, fileDisk, Hardware) {
	b.Helper()
	hw, err := hwtpm.Open(swtpmtest.Start(b, true), hwtpm.Config{})
	if err != nil {
		b.Fatal(err)
	}
	d := newFileDisk(b, 64<<20)
	m, err := New(Config{Disk: d, HW: hw, PCRs: selection, Rand: rand.Reader, RollbackOff: off})
	if err != nil {
		b.Fatal(err)
	}
	return m, d, hw
}

// BenchmarkSave: saves a second with so many clients waiting at a time.
func BenchmarkSave(b *testing.B) {
	for _, off := range []bool{false, true} {
		for _, clients := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("rollback=%s/clients=%d", map[bool]string{false: "strict", true: "off"}[off], clients), func(b *testing.B) {
				m, _, _ := benchManager(b, off)
				batch := make([]Request, clients)
				for i := range batch {
					batch[i] = Request{Client: ClientID{Domain: uint16(i)}, UUID: uuid(i), Frame: saveFrame(record(i))}
				}
				n := 0
				for b.Loop() {
					for _, rsp := range m.Handle(batch) {
						if r, err := proto.ParseResponse(rsp); err != nil || r.Result != proto.Success {
							b.Fatal(r, err)
						}
						n++
					}
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "saves/s")
			})
		}
	}
}

// BenchmarkStart100k: from the probe of the disk to serving, with 100,000 vTPMs.
func BenchmarkStart100k(b *testing.B) {
	m, d, hw := benchManager(b, false)
	for i := range 100_000 {
		u := proto.UUID{byte(i >> 16), byte(i >> 8), byte(i)}
		box, err := m.groups[defaultGroup].box.Seal(nil, make([]byte, 64), recordAAD(u, defaultGroup))
		if err != nil {
			b.Fatal(err)
		}
		if err := m.put(u, vtpm{sealed: box}); err != nil {
			b.Fatal(err)
		}
		if m.store.Dirty() > maxDirty {
			if err := m.commit(nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := m.commit(nil); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := New(Config{Disk: d, HW: hw, PCRs: selection, Rand: rand.Reader}); err != nil {
			b.Fatal(err)
		}
	}
}
