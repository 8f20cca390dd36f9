package tpm2

// cmdDictionaryAttackLockReset is TPM2_DictionaryAttackLockReset (TPM20-P3 section
// 25.2). It has no error of its own.
func cmdDictionaryAttackLockReset(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	t.resetDA()
	return TPM_RC_SUCCESS
}
