// Package pvclock reads Xen's paravirtual clock: system time from struct
// vcpu_time_info and the wall clock from struct shared_info (xen.h).
//
// Xen updates both while the vCPU runs elsewhere and marks an update by an odd
// version. Xen is trusted; the loops are bounded all the same, because a clock
// that hangs takes the whole image with it.
package pvclock

import (
	"math/bits"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/shm"
)

// tries bounds the versioned reads. An update takes Xen well under a
// microsecond, so that many failures mean that the page is not what we think.
const tries = 1 << 16

// Params is one consistent copy of vcpu_time_info.
type Params struct {
	TSC        uint64 // at SystemTime
	SystemTime uint64 // ns since the host's boot
	Mul        uint32 // ns for a shifted TSC tick, times 2^32
	Shift      int8   // of the TSC difference; negative is to the right
}

// Time is the system time at a TSC value.
func (p Params) Time(tsc uint64) uint64 {
	delta := tsc - p.TSC
	if int64(delta) < 0 {
		delta = 0 // read on another CPU, slightly behind
	}
	switch {
	case p.Shift >= 64 || p.Shift <= -64:
		return p.SystemTime
	case p.Shift >= 0:
		delta <<= uint(p.Shift)
	default:
		delta >>= uint(-p.Shift)
	}
	hi, lo := bits.Mul64(delta, uint64(p.Mul))
	return p.SystemTime + (hi<<32 | lo>>32)
}

// Clock reads the clock of one vCPU.
type Clock struct {
	page *shm.Page
	base int // of vcpu_time_info in page
	tsc  func() uint64
	last int64
}

// New makes a clock of vCPU 0 in the mapped shared_info page. tsc reads the
// time-stamp counter.
func New(sharedInfo *shm.Page, tsc func() uint64) *Clock {
	return &Clock{page: sharedInfo, base: abi.SharedInfoVCPUInfo + abi.VCPUInfoTime, tsc: tsc}
}

// Now is system time in ns. It never goes back, even if Xen's does for an
// instant (after a migration, or when parameters are replaced).
func (c *Clock) Now() int64 {
	for range tries {
		p, ok := c.read()
		if !ok {
			continue
		}
		tsc := c.tsc()
		if c.page.Load32(c.base+abi.VCPUTimeInfoVersion) != p.version {
			continue // replaced between the copy and the TSC
		}
		c.last = max(c.last, int64(p.Time(tsc)&(1<<63-1)))
		return c.last
	}
	return c.last
}

type versioned struct {
	Params
	version uint32
}

// read copies the parameters if no update is under way.
func (c *Clock) read() (versioned, bool) {
	var p versioned
	p.version = c.page.Load32(c.base + abi.VCPUTimeInfoVersion)
	if p.version&1 != 0 {
		return p, false
	}
	p.TSC = c.page.Load64(c.base + abi.VCPUTimeInfoTSCTimestamp)
	p.SystemTime = c.page.Load64(c.base + abi.VCPUTimeInfoSystemTime)
	p.Mul = c.page.Load32(c.base + abi.VCPUTimeInfoTSCToSystemMul)
	p.Shift = int8(c.page.Load8(c.base + abi.VCPUTimeInfoTSCShift))
	return p, c.page.Load32(c.base+abi.VCPUTimeInfoVersion) == p.version
}

// Wall is the time since 1970 in ns: the wall clock at system time 0, plus
// system time. It is what the host believes and not to be trusted for more
// than log lines and certificates' dates. ok is false where Xen gives none.
func (c *Clock) Wall() (ns int64, ok bool) {
	for range tries {
		version := c.page.Load32(abi.SharedInfoWCVersion)
		if version&1 != 0 {
			continue
		}
		sec := uint64(c.page.Load32(abi.SharedInfoWCSec)) | uint64(c.page.Load32(abi.SharedInfoWCSecHi))<<32
		nsec := c.page.Load32(abi.SharedInfoWCNsec)
		if c.page.Load32(abi.SharedInfoWCVersion) != version {
			continue
		}
		if sec == 0 || sec > 1<<33 { // 2242; beyond it ns overflow soon
			return 0, false
		}
		return int64(sec)*1e9 + int64(nsec) + c.Now(), true
	}
	return 0, false
}
