//go:build tamago

package xenpvh

import (
	"runtime/goos"
	_ "unsafe" // linkname

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/hypercall"
	"xenvtpm/board/xenpvh/printk"
	"xenvtpm/boot/pvh"
)

// The hooks of runtime/goos. Those that can run before the runtime is up, or
// from an exception, are nosplit with all that they call.

//go:linkname ramStart runtime/goos.RamStart
var ramStart uint = pvh.ImageBase

// ramSize is replaced by what Xen says before the runtime starts (package pvh).
//
//go:linkname ramSize runtime/goos.RamSize
var ramSize uint = 8 << 20

// ramStackOffset is room for argc and argv, which a runtime may look for above
// its first stack pointer; zero, as there are none.
//
//go:linkname ramStackOffset runtime/goos.RamStackOffset
var ramStackOffset uint = 0x100

// con is where print, panics and os.Stdout go.
var con = printk.Console{Hooks: printk.Hooks{
	Notify: notifyConsole, Pause: pause, Now: systemTime, Fallback: pvh.DebugOut,
}}

var (
	consolePage, consolePort uint64 // HVM parameters
)

// flushLimit is how long the last output may take to be read, in ns.
const flushLimit = int64(2e9)

//go:linkname hwinit0 runtime/goos.Hwinit0
//go:nosplit
func hwinit0() {
	goos.Exit = exit // first: whatever fails from here on must end the domain
	goos.Idle = idle

	protected := pvh.RAMEnd() != 0 && pvh.Protect()
	pvh.MapShared(sharedInfoAddr, windowEnd-sharedInfoAddr)
	var rc, rcPort int
	consolePage, rc = hypercall.HVMParam(abi.HVM_PARAM_CONSOLE_PFN)
	consolePort, rcPort = hypercall.HVMParam(abi.HVM_PARAM_CONSOLE_EVTCHN)

	var ops hypercall.Ops
	mapped := ops.AddToPhysmap(abi.XENMAPSPACE_shared_info, 0, sharedInfoAddr/abi.PageSize) == 0
	if mapped {
		clock.mapped = true
		readWallClock()
	}
	if rc == 0 && rcPort == 0 && consolePage != 0 {
		pvh.MapShared(uintptr(consolePage)*abi.PageSize, abi.PageSize)
		con.Attach(pvh.Pointer(uintptr(consolePage) * abi.PageSize))
	}
	switch {
	case pvh.RAMEnd() == 0:
		die("xenpvh: no usable memory map in hvm_start_info, or memory= is too small for the image\n")
	case pvh.RAMEnd() > maxRAM:
		die("xenpvh: memory= is too large, the limit is 3580 MB\n")
	case !mapped:
		die("xenpvh: shared_info cannot be mapped\n")
	case !protected:
		die("xenpvh: the image has no program headers at 0x100000, or is larger than 10 MB\n")
	}
	pvh.ClearHeap()
}

//go:linkname hwinit1 runtime/goos.Hwinit1
func hwinit1() {}

//go:linkname nanotime runtime/goos.Nanotime
//go:nosplit
func nanotime() int64 { return systemTime() + clock.wall }

//go:linkname printk_ runtime/goos.Printk
//go:nosplit
func printk_(c byte) { con.Put(c) }

// exit ends the domain: code 0 (main returned) is a normal power-off, anything
// else (a panic, an exception, os.Exit) a crash that the toolstack sees.
//
//go:nosplit
func exit(code int32) {
	con.Flush(flushLimit)
	if code == 0 {
		hypercall.Shutdown(abi.SHUTDOWN_poweroff)
	}
	hypercall.Shutdown(abi.SHUTDOWN_crash)
}

// idle blocks until the runtime has a timer due (until, in the runtime's time)
// or an event arrives at any port. It lists no ports: a port that is pending
// already, because its owner has not looked yet, must not keep us from
// sleeping, and Xen wakes a poller that lists none at any new event.
func idle(until int64) {
	timeout := until - clock.wall
	if until <= 0 || until == 1<<63-1 {
		timeout = 0
	}
	hypercall.Poll(nil, 0, uint64(max(timeout, 0)))
}

//go:nosplit
func notifyConsole() { hypercall.Notify(uint32(consolePort)) }

// pause gives dom0 about a millisecond to read the console.
//
//go:nosplit
func pause() { hypercall.Poll(nil, 0, uint64(systemTime())+1e6) }
