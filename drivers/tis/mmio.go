//go:build tamago && amd64

package tis

// DefaultBase is where every PC has its TPM's registers.
const DefaultBase = 0xFED40000

// MMIO is a register window in memory that is mapped one to one and uncached.
type MMIO struct{ Base uintptr }

// Implemented in mmio.s with single moves: a locked exchange would read the
// FIFO on every write.
func mmioRead8(addr uintptr) uint8
func mmioWrite8(addr uintptr, v uint8)
func mmioRead32(addr uintptr) uint32
func mmioWrite32(addr uintptr, v uint32)

// Read8 implements Regs.
func (m MMIO) Read8(off uint32) uint8 { return mmioRead8(m.Base + uintptr(off)) }

// Write8 implements Regs.
func (m MMIO) Write8(off uint32, v uint8) { mmioWrite8(m.Base+uintptr(off), v) }

// Read32 implements Regs.
func (m MMIO) Read32(off uint32) uint32 { return mmioRead32(m.Base + uintptr(off)) }

// Write32 implements Regs.
func (m MMIO) Write32(off uint32, v uint32) { mmioWrite32(m.Base+uintptr(off), v) }
