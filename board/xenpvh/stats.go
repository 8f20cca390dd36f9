//go:build tamago

package xenpvh

import (
	"fmt"
	"runtime"

	"xenvtpm/boot/pvh"
)

// Memory is where the domain's memory went, in bytes.
type Memory struct {
	RAM   int64  // of the domain
	Image int64  // code and static data
	Limit int64  // what the garbage collector tries to stay below
	Live  uint64 // heap objects, dead ones not yet collected included
	Peak  uint64 // the most that the heap has ever been; it never shrinks
	Sys   uint64 // all that the runtime took: heap, stacks, its own tables
	GCs   uint32 // collections so far
}

// Memory takes stock. It stops the world for a few microseconds.
func (p *Platform) Memory() Memory {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	ram := int64(ramStart + ramSize)
	return Memory{
		RAM: ram, Image: int64(pvh.ImageEnd()) - int64(ramStart), Limit: p.heapLimit,
		Live: m.HeapAlloc, Peak: m.HeapSys, Sys: m.Sys, GCs: m.NumGC,
	}
}

// String is one line for a log.
func (m Memory) String() string {
	return fmt.Sprintf("RAM %d KB, image %d KB, limit %d KB, heap live %d KB, peak %d KB, runtime %d KB, %d collections",
		m.RAM>>10, m.Image>>10, m.Limit>>10, m.Live>>10, m.Peak>>10, m.Sys>>10, m.GCs)
}
