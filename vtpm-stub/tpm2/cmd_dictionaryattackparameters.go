package tpm2

// cmdDictionaryAttackParameters is TPM2_DictionaryAttackParameters (TPM20-P3
// section 25.3). It has no error of its own.
func cmdDictionaryAttackParameters(t *TPM, c *call) RC {
	maxTries := c.in.param().u32()
	recovery := c.in.param().u32()
	lockout := c.in.param().u32()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	p := &t.perm
	p.maxTries, p.recoveryTime, p.lockoutRecovery = maxTries, recovery, lockout
	// Self-healing counts from now on; a try more than the new limit is no more
	// a failure than one at it.
	p.failedTries = min(p.failedTries, maxTries)
	t.ram.failedTriesAt = t.msTime()
	t.touch()
	return TPM_RC_SUCCESS
}
