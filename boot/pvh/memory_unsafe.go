//go:build tamago

package pvh

import "unsafe"

// SAFETY of this file: addresses are guest physical addresses, which the page
// tables map to themselves. Callers pass addresses of the fixed memory below
// 1 MB, of Xen's start-up structures, or such that inRAM accepted.

//go:nosplit
func load32(addr uintptr) uint32 { return *(*uint32)(unsafe.Pointer(addr)) }

//go:nosplit
func load64(addr uintptr) uint64 { return *(*uint64)(unsafe.Pointer(addr)) }

//go:nosplit
func store64(addr uintptr, v uint64) { *(*uint64)(unsafe.Pointer(addr)) = v }

//go:nosplit
func page(addr uintptr) *[pageSize]byte { return (*[pageSize]byte)(unsafe.Pointer(addr)) }

//go:nosplit
func load8(addr uintptr) uint8 { return *(*uint8)(unsafe.Pointer(addr)) }
