package blkfront

import (
	"errors"
	"testing"

	"xenvtpm/board/xen/xenstore"
)

// nodes is a backend's directory.
type nodes map[string]string

func (n nodes) Read(path string) (string, error) {
	v, ok := n[path]
	if !ok {
		return "", xenstore.ErrNotExist
	}
	return v, nil
}

// FuzzShape lets a backend say anything of its disk.
func FuzzShape(f *testing.F) {
	f.Add("2048", "512", "0", "1", "0")
	f.Add("2049", "4096", "4", "0", "1")
	f.Add("18446744073709551615", "18446744073709551615", "-1", "", "2")
	f.Add("1125899906842624", "1", "0", "1", "1")
	f.Fuzz(func(t *testing.T, sectors, unit, info, flush, barrier string) {
		s, err := readShape(nodes{"d/sectors": sectors, "d/sector-size": unit, "d/info": info,
			"d/feature-flush-cache": flush, "d/feature-barrier": barrier}, "d")
		if err != nil {
			return
		}
		if s.size <= 0 || s.size%s.sector != 0 || s.sector < SectorSize || s.sector > 4096 || s.size > maxSectors*SectorSize {
			t.Fatalf("took %+v", s)
		}
		if !s.readOnly && flush != "1" {
			t.Fatal("took a disk without a flush")
		}
	})
}

func TestShape(t *testing.T) {
	s, err := readShape(nodes{"d/sectors": "17", "d/feature-flush-cache": "1"}, "d")
	if err != nil || s.size != 17*512 || s.sector != 512 || s.readOnly {
		t.Fatalf("defaults: %+v %v", s, err)
	}
}

// What a backend says of flushes, and by which name it is refused.
func TestShapeFlush(t *testing.T) {
	for _, c := range []struct {
		flush, barrier, tapdisk string // "": no such node
		want                    error
	}{
		{"1", "", "", nil},
		{"1", "1", "", nil},
		{"1", "0", "", nil},
		{"", "", "", ErrNoFlush},
		{"0", "0", "", ErrNoFlush},
		{"", "1", "", ErrBarrierOnly},
		{"0", "1", "", ErrBarrierOnly},
		{"1", "", "vhd:/d.vhd", ErrTapdisk},
		{"", "1", "vhd:/d.vhd", ErrTapdisk},
	} {
		n := nodes{"d/sectors": "17"}
		for name, v := range map[string]string{"feature-flush-cache": c.flush, "feature-barrier": c.barrier, "tapdisk-params": c.tapdisk} {
			if v != "" {
				n["d/"+name] = v
			}
		}
		if _, err := readShape(n, "d"); !errors.Is(err, c.want) {
			t.Errorf("%v: got %v, want %v", n, err, c.want)
		}
		n["d/info"] = "4" // VDISK_READONLY
		if s, err := readShape(n, "d"); err != nil || !s.readOnly {
			t.Errorf("%v, read-only: %v", n, err)
		}
	}
}
