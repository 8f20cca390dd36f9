package tpm2

// cmdClearControl is TPM2_ClearControl (TPM20-P3 section 24.7).
//
//	TPM_RC_AUTH_FAIL  lockoutAuth may not enable TPM2_Clear again
//	TPM_RC_VALUE  P1  neither YES nor NO
func cmdClearControl(t *TPM, c *call) RC {
	disable := c.in.param().yesNo()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if c.handle(0) == TPM_RH_LOCKOUT && !disable {
		return TPM_RC_AUTH_FAIL
	}
	if t.perm.disableClear != disable {
		t.perm.disableClear = disable
		t.touch()
	}
	return TPM_RC_SUCCESS
}
