//go:build tamago

// Package hypercall issues Xen hypercalls from a bare-metal guest: the raw
// operations that packages evtchn and gnttab ask for, and the few more that a
// board needs. What to call, and when, is decided above.
//
// The calling convention is that of Xen's public headers for 64-bit guests
// (arch-x86/xen-x86_64.h): number by way of the hypercall page, arguments in
// RDI, RSI, RDX, R10, result in RAX, a negative errno on failure. Argument
// structures are given by guest address, and that is a pointer's value here.
//
// Every function is nosplit and allocates nothing, so all may be used before
// the Go runtime is up and from an exception.
package hypercall

import (
	"unsafe"

	"xenvtpm/board/xen/abi"
)

// Page is the guest frame address where Xen writes the hypercall page. The
// entry code registers it (cpuinit in boot/pvh); entry n starts at 32*n.
const Page = 0xC000

// call makes hypercall nr.
//
// defined in call.s
func call(nr, a1, a2, a3 uintptr) int64

// Ops implements the Hypercaller of package gnttab and most of evtchn's.
type Ops struct{}

// EventChannelOp is HYPERVISOR_event_channel_op(cmd, arg).
//
//go:nosplit
func (Ops) EventChannelOp(cmd uint32, arg *[abi.EvtchnBindInterdomainSize]byte) int {
	// SAFETY: arg stays in place during the call; call and its wrapper are
	// nosplit, so no stack moves.
	return int(call(abi.HYPERVISOR_event_channel_op, uintptr(cmd), uintptr(unsafe.Pointer(arg)), 0))
}

// GrantTableOp is HYPERVISOR_grant_table_op(cmd, arg, 1).
//
//go:nosplit
func (Ops) GrantTableOp(cmd uint32, arg []byte) int {
	// SAFETY: as above.
	return int(call(abi.HYPERVISOR_grant_table_op, uintptr(cmd), uintptr(unsafe.Pointer(unsafe.SliceData(arg))), 1))
}

// addToPhysmap is struct xen_add_to_physmap.
type addToPhysmap struct {
	domid abi.DomID
	size  uint16
	space uint32
	idx   uint64
	gpfn  uint64
}

// AddToPhysmap is XENMEM_add_to_physmap for the calling domain: page idx of
// space appears at guest frame gfn.
//
//go:nosplit
func (Ops) AddToPhysmap(space uint32, idx, gfn uint64) int {
	arg := addToPhysmap{domid: abi.DOMID_SELF, space: space, idx: idx, gpfn: gfn}
	// SAFETY: as above.
	return int(call(abi.HYPERVISOR_memory_op, abi.XENMEM_add_to_physmap, uintptr(unsafe.Pointer(&arg)), 0))
}

// schedPoll is struct sched_poll.
type schedPoll struct {
	ports   *uint32
	nr      uint32
	_       uint32
	timeout uint64
}

// Poll is SCHEDOP_poll: block until one of n ports at ports is pending, any
// event arrives, or the system time reaches timeout (ns; 0: no timeout).
//
//go:nosplit
func Poll(ports *uint32, n int, timeout uint64) int {
	arg := schedPoll{ports: ports, nr: uint32(n), timeout: timeout}
	// SAFETY: as above; ports is kept alive by the caller.
	return int(call(abi.HYPERVISOR_sched_op, abi.SCHEDOP_poll, uintptr(unsafe.Pointer(&arg)), 0))
}

// Yield gives the processor to another domain that wants it.
//
//go:nosplit
func Yield() { call(abi.HYPERVISOR_sched_op, abi.SCHEDOP_yield, 0, 0) }

// Shutdown ends the domain for one of the abi.SHUTDOWN_* reasons. It does not
// return.
//
//go:nosplit
func Shutdown(reason uint32) {
	for {
		// SAFETY: as above.
		call(abi.HYPERVISOR_sched_op, abi.SCHEDOP_shutdown, uintptr(unsafe.Pointer(&reason)), 0)
	}
}

// Notify is EVTCHNOP_send, for the console before package evtchn is in use.
//
//go:nosplit
func Notify(port uint32) int {
	// SAFETY: as above.
	return int(call(abi.HYPERVISOR_event_channel_op, abi.EVTCHNOP_send, uintptr(unsafe.Pointer(&port)), 0))
}

// hvmParam is struct xen_hvm_param.
type hvmParam struct {
	domid abi.DomID
	_     uint16
	index uint32
	value uint64
}

// HVMParam reads one of our own HVM parameters (abi.HVM_PARAM_*); rc is
// negative on failure.
//
//go:nosplit
func HVMParam(index uint32) (value uint64, rc int) {
	arg := hvmParam{domid: abi.DOMID_SELF, index: index}
	// SAFETY: as above.
	rc = int(call(abi.HYPERVISOR_hvm_op, abi.HVMOP_get_param, uintptr(unsafe.Pointer(&arg)), 0))
	return arg.value, rc
}

// Version is Xen's version, major << 16 | minor.
//
//go:nosplit
func Version() uint32 {
	return uint32(call(abi.HYPERVISOR_xen_version, abi.XENVER_version, 0, 0))
}

// reservation counts a domain's pages: XENMEM_current_reservation.
const reservation = 3

// Pages is the number of pages that the domain has at present, or a negative
// errno.
//
//go:nosplit
func Pages() int64 {
	self := abi.DOMID_SELF
	// SAFETY: as above.
	return call(abi.HYPERVISOR_memory_op, reservation, uintptr(unsafe.Pointer(&self)), 0)
}

// getRunstateInfo is VCPUOP_get_runstate_info (vcpu.h).
const getRunstateInfo = 4

// vcpuRunstate is struct vcpu_runstate_info.
type vcpuRunstate struct {
	state int32
	_     uint32
	entry uint64
	time  [4]uint64
}

// Runstate is how long vCPU 0 has been running, runnable, blocked and offline,
// in ns.
//
//go:nosplit
func Runstate() (times [4]uint64, rc int) {
	var info vcpuRunstate
	// SAFETY: as above.
	rc = int(call(abi.HYPERVISOR_vcpu_op, getRunstateInfo, 0, uintptr(unsafe.Pointer(&info))))
	return info.time, rc
}
