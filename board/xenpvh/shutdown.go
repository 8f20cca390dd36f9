//go:build tamago

package xenpvh

import (
	"fmt"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/control"
	"xenvtpm/board/xen/hypercall"
)

// Reason says how a domain ends, for the toolstack to act on.
type Reason = control.Reason

// Reasons for Shutdown.
const (
	PowerOff = control.PowerOff
	Reboot   = control.Reboot
	Crash    = control.Crash
)

// Shutdown ends the domain at once, after the console's last line has been
// read. Everything else (disks, backends) must have been closed before.
func (p *Platform) Shutdown(r Reason) {
	con.Flush(flushLimit)
	hypercall.Shutdown(uint32(r))
}

// OnShutdown calls f, from the store's Dispatch, when the toolstack asks the
// domain to end; f sees to it that Shutdown(r) is called soon.
func (p *Platform) OnShutdown(f func(r Reason)) error {
	return control.OnShutdown(p.Store, Logf, f)
}

// CPUTime is what the domain's processor did since the domain was made.
type CPUTime struct {
	Running  time.Duration // on a physical processor
	Runnable time.Duration // waiting for one
	Blocked  time.Duration // idle
}

// CPUTime asks Xen for the accounts of our processor.
func (p *Platform) CPUTime() (CPUTime, error) {
	times, rc := hypercall.Runstate()
	if err := abi.HypercallError(rc); err != nil {
		return CPUTime{}, fmt.Errorf("xenpvh: asking for CPU time: %w", err)
	}
	return CPUTime{time.Duration(times[0]), time.Duration(times[1]), time.Duration(times[2])}, nil
}
