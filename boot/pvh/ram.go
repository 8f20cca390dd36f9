//go:build tamago

package pvh

import (
	"runtime/goos"
	"unsafe"

	"xenvtpm/board/xen/hypercall"
)

// Where the RAM ends, and with it the heap: the entry code asks before there
// is a runtime, because the runtime's first stack lies at the end.
var (
	firstStack uintptr // SP for the runtime
	stackGuard uintptr // the page below that stack, never mapped; 0: no such stack
)

// measure takes over what Xen tells of the memory, sets goos.RamSize and
// chooses the runtime's first stack. Where there is no memory for one, the
// stack below 1 MB has to do, for Hwinit0 to say so.
//
//go:nosplit
func measure() {
	firstStack = bootStackTop - uintptr(goos.RamStackOffset)
	end := usable(capture())
	image.Parse(page(ImageBase))
	if end < uint64(ImageEnd())+stackReserve+largePage {
		return
	}
	ramEnd = uintptr(end)
	goos.RamSize = uint(end) - goos.RamStart
	firstStack = uintptr(goos.RamStart + goos.RamSize - goos.RamStackOffset)
	stackGuard = ramEnd - stackSize
	for a := firstStack; a < ramEnd; a += 8 { // argc and argv
		store64(a, 0)
	}
}

// usable is the end of the RAM that is really there: with memory= below
// maxmem= the map shows more than the domain may touch.
//
//go:nosplit
func usable(end uint64) uint64 {
	if pages := hypercall.Pages(); pages > 0 && uint64(pages)*pageSize < end {
		return uint64(pages-toolstackPages) * pageSize
	}
	return end
}

// toolstackPages is more than the pages that libxl puts above the RAM for
// console, xenstore, start_info and ACPI tables.
const toolstackPages = 32

// RAMEnd is the end of the RAM that holds image, heap and first stack, in
// bytes from address 0, at most 4 GB; 0 if Xen has told of none or of too little.
//
//go:nosplit
func RAMEnd() uint64 {
	if stackGuard == 0 {
		return 0
	}
	return uint64(ramEnd)
}

// HeapEnd is where the heap ends at the latest.
func HeapEnd() uintptr { return ramEnd - stackReserve }

// StackGuard is the page between the heap and the runtime's first stack.
func StackGuard() uintptr { return stackGuard }

// ClearHeap clears the memory from the image to the first stack: a runtime may
// take it for zero, and the toolstack has left start_info and its tables
// there. What they said was copied before.
//
//go:nosplit
func ClearHeap() {
	start := ImageEnd()
	// SAFETY: nothing of ours lies between the image and the stack.
	clear(unsafe.Slice((*byte)(Pointer(start)), stackGuard-start))
}
