package dom0

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// createLimit is what a vTPM may take from xl create to InitWait on an idle machine under emulation.
const createLimit = time.Second

// benchStep measures what an operator and a guest see. Its checks are about results, not about
// times, except where a limit is so far from the normal value that a busy machine does not matter.
func benchStep(l *Lab) error {
	s := l.newStack("")
	if err := s.blank(); err != nil {
		return err
	}
	if err := s.timedManager("a blank disk"); err != nil {
		return err
	}
	if err := s.startVTPM(); err != nil {
		return err
	}
	l.Metric("vTPM, first start: xl create", s.vtpm.Created.Seconds(), "s")
	if err := l.startTimes(s); err != nil {
		return err
	}
	if err := s.run("attach", "bench"); err != nil {
		return err
	}
	if err := l.idle(s); err != nil {
		return err
	}
	if _, err := s.guest.Destroy(); err != nil {
		return err
	}
	s.guest.Console.Close()
	if err := s.run("attach", "load"); err != nil {
		return err
	}
	manager, vtpm := s.manager, s.vtpm
	s.shutDown()
	l.heap(vtpm)
	l.heap(manager)
	return l.onlyDom0Left()
}

// startTimes restarts the vTPM a few times and measures, from the start of xl create, how long it takes until its
// backend shows InitWait to a frontend that waits for it, and until it serves.
func (l *Lab) startTimes(s *stack) error {
	var created, waiting, ready []float64
	for range 5 {
		if _, err := s.vtpm.ShutDown(2 * time.Minute); err != nil {
			return err
		}
		s.vtpm.Console.Close()
		early, err := frontendInWaiting(s.vtpm.ID+1, xlLimit)
		if err != nil {
			return err
		}
		start := time.Now()
		err = s.startVTPM()
		at, eerr := early.wait()
		if err != nil || eerr != nil {
			return errors.Join(err, eerr)
		}
		created, ready = append(created, s.vtpm.Created.Seconds()), append(ready, time.Since(start).Seconds())
		waiting = append(waiting, at.Sub(start).Seconds())
	}
	for _, m := range []struct {
		what string
		of   []float64
	}{
		{"vTPM: xl create", created},
		{"vTPM: start of xl create to its backend in InitWait", waiting},
		{"vTPM: start of xl create to ready", ready},
	} {
		slices.Sort(m.of)
		l.Metric(m.what+", best of 5", m.of[0], "s")
		l.Metric(m.what+", median", m.of[len(m.of)/2], "s")
	}
	l.Metric("vTPM: limit for InitWait on an idle machine", createLimit.Seconds(), "s")
	return nil
}

// idle measures the processor time of domains that have nothing to do.
func (l *Lab) idle(s *stack) error {
	const period = 20 * time.Second
	before := make(map[int]float64)
	list, err := l.xl.list()
	if err != nil {
		return err
	}
	for _, e := range list {
		before[e.ID] = e.CPU
	}
	time.Sleep(period)
	if list, err = l.xl.list(); err != nil {
		return err
	}
	for _, e := range list {
		if e.ID != s.vtpm.ID && e.ID != s.manager.ID {
			continue
		}
		share := 100 * (e.CPU - before[e.ID]) / period.Seconds()
		l.Metric("idle processor use of "+e.Name, share, "%")
		err = nil
		if share > 1 {
			err = fmt.Errorf("%.1f %% of a processor in state %s", share, e.State)
		}
		l.Check("an idle "+e.Name+" uses no processor time", err)
	}
	return nil
}

var peakHeap = regexp.MustCompile(`RAM ([0-9]+) KB.*heap live ([0-9]+) KB, peak ([0-9]+) KB`)

// heap takes a domain's own report of its memory from its last words.
func (l *Lab) heap(d *Domain) {
	lines := d.Console.Lines()
	for i := len(lines) - 1; i >= 0; i-- {
		m := peakHeap.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		for j, name := range []string{"memory", "live heap at the end", "peak heap"} {
			kb, err := strconv.ParseFloat(m[j+1], 64)
			if err == nil {
				l.Metric(d.Name+": "+name, kb/1024, "MB")
			}
		}
		l.Check(d.Name+" reports its peak heap after the load", nil)
		return
	}
	l.Check(d.Name+" reports its peak heap after the load", fmt.Errorf("its last lines are:\n%s", d.Console.Tail(6)))
}
