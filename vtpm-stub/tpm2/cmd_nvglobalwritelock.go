package tpm2

// cmdNVGlobalWriteLock is TPM2_NV_GlobalWriteLock (TPM20-P3 section 31.12): it write-locks
// every index with TPMA_NV_GLOBALLOCK. It has no error of its own.
func cmdNVGlobalWriteLock(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	for _, ix := range t.perm.nv {
		if ix.pub.Attributes.has(nvGlobalLock) && !ix.pub.Attributes.has(nvWriteLocked) {
			t.nvLock(ix)
		}
	}
	return TPM_RC_SUCCESS
}
