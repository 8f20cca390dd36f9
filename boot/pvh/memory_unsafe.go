//go:build tamago

package pvh

import "unsafe"

// SAFETY of this file: addresses are guest physical addresses, which the page
// tables map to themselves. Callers pass addresses of the fixed memory below
// 1 MB, of Xen's start-up structures, or such that inRAM or inText accepted.

// Pointer makes a pointer of a guest physical address outside the Go heap.
// Reading the bits through a pointer to the variable says so to go vet as well.
//
//go:nosplit
func Pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

//go:nosplit
func load8(addr uintptr) uint8 { return *(*uint8)(Pointer(addr)) }

//go:nosplit
func load32(addr uintptr) uint32 { return *(*uint32)(Pointer(addr)) }

//go:nosplit
func load64(addr uintptr) uint64 { return *(*uint64)(Pointer(addr)) }

//go:nosplit
func store64(addr uintptr, v uint64) { *(*uint64)(Pointer(addr)) = v }

//go:nosplit
func page(addr uintptr) *[pageSize]byte { return (*[pageSize]byte)(Pointer(addr)) }
