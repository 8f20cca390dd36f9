package manager

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The log says how long a start took, if there is a clock.
func TestLogOfStart(t *testing.T) {
	d, hw := newDisk(diskSize), newTPM()
	for _, c := range []struct {
		now  func() time.Time
		want string
	}{
		{nil, " sectors free"},
		{laterBy(7 * time.Millisecond), " sectors free, opened in 7ms"},
	} {
		var log []string
		conf := config(t, d, hw)
		conf.Now = c.now
		conf.Logf = func(format string, a ...any) { log = append(log, fmt.Sprintf(format, a...)) }
		start(t, conf)
		last := log[len(log)-1]
		if !strings.HasPrefix(last, "store open: ") || !strings.HasSuffix(last, c.want) {
			t.Errorf("the last line is %q, want it to end in %q", last, c.want)
		}
	}
}

// laterBy is a clock that goes on once, after it was read for the first time.
func laterBy(step time.Duration) func() time.Time {
	t, first := time.Unix(1_800_000_000, 0), true
	return func() time.Time {
		if first {
			first = false
			return t
		}
		return t.Add(step)
	}
}
