package abi

// struct shared_info for x86-64 (xen.h).
const (
	SharedInfoVCPUInfo      = 0x000 // 32 times VCPUInfoSize
	SharedInfoEvtchnPending = 0x800 // 64 words
	SharedInfoEvtchnMask    = 0xA00 // 64 words
	SharedInfoWCVersion     = 0xC00 // u32, odd while an update is under way
	SharedInfoWCSec         = 0xC04 // u32, seconds since 1970 at system time 0
	SharedInfoWCNsec        = 0xC08 // u32
	SharedInfoWCSecHi       = 0xC0C // u32

	// EvtchnWords is the number of 64-bit words in each bitmap of the 2-level
	// event-channel ABI, EvtchnPorts the number of ports.
	EvtchnWords = 64
	EvtchnPorts = EvtchnWords * 64
)

// struct vcpu_info (xen.h).
const (
	VCPUInfoSize                = 64
	VCPUInfoEvtchnUpcallPending = 0 // u8
	VCPUInfoEvtchnUpcallMask    = 1 // u8
	VCPUInfoEvtchnPendingSel    = 8 // u64, one bit for each word of pending
	VCPUInfoTime                = 32
)

// struct vcpu_time_info (xen.h).
const (
	VCPUTimeInfoSize           = 32
	VCPUTimeInfoVersion        = 0  // u32, odd while an update is under way
	VCPUTimeInfoTSCTimestamp   = 8  // u64
	VCPUTimeInfoSystemTime     = 16 // u64, ns at TSCTimestamp
	VCPUTimeInfoTSCToSystemMul = 24 // u32, fraction of 2^32
	VCPUTimeInfoTSCShift       = 28 // s8
	VCPUTimeInfoFlags          = 29 // u8, bit 0: TSC is stable across vCPUs
)
