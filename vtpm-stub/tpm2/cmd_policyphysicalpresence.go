package tpm2

// cmdPolicyPhysicalPresence is TPM2_PolicyPhysicalPresence (TPM20-P3 section 23.12). It has no
// error of its own.
func cmdPolicyPhysicalPresence(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	s.extend(t, TPM_CC_PolicyPhysicalPresence)
	s.policy.ppRequired = true
	return TPM_RC_SUCCESS
}
