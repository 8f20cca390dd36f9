// Package segments tells from an image's own ELF header which pages hold code,
// constants and data. The entry code uses it on the header page that the
// linker puts in front of the code, before the Go runtime is up: nothing here
// allocates, panics or checks the stack.
//
// Reference: ELF-64 Object File Format 1.5, chapters 2 and 6. The header is
// part of the image and so is trusted, but it may be missing or not be where
// we look, so everything is checked.
package segments

// PageSize is the unit of protection.
const PageSize = 4096

// Max is the largest number of program headers accepted. Images have six.
const Max = 16

// A Segment is a piece of memory that is loaded from the image.
type Segment struct {
	Start, End uint64 // addresses; End is behind the last byte, zeroed ones included
	Flags      uint32 // Execute, Write, Read
}

// Flags of a segment (p_flags).
const (
	Execute = 1
	Write   = 2
	Read    = 4
)

// Table is the segments of one image.
type Table struct {
	list [Max]Segment
	n    int
}

// Offsets in the ELF header and in a program header.
const (
	magic    = 0x464C457F // \x7fELF
	class64  = 2
	ePhoff   = 32
	ePhsize  = 54
	ePhnum   = 56
	phSize   = 56
	pType    = 0
	pFlags   = 4
	pVaddr   = 16
	pMemsz   = 40
	ptLoad   = 1
	classOff = 4
)

// Parse fills t from the page that starts with the ELF header. It reports false
// if that is no such page, or if anything about it makes no sense.
//
//go:nosplit
func (t *Table) Parse(page *[PageSize]byte) bool {
	t.n = 0
	phoff, count := le(page, ePhoff, 8), le(page, ePhnum, 2)
	if le(page, 0, 4) != magic || page[classOff] != class64 || le(page, ePhsize, 2) != phSize ||
		count == 0 || count > Max || phoff > PageSize-Max*phSize {
		return false
	}
	for i := uint64(0); i < count; i++ {
		at := phoff + i*phSize
		if le(page, at+pType, 4) != ptLoad {
			continue
		}
		s := Segment{Start: le(page, at+pVaddr, 8), Flags: uint32(le(page, at+pFlags, 4))}
		s.End = s.Start + le(page, at+pMemsz, 8)
		if s.End <= s.Start || t.overlaps(s) {
			t.n = 0
			return false
		}
		t.list[t.n] = s
		t.n++
	}
	return t.n > 0
}

// overlaps reports whether s shares a page with a segment of the table: then
// its protection would be undefined.
//
//go:nosplit
func (t *Table) overlaps(s Segment) bool {
	for i := 0; i < t.n; i++ {
		o := &t.list[i]
		if s.Start&^(PageSize-1) < o.End && o.Start&^(PageSize-1) < s.End {
			return true
		}
	}
	return false
}

// At returns the flags of the page at addr, and false if no segment has any of
// it.
//
//go:nosplit
func (t *Table) At(addr uint64) (flags uint32, ok bool) {
	for i := 0; i < t.n; i++ {
		s := &t.list[i]
		if addr >= s.Start&^(PageSize-1) && addr < s.End {
			return s.Flags, true
		}
	}
	return 0, false
}

// End is the end of the last segment, 0 for an empty table.
//
//go:nosplit
func (t *Table) End() uint64 {
	end := uint64(0)
	for i := 0; i < t.n; i++ {
		end = max(end, t.list[i].End)
	}
	return end
}

// Code returns the first executable segment, or an empty one.
//
//go:nosplit
func (t *Table) Code() Segment {
	for i := 0; i < t.n; i++ {
		if t.list[i].Flags&Execute != 0 {
			return t.list[i]
		}
	}
	return Segment{}
}

// le reads n little-endian bytes at off, which the caller has checked.
//
//go:nosplit
func le(page *[PageSize]byte, off, n uint64) uint64 {
	v := uint64(0)
	for i := n; i > 0; i-- {
		v = v<<8 | uint64(page[(off+i-1)%PageSize])
	}
	return v
}
