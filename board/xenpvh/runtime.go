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

// ramSize is replaced in hwinit0 by what Xen says.
//
//go:linkname ramSize runtime/goos.RamSize
var ramSize uint = 8 << 20

// ramStackOffset: the first stack is below 1 MB, so that all RAM from the
// image up is heap. One page at the end stays unused.
//
//go:linkname ramStackOffset runtime/goos.RamStackOffset
var ramStackOffset uint = abi.PageSize

// con is where print, panics and os.Stdout go.
var con = printk.Console{Hooks: printk.Hooks{
	Notify: notifyConsole, Pause: pause, Now: systemTime, Fallback: pvh.DebugOut,
}}

var (
	consolePage, consolePort uint64 // HVM parameters
	protected                bool   // the image's page protection is in place
)

// flushLimit is how long the last output may take to be read, in ns.
const flushLimit = int64(2e9)

//go:linkname hwinit0 runtime/goos.Hwinit0
//go:nosplit
func hwinit0() {
	goos.Exit = exit // first: whatever fails from here on must end the domain
	goos.Idle = idle

	end := pvh.Capture()
	protected = pvh.Protect()
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
	case end == 0:
		die("xenpvh: no usable memory map in hvm_start_info\n")
	case end > maxRAM:
		die("xenpvh: memory= is too large, the limit is 3580 MB\n")
	case !mapped:
		die("xenpvh: shared_info cannot be mapped\n")
	}
	ramSize = uint(usable(end)) - ramStart
}

// usable is the end of the RAM that is really there: with memory= below
// maxmem= the map shows more than the domain may touch.
//
//go:nosplit
func usable(end uint64) uint64 {
	if pages := hypercall.Pages(); pages > 0 && uint64(pages)*abi.PageSize < end {
		return uint64(pages-toolstackPages) * abi.PageSize
	}
	return end
}

// toolstackPages is more than the pages that libxl puts above the RAM for
// console, xenstore, start_info and ACPI tables.
const toolstackPages = 32

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
