package app

import (
	"fmt"
	"testing"
	"time"

	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/tpmback"
)

// Lines that come of a guest's commands are within its budget, and what is left
// out is named; those that nobody has asked for are written.
func TestGuestLines(t *testing.T) {
	d := xentest.New(t).NewDomain(2)
	var out []string
	a, err := New(Config{Store: d.Store, Channels: d.Channels, Grants: d.Grants, Logf: func(f string, args ...any) { out = append(out, fmt.Sprintf(f, args...)) }})
	if err != nil {
		t.Fatal(err)
	}
	const lines = 1000
	a.serving = &tpmback.Frontend{Domain: 5}
	for i := range lines {
		a.cfg.Logf("a guest's line %d", i)
	}
	if len(out) > 31 {
		t.Errorf("%d lines", len(out))
	}
	a.serving = &tpmback.Frontend{Domain: 6}
	a.cfg.Logf("a neighbour's")
	a.serving = nil
	a.cfg.Logf("our own")
	if n := len(out); out[n-2] != "a neighbour's" || out[n-1] != "our own" {
		t.Errorf("the last lines: %q", out[n-2:])
	}
	a.reportLines()
	if now := d.Channels.Now(); a.quiet <= now || a.quiet > now+int64(time.Minute) {
		t.Errorf("the lines that were left out are named at %d, now is %d", a.quiet, now)
	}
}
