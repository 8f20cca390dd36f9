package tpm2

// cmdNVRead is TPM2_NV_Read (TPM20-P3 section 31.13).
//
//	TPM_RC_NV_AUTHORIZATION  authHandle may not read the index
//	TPM_RC_NV_LOCKED         the index is read-locked
//	TPM_RC_NV_RANGE          outside of the index
//	TPM_RC_NV_UNINITIALIZED  the index was not written
//	TPM_RC_VALUE        P1   more than 1024 octets
func cmdNVRead(t *TPM, c *call) RC {
	size := int(c.in.param().u16())
	offset := int(c.in.param().u16())
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(1)
	if rc := t.nvReadAccess(c.handle(0), ix); rc != TPM_RC_SUCCESS {
		return rc
	}
	if size > maxNVBuffer {
		return TPM_RC_VALUE.Param(1)
	}
	if offset+size > len(ix.data) {
		return TPM_RC_NV_RANGE
	}
	c.out.b2(ix.data[offset : offset+size])
	return TPM_RC_SUCCESS
}
