package abi

// Hypercall numbers (xen.h, __HYPERVISOR_*).
const (
	HYPERVISOR_memory_op        = 12
	HYPERVISOR_xen_version      = 17
	HYPERVISOR_console_io       = 18
	HYPERVISOR_grant_table_op   = 20
	HYPERVISOR_vcpu_op          = 24
	HYPERVISOR_sched_op         = 29
	HYPERVISOR_event_channel_op = 32
	HYPERVISOR_hvm_op           = 34
)

// CPUID leaves at 0x40000000 (+ 0x100 * n) (arch-x86/cpuid.h). Leaf 0 gives
// "XenVMMXenVMM" in EBX, ECX, EDX; leaf 1 the version; leaf 2 the number of
// hypercall pages and the MSR that installs one.
const (
	CPUID_FIRST_LEAF  = 0x40000000
	CPUID_SIGNATURE_1 = 0x566E6558 // "XenV"
	CPUID_SIGNATURE_2 = 0x65584D4D // "MMXe"
	CPUID_SIGNATURE_3 = 0x4D4D566E // "nVMM"
)

// Scheduler operations (sched.h).
const (
	SCHEDOP_yield    = 0
	SCHEDOP_block    = 1
	SCHEDOP_shutdown = 2 // arg: struct sched_shutdown { u32 reason }
	SCHEDOP_poll     = 3 // arg: struct sched_poll
)

// SCHEDOP_shutdown reasons (sched.h).
const (
	SHUTDOWN_poweroff   = 0
	SHUTDOWN_reboot     = 1
	SHUTDOWN_suspend    = 2
	SHUTDOWN_crash      = 3
	SHUTDOWN_watchdog   = 4
	SHUTDOWN_soft_reset = 5
)

// struct sched_poll: u64 pointer to u32 ports, u32 nr_ports, pad, u64 absolute
// system time in ns (0 = none).
const (
	SchedPollSize    = 24
	SchedPollPorts   = 0
	SchedPollNrPorts = 8
	SchedPollTimeout = 16

	// SchedPollMaxPorts is what one SCHEDOP_poll takes; more is EINVAL.
	SchedPollMaxPorts = 128
)

// Memory operations (memory.h).
const (
	XENMEM_add_to_physmap      = 7
	XENMEM_remove_from_physmap = 15
)

// XENMEM_add_to_physmap spaces (memory.h).
const (
	XENMAPSPACE_shared_info = 0
	XENMAPSPACE_grant_table = 1
)

// struct xen_add_to_physmap: u16 domid, u16 size, u32 space, u64 idx, u64 gpfn.
const (
	AddToPhysmapSize  = 24
	AddToPhysmapDomid = 0
	AddToPhysmapSpace = 4
	AddToPhysmapIdx   = 8
	AddToPhysmapGPFN  = 16
)

// HVM operations and the parameters that a PVH guest asks (hvm_op.h, params.h).
const (
	HVMOP_set_param = 0
	HVMOP_get_param = 1

	HVM_PARAM_CALLBACK_IRQ   = 0
	HVM_PARAM_STORE_PFN      = 1
	HVM_PARAM_STORE_EVTCHN   = 2
	HVM_PARAM_CONSOLE_PFN    = 17
	HVM_PARAM_CONSOLE_EVTCHN = 18
)

// struct xen_hvm_param: u16 domid, u16 pad, u32 index, u64 value.
const (
	HVMParamSize  = 16
	HVMParamDomid = 0
	HVMParamIndex = 4
	HVMParamValue = 8
)

// XENVER_* subcommands (version.h).
const (
	XENVER_version      = 0 // returns major << 16 | minor
	XENVER_extraversion = 1
	XENVER_get_features = 6
)

// CONSOLEIO_* subcommands (xen.h).
const (
	CONSOLEIO_write = 0
	CONSOLEIO_read  = 1
)
