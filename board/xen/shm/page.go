// Package shm gives bounded, atomic access to a page of memory that another
// domain can write at any time.
//
// Threat model: the other side is hostile and races every access. Nothing
// here hands out a slice or a struct pointer into the page; a field is loaded
// once, into a value of our own, and the value is checked and used.
//
// On amd64 the loads and stores are single instructions with the memory order
// of the architecture (loads are not reordered with loads, nor stores with
// stores); Store* are full barriers where sync/atomic makes them so. Barrier
// orders a store before a later load, the one case that x86 does not.
package shm

import (
	"fmt"
	"sync/atomic"
)

// PageSize is the size of a Page in bytes.
const PageSize = 4096

// A Page is one page that a peer can write. The zero Page is not usable.
//
// Offsets must be aligned to the size of the access. A fixed offset that is
// out of range or misaligned is a bug of the caller and panics; CopyIn and
// CopyOut take offsets that come from a peer and report.
type Page struct {
	mem atomic.Pointer[[PageSize]byte]
}

// FromBytes makes a Page of b, which must be PageSize long and 8-byte
// aligned. The caller must not touch b directly any more.
func FromBytes(b []byte) *Page {
	if len(b) != PageSize {
		panic(fmt.Sprintf("shm: FromBytes with %d bytes", len(b)))
	}
	p := new(Page)
	mem := (*[PageSize]byte)(b)
	if address(mem)%8 != 0 {
		panic("shm: FromBytes with unaligned memory")
	}
	p.mem.Store(mem)
	return p
}

// New allocates a zeroed page from the Go heap, aligned to PageSize.
func New() *Page {
	b := make([]byte, PageSize)
	if address((*[PageSize]byte)(b))%PageSize != 0 {
		b = make([]byte, 2*PageSize)
		skip := PageSize - int(address((*[PageSize]byte)(b))%PageSize)
		b = b[skip%PageSize:][:PageSize]
	}
	return FromBytes(b)
}

// At makes a Page of the memory at addr, which must be page-aligned and
// mapped for as long as the Page is used. For bare metal, where a guest
// physical address is an address.
func At(addr uintptr) *Page {
	if addr == 0 || addr%PageSize != 0 {
		panic(fmt.Sprintf("shm: At(%#x)", addr))
	}
	p := new(Page)
	p.mem.Store(pointer(addr))
	return p
}

// Addr is the page's address, for telling the hypervisor where it is.
func (p *Page) Addr() uintptr { return address(p.mem.Load()) }

// Detach redirects p to private memory filled with ones, which is what Xen
// shows where nothing is mapped. After an unmap a stale Page is thus harmless.
func (p *Page) Detach() {
	gone := new([PageSize]byte)
	for i := range gone {
		gone[i] = 0xFF
	}
	p.mem.Store(gone)
}

// check panics unless an access of size bytes at off is inside and aligned.
func check(off, size int) {
	if uint(off) > uint(PageSize-size) || off&(size-1) != 0 {
		panic(fmt.Sprintf("shm: %d-byte access at offset %d", size, off))
	}
}

// Load8 reads the byte at off.
func (p *Page) Load8(off int) uint8 { check(off, 1); return load8(p.u8(off)) }

// Load16 reads the little-endian uint16 at off.
func (p *Page) Load16(off int) uint16 { check(off, 2); return load16(p.u16(off)) }

// Load32 reads the little-endian uint32 at off.
func (p *Page) Load32(off int) uint32 { check(off, 4); return atomic.LoadUint32(p.u32(off)) }

// Load64 reads the little-endian uint64 at off.
func (p *Page) Load64(off int) uint64 { check(off, 8); return atomic.LoadUint64(p.u64(off)) }

// Store8 writes the byte at off. It is a full barrier.
func (p *Page) Store8(off int, v uint8) { check(off, 1); store8(p.u8(off), v) }

// Store16 writes the uint16 at off. It is a full barrier.
func (p *Page) Store16(off int, v uint16) { check(off, 2); store16(p.u16(off), v) }

// Store32 writes the uint32 at off. It is a full barrier.
func (p *Page) Store32(off int, v uint32) { check(off, 4); atomic.StoreUint32(p.u32(off), v) }

// Store64 writes the uint64 at off. It is a full barrier.
func (p *Page) Store64(off int, v uint64) { check(off, 8); atomic.StoreUint64(p.u64(off), v) }

// CompareAndSwap16 replaces old by new at off, atomically.
func (p *Page) CompareAndSwap16(off int, old, new uint16) bool {
	check(off, 2)
	return cas16(p.u16(off), old, new)
}

// CompareAndSwap32 replaces old by new at off, atomically.
func (p *Page) CompareAndSwap32(off int, old, new uint32) bool {
	check(off, 4)
	return atomic.CompareAndSwapUint32(p.u32(off), old, new)
}

// Swap64 writes v at off and returns what was there.
func (p *Page) Swap64(off int, v uint64) uint64 {
	check(off, 8)
	return atomic.SwapUint64(p.u64(off), v)
}

// And64 clears the bits at off that mask lacks and returns the old value.
func (p *Page) And64(off int, mask uint64) uint64 {
	check(off, 8)
	return atomic.AndUint64(p.u64(off), mask)
}

// Or64 sets the bits of mask at off and returns the old value.
func (p *Page) Or64(off int, mask uint64) uint64 {
	check(off, 8)
	return atomic.OrUint64(p.u64(off), mask)
}

// inside reports whether [off, off+n) lies in the page, without overflow.
func inside(off, n int) bool {
	return off >= 0 && n >= 0 && off <= PageSize && n <= PageSize-off
}

// CopyOut copies len(dst) bytes from off in the page to dst, fetching each once.
// It reports false, and copies nothing, if they do not all lie in the page.
func (p *Page) CopyOut(dst []byte, off int) bool {
	if !inside(off, len(dst)) {
		return false
	}
	if len(dst) > 0 {
		move(&dst[0], p.u8(off), len(dst))
	}
	return true
}

// CopyIn copies src to off in the page. It reports false, and copies nothing,
// if src does not fit there.
func (p *Page) CopyIn(off int, src []byte) bool {
	if !inside(off, len(src)) {
		return false
	}
	if len(src) > 0 {
		move(p.u8(off), &src[0], len(src))
	}
	return true
}

// Zero clears the page.
func (p *Page) Zero() {
	var zeros [PageSize]byte
	p.CopyIn(0, zeros[:])
	Barrier()
}

// Barrier completes all earlier loads and stores before any later one.
func Barrier() { mfence() }
