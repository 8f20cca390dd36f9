package budget

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	r := Rate{Burst: 3, Every: time.Second}
	var b Bucket
	now := int64(100)
	for i := range 3 {
		if !b.Take(r, now, 1) {
			t.Fatalf("unit %d of the burst", i)
		}
	}
	if b.Take(r, now, 1) || b.Ready(r, 1) != now+1e9 || b.Ready(r, 2) != now+2e9 {
		t.Errorf("empty bucket: ready at %d, %d", b.Ready(r, 1), b.Ready(r, 2))
	}
	if now += 1e9; b.Take(r, now, 2) || !b.Take(r, now, 1) || b.Take(r, now, 1) {
		t.Error("one unit comes in each second")
	}
	if now += 1e12; !b.Full(now) || !b.Take(r, now, 3) || b.Take(r, now, 1) {
		t.Error("a bucket holds its burst, however long it rests")
	}
}

// A client that makes lines without end gets its burst and its rate; every line
// that is left out is counted, once, also when the client has gone quiet. Others
// lose nothing.
func TestConsole(t *testing.T) {
	var out []string
	now := int64(0)
	c := Console[int]{Logf: func(f string, a ...any) { out = append(out, fmt.Sprintf(f, a...)) }, Now: func() int64 { return now },
		Who: func(n int) string { return fmt.Sprintf("client %d", n) }}
	const lines = 100_000
	for i := range lines {
		c.Printf(1, "noise %d%%d", i)
		now += int64(time.Millisecond)
	}
	c.Printf(2, "a word")
	if out[len(out)-1] != "a word" {
		t.Errorf("another client's line: %q", out[len(out)-1])
	}
	if seconds := lines / 1000; len(out) > 31+seconds/10 {
		t.Errorf("%d lines in %d s", len(out), seconds)
	}
	at, ok := c.Report()
	for ok {
		now = at
		at, ok = c.Report()
	}
	written, lost := 0, 0
	for _, l := range out {
		n := 0
		if strings.HasPrefix(l, "noise") {
			written++
		} else if _, err := fmt.Sscanf(l, "client 1: %d lines left out", &n); err == nil {
			lost += n
		}
	}
	if written+lost != lines {
		t.Errorf("%d lines written, %d counted, of %d", written, lost, lines)
	}
}

// More clients than there is memory for share one budget.
func TestConsoleMemory(t *testing.T) {
	now, lines, last := int64(0), 0, ""
	c := Console[int]{Logf: func(f string, a ...any) { lines, last = lines+1, fmt.Sprintf(f, a...) }, Now: func() int64 { return now }, Who: func(int) string { return "" }}
	for i := range 10 * maxClients {
		c.Printf(i, "once")
	}
	if len(c.clients) != maxClients || lines != maxClients+ConsoleRate.Burst {
		t.Errorf("%d clients, %d lines", len(c.clients), lines)
	}
	now += int64(time.Hour)
	if _, ok := c.Report(); ok || last != fmt.Sprintf("others: %d lines left out", 9*maxClients-ConsoleRate.Burst) {
		t.Errorf("what was left out is named as %q", last)
	}
	if c.Printf(-1, "later"); len(c.clients) != 1 {
		t.Errorf("%d clients after an hour of silence", len(c.clients))
	}
}
