package store

import (
	"bytes"
	"crypto/rand"
	"errors"
	mrand "math/rand/v2"
	"testing"
)

// simDisk is a disk in memory that remembers which writes have not been
// flushed, so that a test can look at what a power cut would leave.
type simDisk struct {
	live, durable []byte
	pending       []pendingWrite
	event         func() // after each write and each flush
	failWrite     error
	failFlush     error
	writes        int // sectors written
	reads         int
}

type pendingWrite struct {
	off  int64
	data []byte
}

func newSimDisk(size int) *simDisk {
	return &simDisk{live: make([]byte, size), durable: make([]byte, size)}
}

// diskOf is a disk with the given content, all of it durable.
func diskOf(b []byte) *simDisk { return &simDisk{live: bytes.Clone(b), durable: bytes.Clone(b)} }

func (d *simDisk) Size() int64 { return int64(len(d.live)) }

func (d *simDisk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > d.Size() || off%512 != 0 || len(p)%512 != 0 {
		return 0, errors.New("read outside the disk or unaligned")
	}
	d.reads++
	return copy(p, d.live[off:]), nil
}

func (d *simDisk) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > d.Size() || off%512 != 0 || len(p)%512 != 0 {
		return 0, errors.New("write outside the disk or unaligned")
	}
	if d.failWrite != nil {
		return 0, d.failWrite
	}
	copy(d.live[off:], p)
	d.pending = append(d.pending, pendingWrite{off, bytes.Clone(p)})
	d.writes += len(p) / SectorSize
	if d.event != nil {
		d.event()
	}
	return len(p), nil
}

func (d *simDisk) Flush() error {
	if d.failFlush != nil {
		return d.failFlush
	}
	for _, w := range d.pending {
		copy(d.durable[w.off:], w.data)
	}
	d.pending = nil
	if d.event != nil {
		d.event()
	}
	return nil
}

// afterCut is the disk that a power cut now leaves: of the writes since the last
// flush, each 512-byte piece may have got there or not, in any order. It is to be
// used before d changes again.
func (d *simDisk) afterCut(r *mrand.Rand) *cutDisk {
	c := &cutDisk{base: d.durable, over: map[int64][]byte{}}
	p := r.Float64()
	for _, w := range d.pending {
		for i := 0; i < len(w.data); i += 512 {
			if r.Float64() < p {
				c.over[w.off+int64(i)] = w.data[i : i+512]
			}
		}
	}
	return c
}

// cutDisk is a disk over another's content, by pieces of 512 bytes, so that a
// test of thousands of cuts copies no disks.
type cutDisk struct {
	base []byte
	over map[int64][]byte
}

func (c *cutDisk) Size() int64  { return int64(len(c.base)) }
func (c *cutDisk) Flush() error { return nil }

func (c *cutDisk) ReadAt(p []byte, off int64) (int, error) {
	copy(p, c.base[off:])
	for i := int64(0); i < int64(len(p)); i += 512 {
		if b, ok := c.over[off+i]; ok {
			copy(p[i:], b)
		}
	}
	return len(p), nil
}

func (c *cutDisk) WriteAt(p []byte, off int64) (int, error) {
	for i := int64(0); i < int64(len(p)); i += 512 {
		c.over[off+i] = bytes.Clone(p[i : i+512])
	}
	return len(p), nil
}

// flat is its content on a disk of its own.
func (c *cutDisk) flat() *simDisk {
	b := make([]byte, len(c.base))
	_, _ = c.ReadAt(b, 0) // does not fail
	return diskOf(b)
}

var testKey = bytes.Repeat([]byte{0x42}, 32)

var testID = ID{1, 2, 3}

func testConfig() Config { return Config{Key: testKey, Rand: rand.Reader} }

func mustFormat(t testing.TB, d Disk) *Store {
	t.Helper()
	if err := Begin(d, nil, testID); err != nil {
		t.Fatal(err)
	}
	s, err := Format(d, testID, []byte("sealed"), 1, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func reopen(d Disk) (*Store, error) {
	p, err := Probe(d)
	if err != nil {
		return nil, err
	}
	return Open(d, p, testConfig())
}

func contents(t testing.TB, s *Store) map[Key]string {
	t.Helper()
	m := map[Key]string{}
	var last *Key
	if err := s.Scan(Key{}, func(k Key, v []byte) bool {
		if last != nil && last.Compare(k) >= 0 {
			t.Fatalf("scan out of order: %x after %x", k, *last)
		}
		last = &k
		m[k] = string(v)
		return true
	}, func(k Key, err error) { t.Fatalf("damaged at %x: %v", k, err) }); err != nil {
		t.Fatal(err)
	}
	return m
}
