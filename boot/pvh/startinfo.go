//go:build tamago

package pvh

import "xenvtpm/boot/pvh/segments"

// hvm_start_info lies right behind .bss, in what becomes the Go heap. capture
// copies it, the command line and the memory map out of the way; package
// startinfo parses the copies once the runtime is up.

const (
	startMagic   = 0x336EC578
	startSize    = 56
	offCmdline   = 24
	offMemmap    = 40
	memmapEntry  = 24
	memmapRAM    = 1
	maxCmdline   = 4096
	maxMemmap    = 64
	fourGigabyte = 1 << 32
)

var (
	startInfoAddr uintptr // set by the entry code
	noExecute     uintptr // not 0: the processor has NX; set by the entry code

	startInfo [startSize]byte
	cmdline   [maxCmdline]byte
	memmap    [maxMemmap * memmapEntry]byte

	cmdlineLen, memmapLen int

	// What inRAM and inText go by.
	ramEnd uintptr = ImageBase
	image  segments.Table
)

// capture copies the start-up structures and returns the end of the RAM that
// begins at 0, in bytes, at most 4 GB; 0 if Xen has not told or what it told
// makes no sense. It runs before the Go runtime is up.
//
//go:nosplit
func capture() uint64 {
	si := startInfoAddr
	if load32(si) != startMagic {
		return 0
	}
	copyIn(startInfo[:], si)
	cmdlineLen = copyString(cmdline[:], uintptr(load64(si+offCmdline)))
	entries := uintptr(load32(si + 48))
	if load32(si+4) < 1 || entries > maxMemmap {
		return 0
	}
	memmapLen = int(entries) * memmapEntry
	copyIn(memmap[:memmapLen], uintptr(load64(si+offMemmap)))
	return lowRAM(uintptr(load64(si+offMemmap)), entries)
}

// lowRAM returns the end of the RAM that holds the image.
//
//go:nosplit
func lowRAM(table, entries uintptr) uint64 {
	for i := uintptr(0); i < entries; i++ {
		e := table + i*memmapEntry
		start, size := load64(e), load64(e+8)
		end := start + size
		if load32(e+16) == memmapRAM && end > start && start <= ImageBase && end > ImageBase {
			return min(end, fourGigabyte) &^ (pageSize - 1)
		}
	}
	return 0
}

//go:nosplit
func copyIn(dst []byte, src uintptr) {
	for i := range dst {
		dst[i] = load8(src + uintptr(i))
	}
}

// copyString copies a string that ends with a zero byte, or as much of it as
// fits, and returns its length.
//
//go:nosplit
func copyString(dst []byte, src uintptr) int {
	if src == 0 {
		return 0
	}
	for i := range dst {
		c := load8(src + uintptr(i))
		if c == 0 {
			return i
		}
		dst[i] = c
	}
	return len(dst)
}

//go:nosplit
func inRAM(a uintptr) bool {
	// Not the guards: reading those would be an exception in itself.
	return a%8 == 0 && a >= bootStack && a < ramEnd && a&^(pageSize-1) != stackGuard
}

//go:nosplit
func inText(a uintptr) bool {
	code := image.Code()
	return uint64(a) >= code.Start && uint64(a) < code.End
}
