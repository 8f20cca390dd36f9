package dom0

import (
	"fmt"
	"time"
)

// toolstackStep checks the lab itself, without any image of ours: a stock guest boots, reports, and shuts
// down when asked to.
func toolstackStep(l *Lab) error {
	g, err := l.startGuest(guestConfig{name: "plain", steps: []string{"verbose", "dmesg"}})
	if err != nil {
		return err
	}
	l.Metric("xl create of a Debian guest", g.Created.Seconds(), "s")
	start := time.Now()
	l.Check("a stock Debian guest boots and reports", g.Finished(guestLimit))
	l.Metric("boot of a Debian guest", time.Since(start).Seconds(), "s")
	took, err := g.ShutDown(time.Minute)
	l.Check("it shuts down when asked to", err)
	l.Metric("shutdown of a Debian guest", took.Seconds(), "s")
	return l.onlyDom0Left()
}

// onlyDom0Left checks that no domain, not even a dead one, is left.
func (l *Lab) onlyDom0Left() error {
	list, err := l.xl.list()
	if err == nil && (len(list) != 1 || list[0].ID != 0) {
		err = fmt.Errorf("xl list shows %+v", list)
	}
	l.Check("no domain is left, not even a zombie", err)
	return nil
}
