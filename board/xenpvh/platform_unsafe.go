//go:build tamago

package xenpvh

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/hypercall"
	"xenvtpm/boot/pvh"
)

// gcYields is how often other goroutines get a turn before the only processor
// blocks: the garbage collector's workers are goroutines, and one that is
// never scheduled leaves its cycle unfinished.
const gcYields = 4

// PollPorts implements evtchn.Hypercaller. An event that arrives during the
// turns of others is seen by the hypercall itself.
func (hypervisor) PollPorts(ports []evtchn.Port, timeout uint64) int {
	for range gcYields {
		runtime.Gosched()
	}
	// SAFETY: Port is a uint32; the slice's memory does not move and is kept
	// alive across the call.
	rc := hypercall.Poll((*uint32)(unsafe.Pointer(unsafe.SliceData(ports))), len(ports), timeout)
	runtime.KeepAlive(ports)
	return rc
}

// SystemTime implements evtchn.Hypercaller.
func (hypervisor) SystemTime() int64 { return systemTime() }

// shared32 and shared64 read a word of the shared_info page.
//
// SAFETY: the page is mapped at sharedInfoAddr for the life of the image before
// clock.mapped is set, and off is one of the ABI's constants.
//
//go:nosplit
func shared32(off uintptr) uint32 {
	return atomic.LoadUint32((*uint32)(pvh.Pointer(sharedInfoAddr + off)))
}

//go:nosplit
func shared64(off uintptr) uint64 {
	return atomic.LoadUint64((*uint64)(pvh.Pointer(sharedInfoAddr + off)))
}
