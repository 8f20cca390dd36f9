package tpm2

// Steps and limit of the rate of Time, in 2^-16: fine, medium and coarse are about
// 0.1, 1 and 5 percent; 15 percent is what the specification lets a clock be wrong.
const (
	rateFine   = 66
	rateMedium = 655
	rateCoarse = 3277
	rateLimit  = 9830
)

// cmdClockRateAdjust is TPM2_ClockRateAdjust (TPM20-P3 section 29.3); the rate is
// nominal again after a power cut.
//
//	TPM_RC_VALUE  P1  not a TPM_CLOCK_ADJUST, or the rate would be wrong by more than 15 percent
func cmdClockRateAdjust(t *TPM, c *call) RC {
	adjust := int8(c.in.param().u8())
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	// TPM_CLOCK_ADJUST is -3 (coarse slower) to 3 (coarse faster).
	if adjust < -3 || adjust > 3 {
		return TPM_RC_VALUE.Param(1)
	}
	step := [...]int32{0, rateFine, rateMedium, rateCoarse}[max(adjust, -adjust)]
	if adjust < 0 {
		step = -step
	}
	rate := t.ram.rate + step
	if rate > rateLimit || rate < -rateLimit {
		return TPM_RC_VALUE.Param(1)
	}
	if step != 0 {
		t.setClockRate(rate)
	}
	return TPM_RC_SUCCESS
}
