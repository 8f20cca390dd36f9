//go:build tamago

package xenpvh

import (
	"fmt"

	"xenvtpm/boot/pvh"
)

// Regs is a window of device registers; it satisfies package tis's interface
// of that name. An access outside the window panics: offsets are constants of
// the driver.
type Regs struct {
	base uintptr
	size uint32
}

// TPM's registers: five localities of a page each (PTP table 12). The guest
// sees them if its configuration says iomem=["fed40,5"], and ones otherwise.
const (
	TPMBase = 0xFED40000
	TPMSize = 0x5000
)

// Registers maps [base, base+size) uncached. Nothing checks that a device is
// there; without permission (iomem=) every read gives ones.
func (p *Platform) Registers(base uintptr, size uint32) *Regs {
	pvh.MapDevice(base, uintptr(size))
	return &Regs{base, size}
}

func (r *Regs) at(off, width uint32) uintptr {
	if off > r.size-width || off%width != 0 {
		panic(fmt.Sprintf("xenpvh: %d-byte register access at %#x of %#x", width, off, r.size))
	}
	return r.base + uintptr(off)
}

// Read8 reads the byte at off.
func (r *Regs) Read8(off uint32) uint8 { return readReg8(r.at(off, 1)) }

// Write8 writes the byte at off.
func (r *Regs) Write8(off uint32, v uint8) { writeReg8(r.at(off, 1), v) }

// Read32 reads the 32-bit register at off.
func (r *Regs) Read32(off uint32) uint32 { return readReg32(r.at(off, 4)) }

// Write32 writes the 32-bit register at off.
func (r *Regs) Write32(off uint32, v uint32) { writeReg32(r.at(off, 4), v) }
