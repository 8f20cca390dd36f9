package tpm2

// cmdShutdown is TPM2_Shutdown (TPM20-P3 section 9.4).
//
//	TPM_RC_TYPE   SU_STATE, but PCR banks were reallocated: the next Startup
//	              must be CLEAR
//	TPM_RC_VALUE  P1: shutdownType is unknown
func cmdShutdown(t *TPM, c *call) RC {
	su := c.in.param().u16()
	if c.in.rc == TPM_RC_SUCCESS && su != TPM_SU_CLEAR && su != TPM_SU_STATE {
		c.in.fail(TPM_RC_VALUE)
	}
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if su == TPM_SU_STATE && (t.ram.allocated || t.perm.pcrAlloc != t.perm.pcrAllocNext) {
		return TPM_RC_TYPE
	}
	t.perm.clock = t.clockNow()
	t.perm.orderly = orderlyClear
	if su == TPM_SU_STATE {
		t.perm.orderly = orderlyState
	}
	t.touch()
	return TPM_RC_SUCCESS
}
