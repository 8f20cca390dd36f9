package segments

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"testing"
)

// segment is one program header of a made-up image.
type segment struct {
	typ         elf.ProgType
	flags       uint32
	start, size uint64
}

// header makes the first page of an image. The three loads are those of a
// TamaGo image.
var image = []segment{
	{elf.PT_PHDR, 4, 0x100040, 0x150},
	{elf.PT_NOTE, 4, 0x100f78, 0x64},
	{elf.PT_LOAD, 5, 0x100000, 0x8f9f1},
	{elf.PT_LOAD, 4, 0x190000, 0xc7f38},
	{elf.PT_LOAD, 6, 0x258000, 0x35080},
	{elf.PT_GNU_STACK, 6, 0, 0},
}

func header(list []segment) *[PageSize]byte {
	page := new([PageSize]byte)
	le := binary.LittleEndian
	copy(page[:], "\x7fELF\x02\x01\x01")
	le.PutUint64(page[ePhoff:], 64)
	le.PutUint16(page[ePhsize:], phSize)
	le.PutUint16(page[ePhnum:], uint16(len(list)))
	for i, s := range list {
		p := page[64+i*phSize:]
		le.PutUint32(p[pType:], uint32(s.typ))
		le.PutUint32(p[pFlags:], s.flags)
		le.PutUint64(p[pVaddr:], s.start)
		le.PutUint64(p[pMemsz:], s.size)
	}
	return page
}

func TestImage(t *testing.T) {
	var table Table
	if !table.Parse(header(image)) {
		t.Fatal("the header is refused")
	}
	for _, c := range []struct {
		addr  uint64
		flags uint32
		ok    bool
	}{
		{0xff000, 0, false},
		{0x100000, Read | Execute, true},
		{0x18f000, Read | Execute, true}, // the last, partial page
		{0x190000, Read, true},
		{0x257000, Read, true},
		{0x258000, Read | Write, true},
		{0x28d000, Read | Write, true},
		{0x28e000, 0, false},
	} {
		if flags, ok := table.At(c.addr); flags != c.flags || ok != c.ok {
			t.Errorf("At(%#x) = %d, %v, want %d, %v", c.addr, flags, ok, c.flags, c.ok)
		}
	}
	if table.End() != 0x28d080 {
		t.Errorf("End = %#x", table.End())
	}
	if c := table.Code(); c.Start != 0x100000 || c.End != 0x18f9f1 {
		t.Errorf("Code = %+v", c)
	}
}

func TestRefused(t *testing.T) {
	change := func(f func(p *[PageSize]byte)) *[PageSize]byte {
		p := header(image)
		f(p)
		return p
	}
	load := func(extra ...segment) *[PageSize]byte { return header(append(extra, image...)) }
	for name, page := range map[string]*[PageSize]byte{
		"empty page":       new([PageSize]byte),
		"32-bit":           change(func(p *[PageSize]byte) { p[classOff] = 1 }),
		"header size":      change(func(p *[PageSize]byte) { p[ePhsize] = 32 }),
		"no headers":       header(nil),
		"nothing loaded":   header(image[:2]),
		"too many headers": change(func(p *[PageSize]byte) { p[ePhnum] = Max + 1 }),
		"headers outside":  change(func(p *[PageSize]byte) { p[ePhoff+1] = 0x0F }),
		"headers far away": change(func(p *[PageSize]byte) { p[ePhoff+7] = 0xFF }),
		"empty segment":    load(segment{elf.PT_LOAD, 5, 0x400000, 0}),
		"wraps around":     load(segment{elf.PT_LOAD, 5, 0x400000, 1<<64 - 0x400000}),
		"same page":        load(segment{elf.PT_LOAD, 6, 0x28d800, 0x10}),
		"inside another":   load(segment{elf.PT_LOAD, 6, 0x1a0000, 0x10}),
	} {
		var table Table
		if table.Parse(page) {
			t.Errorf("%s: accepted", name)
		}
		if _, ok := table.At(0x100000); ok || table.End() != 0 {
			t.Errorf("%s: the table is not empty", name)
		}
	}
}

// The test's own program, as debug/elf sees it.
func TestOwnProgram(t *testing.T) {
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var table Table
	if !table.Parse((*[PageSize]byte)(raw)) {
		t.Fatal("refused")
	}
	checked := 0
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		checked++
		for _, addr := range []uint64{p.Vaddr, p.Vaddr + p.Memsz - 1} {
			if flags, ok := table.At(addr); !ok || elf.ProgFlag(flags) != p.Flags {
				t.Errorf("At(%#x) = %d, %v, want %v", addr, flags, ok, p.Flags)
			}
		}
	}
	if checked < 2 {
		t.Errorf("only %d segments checked", checked)
	}
}

// Whatever is in the page, Parse ends, and what it accepts makes sense.
func FuzzParse(f *testing.F) {
	f.Add(header(image)[:])
	f.Add(header(nil)[:])
	f.Add([]byte("\x7fELF\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var page [PageSize]byte
		copy(page[:], b)
		var table Table
		if !table.Parse(&page) {
			return
		}
		for i := 0; i < table.n; i++ {
			s := table.list[i]
			if flags, ok := table.At(s.Start); s.Start >= s.End || !ok || flags != s.Flags || s.End > table.End() {
				t.Fatalf("segment %d is %+v, its page has flags %d, %v", i, s, flags, ok)
			}
		}
	})
}
