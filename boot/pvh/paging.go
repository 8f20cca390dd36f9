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

// protectImage maps the first tables*2 MB in small pages, data by default,
// and then goes through the image's segments.
//
//go:nosplit
func protectImage() bool {
	phoff, phnum := uintptr(load64(ImageBase+32)), uintptr(load16(ImageBase+56))
	if load32(ImageBase) != elfMagic || phoff > pageSize || phnum > 16 {
		return false
	}
	for i := uintptr(0); i < phnum; i++ {
		if _, end, _ := segment(phoff, i); end > tables*largePage {
			return false
		}
	}
	smallPages()
	for i := uintptr(0); i < phnum; i++ {
		start, end, flags := segment(phoff, i)
		if flags&pfX != 0 {
			textStart, textEnd = start, end
		}
		imageEnd = max(imageEnd, end)
		protectRange(start, end, flags)
	}
	setPage(hypercallPage, bitPresent)
	return true
}

// segment returns what program header i loads, or nothing.
//
//go:nosplit
func segment(phoff, i uintptr) (start, end uintptr, flags uint32) {
	ph := ImageBase + phoff + i*phSize
	if load32(ph) != ptLoad {
		return 0, 0, 0
	}
	start = uintptr(load64(ph + 16))
	return start, start + uintptr(load64(ph+40)), load32(ph + 4)
}

//go:nosplit
func smallPages() {
	for a := uintptr(bootStack); a < tables*largePage; a += pageSize {
		setPage(a, bitPresent|bitWrite|nx())
	}
	for t := uintptr(0); t < tables; t++ {
		store64(pd0+t*8, uint64(pt0+t*pageSize)|bitWrite|bitPresent)
	}
}

//go:nosplit
func protectRange(start, end uintptr, flags uint32) {
	bits := uint64(bitPresent)
	if flags&pfW != 0 {
		bits |= bitWrite
	}
	if flags&pfX == 0 {
		bits |= nx()
	}
	for a := start &^ (pageSize - 1); a < end; a += pageSize {
		setPage(a, bits)
	}
}

//go:nosplit
func setPage(a uintptr, bits uint64) {
	store64(pt0+a/pageSize*8, uint64(a)|bits)
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
