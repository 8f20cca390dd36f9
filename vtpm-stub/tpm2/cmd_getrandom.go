package tpm2

// cmdGetRandom is TPM2_GetRandom (TPM20-P3 section 16.1). More than the largest
// digest is never returned.
func cmdGetRandom(t *TPM, c *call) RC {
	n := int(c.in.param().u16())
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	n = min(n, maxDigest)
	c.out.u16(uint16(n))
	t.random(c.out.grow(n))
	return TPM_RC_SUCCESS
}
