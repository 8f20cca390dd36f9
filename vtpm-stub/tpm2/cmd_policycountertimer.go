package tpm2

// timeInfoSize is the size of a marshaled TPMS_TIME_INFO: Time and TPMS_CLOCK_INFO.
const timeInfoSize = 8 + 17

// cmdPolicyCounterTimer is TPM2_PolicyCounterTimer (TPM20-P3 section 23.10).
//
//	TPM_RC_POLICY     the comparison fails
//	TPM_RC_RANGE      offset and operandB reach past TPMS_TIME_INFO
//	TPM_RC_SIZE   P1  operandB is longer than the largest digest
//	TPM_RC_VALUE  P2  offset is past TPMS_TIME_INFO
//	TPM_RC_VALUE  P3  not a TPM_EO
func cmdPolicyCounterTimer(t *TPM, c *call) RC {
	operandB := c.in.param().b2(maxDigest)
	offset := c.in.param().u16()
	op := c.in.param().operation()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	if !s.trial() {
		if offset > timeInfoSize {
			return TPM_RC_VALUE.Param(2)
		}
		end := int(offset) + len(operandB)
		if end > timeInfoSize {
			return TPM_RC_RANGE
		}
		if !compare(t.timeInfo()[offset:end], operandB, op) {
			return TPM_RC_POLICY
		}
	}
	s.extend(t, TPM_CC_PolicyCounterTimer, t.comparisonArgs(s, operandB, offset, op))
	return TPM_RC_SUCCESS
}

// timeInfo is the marshaled TPMS_TIME_INFO of this moment.
func (t *TPM) timeInfo() []byte {
	info := t.clockInfo()
	return marshal(timeInfoSize, func(w *writer) {
		w.u64(t.msTime())
		w.clockInfo(&info)
	})
}
