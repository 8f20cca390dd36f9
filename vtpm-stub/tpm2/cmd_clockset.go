package tpm2

// maxClock is the latest Clock that can be set, so that it never rolls over.
const maxClock = 0xFFFF000000000000

// cmdClockSet is TPM2_ClockSet (TPM20-P3 section 29.2).
//
//	TPM_RC_VALUE  P1  Clock would go back, or too far
func cmdClockSet(t *TPM, c *call) RC {
	clock := c.in.param().u64()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if clock > maxClock || clock < t.clockNow() {
		return TPM_RC_VALUE.Param(1)
	}
	t.setClock(clock)
	return TPM_RC_SUCCESS
}
