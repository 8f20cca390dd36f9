package manager

import (
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
)

// commit makes the staged changes durable and moves the hardware counter; then
// runs f, which takes them over into memory. f may be nil. When only the counter
// stays behind, f runs once that is made good.
func (m *Manager) commit(f func()) error {
	if err := m.settleOwed(); err != nil {
		return err
	}
	if err := m.events.stage(m.store); err != nil {
		m.logf("event log: %v", err)
	}
	next := m.nv
	if !m.c.RollbackOff {
		next++
	}
	if err := m.store.Commit(next); err != nil {
		return err
	}
	m.Metrics.Commits++
	m.owed, m.taken = !m.c.RollbackOff, f
	return m.settleOwed()
}

// settleOwed makes the increment that the last commit still owes. Until it is
// made nothing of that commit is acknowledged, nothing of it is shown to
// anybody, and no other is begun: the disk before it would be taken for the
// newest, and two disks with the same counter could not be told apart.
func (m *Manager) settleOwed() error {
	if m.owed {
		if m.stuck != nil {
			return m.stuck
		}
		if m.stuck = m.increment(m.nv + 1); m.stuck != nil {
			return m.stuck
		}
		m.nv, m.owed = m.nv+1, false
	}
	if f := m.taken; f != nil {
		m.taken = nil
		f()
	}
	return nil
}

// settled reports whether all that the store shows is durable, with the counter
// above it, after making good what is owed. Whatever reads the store for a
// client asks this first: what a power cut could take back, nobody may see.
func (m *Manager) settled() bool {
	if m.degraded != nil || m.store == nil {
		return m.degraded == nil
	}
	err := m.settleOwed()
	if err == nil && m.store.Dirty() > 0 {
		err = errStaged
	}
	switch {
	case err == nil:
		return true
	case m.passing(err):
		m.logf("refused for now, the hardware TPM does not count: %v", err)
	default:
		m.degrade(err)
	}
	return false
}

var errStaged = errors.New("internal error: changes are left uncommitted between two requests")

// passing reports whether an error of the hardware TPM may pass: somebody else
// holds it, or its driver gave up waiting. The store is not in doubt.
func (m *Manager) passing(err error) bool {
	return m.owed && (errors.Is(err, hwtpm.ErrBusy) || errors.Is(err, hwtpm.ErrNoTPM) || errors.Is(err, hwtpm.ErrNoSpace))
}

// increment brings the hardware counter to want, its value plus one. Whether an
// increment without an answer was made, only the counter tells: it is read, now or
// at the next attempt, before another is sent. One too many would make the disk
// look old.
func (m *Manager) increment(want uint64) (err error) {
	for try := range 4 {
		if !m.unsure {
			if err = m.c.HW.Increment(); err == nil {
				return nil
			}
			if m.unsure = true; try == 0 {
				m.logf("hardware TPM does not count: %v", err)
			}
		}
		if errors.Is(err, hwtpm.ErrBusy) { // it was asked for long enough
			return err
		}
		now, rerr := m.c.HW.Counter()
		switch {
		case rerr != nil:
			err = rerr
			continue
		case now != want && now != want-1:
			return fmt.Errorf("%w: it is %d, expected %d", ErrCounterMoved, now, want)
		}
		m.unsure = false
		if now == want {
			return nil
		}
	}
	return err
}
