package tpm2

// cmdNVReadPublic2 is TPM2_NV_ReadPublic2 (v185, P3 section 31.18): TPM2_NV_ReadPublic with
// the type of the index before the public area. The Name is the same.
func cmdNVReadPublic2(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(0)
	m := c.out.begin2B()
	c.out.u8(TPM_HT_NV_INDEX)
	c.out.nvPublic(&ix.pub)
	c.out.end2B(m)
	c.out.b2(t.nvName(ix))
	return TPM_RC_SUCCESS
}
