//go:build tamago && amd64

package tis

import (
	"testing"
	"unsafe"
)

// TestMMIO runs where Go's own tests run, with -tags tamago: the moves do not
// care what is behind an address.
func TestMMIO(t *testing.T) {
	mem := make([]uint32, 16)
	m := MMIO{Base: uintptr(unsafe.Pointer(&mem[0]))}
	m.Write32(8, 0x11223344)
	m.Write8(9, 0xAA)
	if got := m.Read32(8); got != 0x1122AA44 {
		t.Fatalf("%#x", got)
	}
	if got := m.Read8(11); got != 0x11 || mem[2] != 0x1122AA44 || mem[1] != 0 || mem[3] != 0 {
		t.Fatalf("%#x %#x", got, mem[:4])
	}
}
