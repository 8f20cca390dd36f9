package tpm2

// cmdPolicyNvWritten is TPM2_PolicyNvWritten (TPM20-P3 section 23.20).
//
//	TPM_RC_VALUE  P1  neither YES nor NO, or the session demands the contrary
func cmdPolicyNvWritten(t *TPM, c *call) RC {
	written := c.in.param().yesNo()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	if s.policy.checkWritten && s.policy.written != written {
		return TPM_RC_VALUE.Param(1)
	}
	octet := []byte{0}
	if written {
		octet[0] = 1
	}
	s.extend(t, TPM_CC_PolicyNvWritten, octet)
	s.policy.checkWritten, s.policy.written = true, written
	return TPM_RC_SUCCESS
}
