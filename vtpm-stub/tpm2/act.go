package tpm2

// act is one Authenticated Countdown Timer (TPM20-P1 clause 43).
type act struct {
	deadline uint64 // Time in ms when it signals; 0 is not running
	signaled bool
	preserve bool // signaled was so before a TPM Resume (v185, P2 8.12)
	set      bool // by TPM2_ACT_SetTimeout since Startup
	policy   policyAuth
}

// tickACT signals the timers that have run out.
func (t *TPM) tickACT(now uint64) {
	for i := range t.sc.act {
		a := &t.sc.act[i]
		if a.deadline != 0 && now >= a.deadline {
			a.deadline = 0
			a.signaled = true
		}
	}
}

// actRemaining returns the seconds left, rounded up.
func (t *TPM) actRemaining(a *act) uint32 {
	now := t.msTime()
	if a.deadline == 0 || a.deadline <= now {
		return 0
	}
	return uint32((a.deadline - now + 999) / 1000)
}

// left returns the milliseconds that are left of a timer, 0 when it does not run.
func (c *act) left(now uint64) uint64 {
	if c.deadline == 0 {
		return 0
	}
	return max(1, c.deadline-min(c.deadline, now))
}

// saved returns what Shutdown(STATE) saves of a timer: half of what is left of one that was not
// set since Startup, so that suspending again and again does not put it off (TPM20-P1 43.2).
func (c *act) saved(now uint64) uint64 {
	n := c.left(now)
	if n == 0 || c.set {
		return n
	}
	return max(1, n/2)
}

// savedACT returns what is saved of a timer, for a Time that starts over at 0: before Startup
// what was restored.
func (t *TPM) savedACT(c *act) uint64 {
	switch {
	case t.ram.started:
		return c.saved(t.msTime())
	case t.ram.timeBase != 0: // volatile state of before Startup was loaded
		return c.left(t.msTime())
	}
	return c.deadline
}

// leftACT returns what is left of a timer.
func (t *TPM) leftACT(c *act) uint64 { return c.left(t.msTime()) }

// powerOffACT leaves timers as Shutdown(STATE) saved them.
func (t *TPM) powerOffACT() {
	for i := range t.sc.act {
		a := &t.sc.act[i]
		a.deadline, a.set = t.savedACT(a), false
	}
}

// rebaseACT is for timers that were read with what was left of them, at a Time that goes on.
func (t *TPM) rebaseACT() {
	for i := range t.sc.act {
		if a := &t.sc.act[i]; a.deadline != 0 {
			a.deadline += t.ram.timeBase
		}
	}
}

// resumeACT is what TPM Resume does to timers.
func (t *TPM) resumeACT() {
	for i := range t.sc.act {
		t.sc.act[i].preserve = t.sc.act[i].signaled
	}
}

// archiveACT moves a timer with what is left of it, as read or written at Time 0.
func archiveACT(a *archive, c *act, left uint64) {
	a.u64(&left)
	if a.loading() {
		c.deadline = left
	}
	a.flag(&c.signaled)
	a.flag(&c.preserve)
	a.policy(&c.policy)
}
