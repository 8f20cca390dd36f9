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
		if !s.readOnly && flush != "1" && barrier != "1" {
			t.Fatal("took a disk without a flush")
		}
	})
}

func TestShape(t *testing.T) {
	s, err := readShape(nodes{"d/sectors": "17", "d/feature-flush-cache": "1"}, "d")
	if err != nil || s.size != 17*512 || s.sector != 512 || s.readOnly {
		t.Fatalf("defaults: %+v %v", s, err)
	}
	if _, err := readShape(nodes{"d/sectors": "17"}, "d"); !errors.Is(err, ErrNoFlush) {
		t.Fatalf("no flush: %v", err)
	}
}
