package tpm2

// msTime returns Time: milliseconds since _TPM_Init (TPM20-P1 section 36.2).
func (t *TPM) msTime() uint64 {
	d := t.cfg.Clock() - t.ram.timeAt
	if d < 0 {
		d = 0 // the clock went back; Time never does
	}
	return t.ram.timeBase + uint64(d) + uint64(d*int64(t.ram.rate)>>16)
}

// clockNow returns Clock.
func (t *TPM) clockNow() uint64 { return t.ram.clockOffset + t.msTime() }

// clockInfo returns the TPMS_CLOCK_INFO of this moment.
func (t *TPM) clockInfo() TPMS_CLOCK_INFO {
	return TPMS_CLOCK_INFO{
		Clock:        t.clockNow(),
		ResetCount:   t.perm.resetCount,
		RestartCount: t.sr.restartCount,
		Safe:         t.perm.clockSafe,
	}
}

// setClockRate changes the rate to 1 + rate/65536.
func (t *TPM) setClockRate(rate int32) {
	t.ram.timeBase, t.ram.timeAt = t.msTime(), t.cfg.Clock()
	t.ram.rate = rate
}

// setClock advances Clock (TPM2_ClockSet) and saves it.
func (t *TPM) setClock(clock uint64) {
	t.ram.clockOffset = clock - t.msTime()
	t.perm.clock = clock
	t.perm.clockSafe = true
	t.clearOrderly()
	t.touch()
}

// tick does what time alone causes: it saves Clock at its interval, lets the
// dictionary attack counter heal and fires ACTs. It runs before each command.
func (t *TPM) tick() {
	now := t.msTime()
	if clock := t.ram.clockOffset + now; clock-t.perm.clock >= clockUpdateMS {
		// P1 36.3.2: safe is SET again by the first update after a
		// non-orderly start.
		t.perm.clock = clock
		t.perm.clockSafe = true
		t.touch()
	}
	t.healDA(now)
	t.tickACT(now)
}
