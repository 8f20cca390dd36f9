package tpm2

// cmdNVReadPublic is TPM2_NV_ReadPublic (TPM20-P3 section 31.6).
func cmdNVReadPublic(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(0)
	c.out.nvPublic2B(&ix.pub)
	c.out.b2(t.nvName(ix))
	return TPM_RC_SUCCESS
}
