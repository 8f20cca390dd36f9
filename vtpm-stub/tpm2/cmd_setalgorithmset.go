package tpm2

// cmdSetAlgorithmSet is TPM2_SetAlgorithmSet (TPM20-P3 section 26.3). The value is kept
// and reported as TPM_PT_ALGORITHM_SET; every implemented algorithm stays enabled, which the
// specification leaves to the vendor. It has no error of its own.
func cmdSetAlgorithmSet(t *TPM, c *call) RC {
	set := c.in.param().u32()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if t.perm.algorithmSet != set {
		t.perm.algorithmSet = set
		t.touch()
	}
	return TPM_RC_SUCCESS
}
