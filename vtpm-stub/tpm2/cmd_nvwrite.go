package tpm2

import "bytes"

// cmdNVWrite is TPM2_NV_Write (TPM20-P3 section 31.7). What does not change the
// data is not written to NV.
//
//	TPM_RC_ATTRIBUTES  H2     the index is a counter, bits or extend index
//	TPM_RC_NV_AUTHORIZATION   authHandle may not write the index
//	TPM_RC_NV_LOCKED          the index is write-locked
//	TPM_RC_NV_RANGE           outside of the index, or not all of it though
//	                          TPMA_NV_WRITEALL is SET
//	TPM_RC_SIZE        P1     more than 1024 octets
func cmdNVWrite(t *TPM, c *call) RC {
	data := c.in.param().b2(maxNVBuffer)
	offset := int(c.in.param().u16())
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(1)
	if rc := t.nvWriteAccess(c.handle(0), ix); rc != TPM_RC_SUCCESS {
		return rc
	}
	a := ix.pub.Attributes
	switch a.nt() {
	case TPM_NT_COUNTER, TPM_NT_BITS, TPM_NT_EXTEND:
		return TPM_RC_ATTRIBUTES.Handle(2)
	}
	if offset+len(data) > len(ix.data) || a.has(nvWriteAll) && len(data) != len(ix.data) {
		return TPM_RC_NV_RANGE
	}
	if a.has(nvWritten) && bytes.Equal(ix.data[offset:offset+len(data)], data) {
		return TPM_RC_SUCCESS
	}
	t.nvWrite(ix, offset, data)
	return TPM_RC_SUCCESS
}
