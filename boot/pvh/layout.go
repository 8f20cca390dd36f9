//go:build tamago

// Package pvh is the bottom of an image: Xen's PVH entry point, page tables,
// descriptor tables and the last word on processor exceptions.
//
// Xen enters cpuinit in 32-bit protected mode with paging off and EBX pointing
// at hvm_start_info (PVH: docs/misc/pvh.pandoc, "Direct Boot Protocol"). From
// there: long mode, SSE, the hypercall page, an IDT, the size of the RAM, a stack at
// its end, then the Go runtime.
// AVX stays off: Go runs without it, and it is one register state less to
// set up.
//
// The guest's physical memory below 1 MB is plain RAM in a PVH guest. It holds
// what must not be in the Go heap; see the constants below. All addresses are
// virtual = physical.
//
// Deliberately missing: interrupts (IF is never set), other processors,
// 5-level paging, memory above 4 GB.
package pvh

import "xenvtpm/board/xen/hypercall"

// Fixed memory below 1 MB. Page 0 stays unmapped so that a nil pointer faults,
// and so do the pages below the stacks.
const (
	pml4          = 0x1000 // one entry
	pdpt          = 0x2000 // four entries
	pd0           = 0x3000 // four page directories, 2 MB an entry
	pd3           = pd0 + 3*pageSize
	pt0           = 0x7000 // page tables of the first 10 MB, 4 KB an entry
	tables        = 5      // number of them
	tablesEnd     = pt0 + tables*pageSize
	hypercallPage = hypercall.Page
	idt           = 0xD000
	gdt           = 0xE000 // null, code, data, TSS (two slots)
	gdtDesc       = 0xE080 // operand of LGDT and LIDT
	tss           = 0xE100
	earlyTLS      = 0xE800 // FS base until the runtime sets its own
	ptStack       = 0xF000 // page table of the 2 MB that hold stackGuard, where the ones above do not
	trapGuard     = 0x10000
	trapStackTop  = 0x13000 // 8 KB
	bootGuard     = 0x13000
	bootStack     = 0x14000
	bootStackTop  = 0x16000 // 8 KB: until the runtime's first stack

	// PoolStart and PoolEnd bound the pages that are free for sharing with
	// other domains.
	PoolStart = 0x16000
	PoolEnd   = 0xA0000
)

// The runtime's first stack, g0, is where goos.RamStart, RamSize and
// RamStackOffset put it, at the end of the RAM: a runtime may end the heap where
// that stack ends. It takes stackSize for g0 (rt0_go in the SDK's
// runtime/asm_amd64.s), from some octets below the first stack pointer on. The last whole page
// of that is the guard, so that neither the heap nor the page below it is touched.
const (
	stackSize    = 64 << 10
	stackReserve = stackSize + pageSize // from the end of the RAM to the heap
)

// ImageBase is where the ELF header is loaded: one page (linker flag -R) below
// the text address (linker flag -T 0x101000).
const ImageBase = 0x100000

const (
	pageSize  = 4096
	largePage = 2 << 20

	trapVectors = 32
	codeSel     = 0x08
	dataSel     = 0x10
	tssSel      = 0x18
)

// hypercallPage must lie behind the page tables.
const _ = uint(hypercallPage - tablesEnd)
