package tpm2

// cmdPolicyRestart is TPM2_PolicyRestart (TPM20-P3 section 11.2): the session is as
// after TPM2_StartAuthSession, but for its start time. It has no error of its own.
func cmdPolicyRestart(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	t.resetPolicy(c.session(0))
	return TPM_RC_SUCCESS
}
