//go:build tamago

package pvh

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

// ELF program header values.
const (
	elfMagic = 0x464C457F
	ptLoad   = 1
	pfX      = 1
	pfW      = 2
	phSize   = 56
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
	if load32(ImageBase) != elfMagic || phOffset() > pageSize || phCount() > 16 {
		return false
	}
	for i := uintptr(0); i < phCount(); i++ {
		start, end, flags := segment(i)
		if end > tables*largePage {
			return false
		}
		if flags&pfX != 0 {
			textStart, textEnd = start, end
		}
		imageEnd = max(imageEnd, end)
	}
	for a := uintptr(pageSize); a < tables*largePage; a += pageSize {
		store64(pt0+a/pageSize*8, access(a))
	}
	for t := uintptr(0); t < tables; t++ {
		store64(pd0+t*8, uint64(pt0+t*pageSize)|bitWrite|bitPresent)
	}
	return true
}

// access returns the entry of a page: that of the segment that it belongs to, or
// that of data.
//
//go:nosplit
func access(page uintptr) uint64 {
	switch page {
	case trapGuard, bootGuard:
		return 0
	case hypercallPage:
		return hypercallPage | bitPresent
	}
	for i := uintptr(0); i < phCount(); i++ {
		start, end, flags := segment(i)
		if page < start&^(pageSize-1) || page >= end {
			continue
		}
		bits := uint64(page) | bitPresent
		if flags&pfW != 0 {
			bits |= bitWrite
		}
		if flags&pfX == 0 {
			bits |= nx()
		}
		return bits
	}
	return uint64(page) | bitPresent | bitWrite | nx()
}

// phOffset and phCount are e_phoff and e_phnum of the ELF header.
//
//go:nosplit
func phOffset() uintptr { return uintptr(load64(ImageBase + 32)) }

//go:nosplit
func phCount() uintptr { return uintptr(load16(ImageBase + 56)) }

// segment returns what program header i loads, or nothing.
//
//go:nosplit
func segment(i uintptr) (start, end uintptr, flags uint32) {
	ph := ImageBase + phOffset() + i*phSize
	if load32(ph) != ptLoad {
		return 0, 0, 0
	}
	start = uintptr(load64(ph + 16))
	return start, start + uintptr(load64(ph+40)), load32(ph + 4)
}

// ImageEnd is the end of the image in memory, .bss included; 0 if Protect could
// not read the program headers.
func ImageEnd() uintptr { return imageEnd }

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
