package tpmback

import (
	"fmt"

	"xenvtpm/board/xen/evtchn"
)

// A frontend can make us log as fast as it can misbehave, and dom0 keeps the
// console's output: each device has a budget of lines. What is left out is
// counted, and named when there is room again.

func (d *device) logf(format string, args ...any) {
	d.lines.Printf(d.b.cfg.Logf, d.now(), d.who(), "%s: %s", d.who(), fmt.Sprintf(format, args...))
}

func (d *device) who() string { return fmt.Sprintf("tpmback: frontend %v", d.fe) }

// linesDue is when lines that were left out can be named.
func (d *device) linesDue() int64 {
	if at, lost := d.lines.Due(); lost {
		return at
	}
	return evtchn.Forever
}
