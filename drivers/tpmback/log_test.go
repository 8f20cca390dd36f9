package tpmback_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xenvtpm/drivers/drivertest"
)

// A guest whose every request is refused, and one that connects and disconnects
// without end, have their budgets of lines; what is left out is counted, also
// when they have gone quiet, and a neighbour's line is written.
func TestConsoleBudget(t *testing.T) {
	l := newLab(t)
	var lines []string
	l.cfg.Logf = func(f string, a ...any) { lines = append(lines, fmt.Sprintf(f, a...)) }
	l.start()
	bad, flapping := l.up(5, drivertest.UUID1), l.up(6, drivertest.UUID2)
	began := l.h.Now()
	const rounds = 200
	for range rounds {
		bad.Page.CopyIn(8, drivertest.Command(0x17B, 12))
		header(bad.Page, 9, 1, 0)
		if s, _ := answer(t, bad, 8); s != 2 {
			t.Fatal("the bad request is not answered")
		}
		must(t, flapping.Resume())
		must(t, flapping.Connect(time.Second))
	}
	about := func(f string) (made, lost int) {
		for _, line := range lines {
			n := 0
			if _, err := fmt.Sscanf(line, "tpmback: frontend "+f+": %d lines left out", &n); err == nil {
				lost += n
			} else if strings.HasPrefix(line, "tpmback: frontend "+f+":") {
				made++
			}
		}
		return made, lost
	}
	l.h.Sleep(time.Minute)
	seconds := int(time.Duration(l.h.Now()-began) / time.Second)
	for _, f := range []string{"5/0", "6/0"} {
		if made, lost := about(f); made > 30+seconds/10 || made+lost < rounds {
			t.Errorf("%s: %d lines in %d s, %d left out", f, made, seconds, lost)
		}
	}
	l.up(7, drivertest.UUID3)
	if made, lost := about("7/0"); made == 0 || lost != 0 {
		t.Errorf("the neighbour: %d lines, %d left out", made, lost)
	}
}
