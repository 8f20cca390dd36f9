package tpmback

import (
	"fmt"
	"time"
)

// A frontend can make us log as fast as it can misbehave, and dom0 keeps the
// console's output. Each device may write logBurst lines at once and one more
// every logEvery; what is left out is counted.
const (
	logBurst = 30
	logEvery = int64(time.Second)
)

// logLimit is a bucket of lines that fills with time.
type logLimit struct {
	since   int64 // the bucket was empty then, less what has been spent
	skipped int
}

// take reports whether a line may be written now, and how many were left out
// since the last one.
func (l *logLimit) take(now int64) (ok bool, skipped int) {
	l.since = max(l.since, now-logBurst*logEvery)
	if l.since > now-logEvery {
		l.skipped++
		return false, 0
	}
	l.since += logEvery
	skipped, l.skipped = l.skipped, 0
	return true, skipped
}

func (d *device) logf(format string, args ...any) {
	ok, skipped := d.lines.take(d.now())
	if !ok {
		return
	}
	if skipped > 0 {
		d.b.cfg.Logf("tpmback: frontend %v: %d lines left out", d.fe, skipped)
	}
	d.b.cfg.Logf("tpmback: frontend %v: %s", d.fe, fmt.Sprintf(format, args...))
}
