//go:build tamago

package xenpvh

import (
	"runtime"
	"unsafe"

	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/hypercall"
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
