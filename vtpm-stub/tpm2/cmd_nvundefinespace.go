package tpm2

// cmdNVUndefineSpace is TPM2_NV_UndefineSpace (TPM20-P3 section 31.4).
//
//	TPM_RC_ATTRIBUTES  H2     the index can only be removed by its policy
//	TPM_RC_NV_AUTHORIZATION   the platform's index, but not its authorization
func cmdNVUndefineSpace(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(1)
	a := ix.pub.Attributes
	if a.has(nvPolicyDelete) {
		return TPM_RC_ATTRIBUTES.Handle(2)
	}
	if a.has(nvPlatformCreate) && c.handle(0) != TPM_RH_PLATFORM {
		return TPM_RC_NV_AUTHORIZATION
	}
	t.nvRemove(ix)
	return TPM_RC_SUCCESS
}
