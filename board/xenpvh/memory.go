//go:build tamago

package xenpvh

import (
	"fmt"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/shm"
	"xenvtpm/boot/pvh"
)

// Guest frames outside RAM where Xen puts pages for us. Everything from here to
// devicesEnd must be free of RAM; the toolstack's own pages are above.
const (
	sharedInfoAddr = 0xDFE00000
	windowStart    = 0xE0000000 // grant table frames and foreign pages
	windowEnd      = 0xF0000000

	maxRAM = sharedInfoAddr
)

// memory implements gnttab.Memory: pages to share come from the RAM below
// 1 MB, which the Go heap does not use, frames from the window above.
type memory struct {
	pages  []uint64 // free pages, as frame numbers
	frames []uint64 // frames given back
	next   uint64   // first frame never given out
}

var _ gnttab.Memory = (*memory)(nil)

func newMemory() *memory {
	m := &memory{next: windowStart / abi.PageSize}
	for a := uint64(pvh.PoolEnd); a > pvh.PoolStart; a -= abi.PageSize {
		m.pages = append(m.pages, a/abi.PageSize-1)
	}
	return m
}

// AllocPage implements gnttab.Memory.
func (m *memory) AllocPage() (*shm.Page, uint64, error) {
	n := len(m.pages)
	if n == 0 {
		return nil, 0, fmt.Errorf("%w: all %d pages for sharing are in use",
			gnttab.ErrFull, (pvh.PoolEnd-pvh.PoolStart)/abi.PageSize)
	}
	gfn := m.pages[n-1]
	m.pages = m.pages[:n-1]
	return m.PageAt(gfn), gfn, nil
}

// FreePage implements gnttab.Memory.
func (m *memory) FreePage(p *shm.Page, gfn uint64) {
	p.Zero()
	m.pages = append(m.pages, gfn)
}

// AllocFrame implements gnttab.Memory.
func (m *memory) AllocFrame() (uint64, error) {
	if n := len(m.frames); n > 0 {
		gfn := m.frames[n-1]
		m.frames = m.frames[:n-1]
		return gfn, nil
	}
	if m.next >= windowEnd/abi.PageSize {
		return 0, fmt.Errorf("%w: the window for foreign pages is used up", gnttab.ErrFull)
	}
	m.next++
	return m.next - 1, nil
}

// FreeFrame implements gnttab.Memory.
func (m *memory) FreeFrame(gfn uint64) { m.frames = append(m.frames, gfn) }

// PageAt implements gnttab.Memory.
func (m *memory) PageAt(gfn uint64) *shm.Page { return shm.At(uintptr(gfn * abi.PageSize)) }

// mapToolstackPage gives access to a page that the toolstack has put above the
// RAM.
func mapToolstackPage(gfn uint64) *shm.Page {
	pvh.MapShared(uintptr(gfn*abi.PageSize), abi.PageSize)
	return shm.At(uintptr(gfn * abi.PageSize))
}

// heapSpace is the RAM from the end of the image to the first stack, in bytes.
func heapSpace() int64 { return int64(pvh.HeapEnd()) - int64(pvh.ImageEnd()) }
