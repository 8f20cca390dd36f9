//go:build tamago

package xenpvh

// defined in cpu.s

// cpuid executes CPUID.
func cpuid(leaf, sub uint32) (ax, bx, cx, dx uint32)

// rdtsc reads the time-stamp counter, not before earlier loads are done.
func rdtsc() uint64

// rdrand and rdseed draw 64 random bits; ok is false if the processor has none
// just now.
func rdrand() (v uint64, ok bool)
func rdseed() (v uint64, ok bool)

// Register accesses: one instruction each, of exactly that width, because a
// device register can change by being read.
func readReg8(addr uintptr) uint8
func readReg32(addr uintptr) uint32
func writeReg8(addr uintptr, v uint8)
func writeReg32(addr uintptr, v uint32)
