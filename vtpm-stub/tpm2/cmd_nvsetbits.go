package tpm2

import "encoding/binary"

// cmdNVSetBits is TPM2_NV_SetBits (TPM20-P3 section 31.10). Bits that are SET
// already cause no write.
//
//	TPM_RC_ATTRIBUTES  H2     the index is not a bits index
//	TPM_RC_NV_AUTHORIZATION   authHandle may not write the index
//	TPM_RC_NV_LOCKED          the index is write-locked
func cmdNVSetBits(t *TPM, c *call) RC {
	bits := c.in.param().u64()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := t.nvModify(c, TPM_NT_BITS); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(1)
	var old uint64
	if ix.pub.Attributes.has(nvWritten) {
		old = nvUint64(ix)
		if old|bits == old {
			return TPM_RC_SUCCESS
		}
	}
	t.nvWrite(ix, 0, binary.BigEndian.AppendUint64(nil, old|bits))
	return TPM_RC_SUCCESS
}
