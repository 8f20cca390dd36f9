package tpm2

// cmdNVExtend is TPM2_NV_Extend (TPM20-P3 section 31.9): data = H(data || input) with
// the index's nameAlg, beginning with zeros.
//
//	TPM_RC_ATTRIBUTES  H2     the index is not an extend index
//	TPM_RC_NV_AUTHORIZATION   authHandle may not write the index
//	TPM_RC_NV_LOCKED          the index is write-locked
//	TPM_RC_SIZE        P1     more than 1024 octets
func cmdNVExtend(t *TPM, c *call) RC {
	data := c.in.param().b2(maxNVBuffer)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := t.nvModify(c, TPM_NT_EXTEND); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(1)
	old := make([]byte, len(ix.data))
	if ix.pub.Attributes.has(nvWritten) {
		copy(old, ix.data)
	}
	t.nvWrite(ix, 0, t.hash.Sum(ix.pub.NameAlg, nil, old, data))
	return TPM_RC_SUCCESS
}
