package app

import (
	"slices"
	"testing"
	"time"
)

// A save of a quiet vTPM, while 20 others ask for deep quotes as fast as they can,
// waits for one of these at most, and for two commits: the one that was being
// made when it came, and its own. Nobody of the others starves. Time is virtual
// here, and the hardware TPM as slow as a chip.
func TestSaveAmongQuotes(t *testing.T) {
	alone := newCrowd(t, 0).saves(5)
	undisturbed := slices.MaxFunc(alone, func(a, b wait) int { return int(a.time - b.time) })
	const slowest = 400 * time.Millisecond // a quote that loads its keys, and reads the PCRs
	const commands = 12                    // of such a quote, unloading included
	c := newCrowd(t, 20)
	for i, w := range c.saves(20) {
		if w.time > 2*undisturbed.time+slowest || w.commands > 2*undisturbed.commands+commands {
			t.Errorf("save %d: %v, %d commands of the hardware TPM; undisturbed %v, %d", i, w.time, w.commands, undisturbed.time, undisturbed.commands)
		}
	}
	var served []int64
	for i := range c.quotes {
		served = append(served, c.quotes[i].Load())
	}
	slices.Sort(served)
	if served[0] < 5 || served[len(served)-1] > 2*served[0] {
		t.Errorf("quotes of the others: %v", served)
	}
}
