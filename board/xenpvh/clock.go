//go:build tamago

package xenpvh

import (
	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/pvclock"
)

// clock is Xen's paravirtual clock for the runtime, which asks for the time
// before memory can be allocated. It repeats package pvclock's reading of the
// page with bare loads; the arithmetic is that package's.
var clock struct {
	mapped bool
	last   int64 // system time never goes back
	wall   int64 // Unix time in ns at system time 0, as the host had it at boot
}

const timeInfo = abi.SharedInfoVCPUInfo + abi.VCPUInfoTime

// systemTime is Xen's system time in ns: the clock of SCHEDOP_poll and of
// evtchn.Channels. Before the page is mapped it is 0.
//
//go:nosplit
func systemTime() int64 {
	for clock.mapped {
		version := shared32(timeInfo + abi.VCPUTimeInfoVersion)
		p := pvclock.Params{
			TSC:        shared64(timeInfo + abi.VCPUTimeInfoTSCTimestamp),
			SystemTime: shared64(timeInfo + abi.VCPUTimeInfoSystemTime),
			Mul:        shared32(timeInfo + abi.VCPUTimeInfoTSCToSystemMul),
			Shift:      int8(shared32(timeInfo + abi.VCPUTimeInfoTSCShift)),
		}
		tsc := rdtsc()
		if version&1 == 0 && version == shared32(timeInfo+abi.VCPUTimeInfoVersion) {
			if now := int64(p.Time(tsc)); now > clock.last {
				clock.last = now
			}
			break
		}
	}
	return clock.last
}

// readWallClock takes over the host's wall clock, once: the runtime has a
// single clock for both time.Now and timers, and that must not jump.
//
//go:nosplit
func readWallClock() {
	for {
		version := shared32(abi.SharedInfoWCVersion)
		sec := int64(shared32(abi.SharedInfoWCSec)) | int64(shared32(abi.SharedInfoWCSecHi))<<32
		nsec := int64(shared32(abi.SharedInfoWCNsec))
		if version&1 == 0 && version == shared32(abi.SharedInfoWCVersion) {
			if sec < 1<<33 { // beyond 2242 ns overflow soon
				clock.wall = sec*1e9 + nsec
			}
			return
		}
	}
}
