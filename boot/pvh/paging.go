//go:build tamago

package pvh

import "xenvtpm/boot/pvh/segments"

// Page table bits (APM vol. 2, 5.4.1).
const (
	bitPresent = 1 << 0
	bitWrite   = 1 << 1
	bitPWT     = 1 << 3
	bitPCD     = 1 << 4
	bitLarge   = 1 << 7
	bitNX      = 1 << 63

	uncached = bitPCD | bitPWT // PAT entry 3, UC, as after reset
)

// defined in entry.s
func loadCR3()

//go:nosplit
func nx() uint64 {
	if noExecute != 0 {
		return bitNX
	}
	return 0
}

// Protect narrows the entry code's page tables down to what exists: nothing
// behind the RAM, nothing executable but the image's text and the hypercall
// page, nothing writable that the linker wants read-only. It reports false if
// the image has no readable program headers or is too large for the tables;
// memory then stays writable and executable. Before the runtime is up.
//
//go:nosplit
func Protect() bool {
	clearBehind(ramEnd)
	ok := protectImage()
	protectStack()
	loadCR3()
	return ok
}

//go:nosplit
func clearBehind(end uintptr) {
	for i := uintptr(1); i < 4*512; i++ {
		e := uintptr(pd0) + i*8
		switch {
		case i*largePage >= end:
			store64(e, 0)
		case i >= tables: // heap; the image's tables follow in protectImage
			store64(e, load64(e)|nx())
		}
	}
}

// protectImage maps the first tables*2 MB in small pages. Every entry is written
// once, with its final value, and a table is linked in when it is complete: the
// code that runs here, and the exception handlers, are among these pages, and
// the processor may look at an entry at any moment.
//
//go:nosplit
func protectImage() bool {
	if image.End() == 0 || image.End() > tables*largePage {
		return false
	}
	for a := uintptr(pageSize); a < tables*largePage; a += pageSize {
		store64(pt0+a/pageSize*8, entry(a))
	}
	for t := uintptr(0); t < tables; t++ {
		store64(pd0+t*8, uint64(pt0+t*pageSize)|bitWrite|bitPresent)
	}
	return true
}

// protectStack maps the 2 MB that hold the first stack's guard in small pages,
// where protectImage has not, and nothing behind the RAM.
//
//go:nosplit
func protectStack() {
	region := stackGuard &^ (largePage - 1)
	if region < tables*largePage {
		return
	}
	for i := uintptr(0); i < largePage/pageSize; i++ {
		bits := uint64(0)
		if a := region + i*pageSize; a < ramEnd {
			bits = entry(a)
		}
		store64(ptStack+i*8, bits)
	}
	store64(pd0+region/largePage*8, ptStack|bitWrite|bitPresent)
}

// entry returns the page table entry of the page at a.
//
//go:nosplit
func entry(a uintptr) uint64 {
	switch {
	case a == trapGuard, a == bootGuard, a == stackGuard:
		return 0
	case a == hypercallPage:
		return hypercallPage | bitPresent
	}
	flags, ok := image.At(uint64(a))
	if !ok {
		flags = segments.Write
	}
	bits := uint64(a) | bitPresent
	if flags&segments.Write != 0 {
		bits |= bitWrite
	}
	if flags&segments.Execute == 0 {
		bits |= nx()
	}
	return bits
}

// ImageEnd is the end of the image in memory, .bss included; 0 if Protect could
// not read the program headers.
//
//go:nosplit
func ImageEnd() uintptr { return uintptr(image.End()) }

// MapShared makes the 2 MB regions that hold [addr, addr+size) accessible as
// ordinary (write-back) memory: pages shared with Xen or other domains.
//
//go:nosplit
func MapShared(addr, size uintptr) { mapRegion(addr, size, 0) }

// MapDevice makes the 2 MB regions that hold [addr, addr+size) accessible
// without caching: registers.
//
//go:nosplit
func MapDevice(addr, size uintptr) { mapRegion(addr, size, uncached) }

//go:nosplit
func mapRegion(addr, size uintptr, bits uint64) {
	for a := addr &^ (largePage - 1); a < addr+size; a += largePage {
		if a >= ramEnd && a < fourGigabyte {
			store64(pd0+a/largePage*8, uint64(a)|bits|bitLarge|bitWrite|bitPresent|nx())
		}
	}
	loadCR3()
}
