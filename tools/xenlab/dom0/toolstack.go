package dom0

import (
	"fmt"
	"strings"
	"time"

	"xenvtpm/tools/xenlab/machine"
)

// toolstackStep checks the lab itself, without any image of ours: a stock guest boots, reports, and shuts
// down when asked to.
func toolstackStep(l *Lab) error {
	g, err := l.startGuest(guestConfig{name: "plain", steps: []string{"verbose", "dmesg"}})
	if err != nil {
		return err
	}
	l.Metric("xl create of a Debian guest", g.Created.Seconds(), "s")
	l.checkProcessors(g)
	start := time.Now()
	l.Check("a stock Debian guest boots and reports", g.Finished(guestLimit))
	l.Metric("boot of a Debian guest", time.Since(start).Seconds(), "s")
	took, err := g.ShutDown(time.Minute)
	l.Check("it shuts down when asked to", err)
	l.Metric("shutdown of a Debian guest", took.Seconds(), "s")
	return l.onlyDom0Left()
}

// checkProcessors checks that Xen keeps a domain to the processors on which the emulator does not break it.
func (l *Lab) checkProcessors(d *Domain) {
	out, _, err := l.xl.do("vcpu-list", d.Name)
	if err == nil {
		err = keptTo(out, machine.DomainCPUs)
	}
	l.Check(d.Name+" keeps off the processor where the emulator breaks domains", err)
}

// keptTo reads the output of xl vcpu-list: a line of names, then Name ID VCPU CPU State Time(s) and the affinity,
// hard / soft.
func keptTo(out, cpus string) error {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) < 2 {
		return fmt.Errorf("xl vcpu-list shows no processor: %q", out)
	}
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if len(f) != 9 || f[7] != "/" {
			return fmt.Errorf("xl vcpu-list: cannot read the line %q", line)
		}
		if f[6] != cpus {
			return fmt.Errorf("its processor may run on %s, not only on %s", f[6], cpus)
		}
	}
	return nil
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
