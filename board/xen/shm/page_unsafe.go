package shm

import "unsafe"

// The accessors below are the only pointer arithmetic of the package.
//
// SAFETY: every caller has checked that off lies in the page and is aligned
// for the size (check or inside), and mem points at PageSize bytes that stay
// mapped: Go memory that mem itself keeps alive, or memory outside the Go heap
// that At's caller vouches for.

func (p *Page) u8(off int) *uint8 {
	return (*uint8)(unsafe.Add(unsafe.Pointer(p.mem.Load()), off))
}

func (p *Page) u16(off int) *uint16 {
	return (*uint16)(unsafe.Add(unsafe.Pointer(p.mem.Load()), off))
}

func (p *Page) u32(off int) *uint32 {
	return (*uint32)(unsafe.Add(unsafe.Pointer(p.mem.Load()), off))
}

func (p *Page) u64(off int) *uint64 {
	return (*uint64)(unsafe.Add(unsafe.Pointer(p.mem.Load()), off))
}

func address(mem *[PageSize]byte) uintptr { return uintptr(unsafe.Pointer(mem)) }

// pointer turns an address outside the Go heap into a pointer.
//
// SAFETY: the address is a mapped page of a bare-metal guest. Reading the bits
// through a pointer to the variable says "this is no pointer into the Go heap"
// to go vet as well.
func pointer(addr uintptr) *[PageSize]byte {
	return *(**[PageSize]byte)(unsafe.Pointer(&addr))
}
