package tpm2

// cmdPolicyNV is TPM2_PolicyNV (TPM20-P3 section 23.9).
//
//	TPM_RC_NV_AUTHORIZATION  authHandle may not read the index
//	TPM_RC_NV_LOCKED         the index is read-locked
//	TPM_RC_NV_RANGE          outside of the index
//	TPM_RC_NV_UNINITIALIZED  the index was not written
//	TPM_RC_POLICY            the comparison fails
//	TPM_RC_SIZE   P1         operandB is longer than the largest digest
//	TPM_RC_VALUE  P3         not a TPM_EO
func cmdPolicyNV(t *TPM, c *call) RC {
	operandB := c.in.param().b2(maxDigest)
	offset := c.in.param().u16()
	op := c.in.param().operation()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix, s := c.nv(1), c.session(2)
	if rc := t.nvReadAccess(c.handle(0), ix); rc != TPM_RC_SUCCESS && !(s.trial() && rc != TPM_RC_NV_AUTHORIZATION) {
		return rc
	}
	if !s.trial() {
		end := int(offset) + len(operandB)
		if end > len(ix.data) {
			return TPM_RC_NV_RANGE
		}
		if !compare(ix.data[offset:end], operandB, op) {
			return TPM_RC_POLICY
		}
	}
	s.extend(t, TPM_CC_PolicyNV, t.comparisonArgs(s, operandB, offset, op), t.nvName(ix))
	return TPM_RC_SUCCESS
}
