package tpm2

// cmdReadClock is TPM2_ReadClock (TPM20-P3 section 29.1). It has no error of its own.
func cmdReadClock(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	info := t.clockInfo()
	c.out.u64(t.msTime())
	c.out.clockInfo(&info)
	return TPM_RC_SUCCESS
}
