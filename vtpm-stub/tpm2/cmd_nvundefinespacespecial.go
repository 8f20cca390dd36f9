package tpm2

// cmdNVUndefineSpaceSpecial is TPM2_NV_UndefineSpaceSpecial (TPM20-P3 section 31.5), for
// indices whose policy alone may remove them.
//
//	TPM_RC_ATTRIBUTES  H1  TPMA_NV_POLICY_DELETE is not SET in the index
func cmdNVUndefineSpaceSpecial(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(0)
	if !ix.pub.Attributes.has(nvPolicyDelete) {
		return TPM_RC_ATTRIBUTES.Handle(1)
	}
	// The response HMAC covers an entity that is gone by then (P3 31.5.1).
	c.setResponseAuth(0, nil)
	t.nvRemove(ix)
	return TPM_RC_SUCCESS
}
