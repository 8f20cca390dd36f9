package tpm2

import "encoding/binary"

// cmdNVIncrement is TPM2_NV_Increment (TPM20-P3 section 31.8). A counter starts
// above every value that a counter of this TPM ever had.
//
//	TPM_RC_ATTRIBUTES  H2     the index is not a counter
//	TPM_RC_NV_AUTHORIZATION   authHandle may not write the index
//	TPM_RC_NV_LOCKED          the index is write-locked
func cmdNVIncrement(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(1)
	if rc := t.nvModify(c, TPM_NT_COUNTER); rc != TPM_RC_SUCCESS {
		return rc
	}
	value := t.perm.maxCounter
	if ix.pub.Attributes.has(nvWritten) {
		value = nvUint64(ix)
	}
	value++
	t.nvWrite(ix, 0, binary.BigEndian.AppendUint64(nil, value))
	if value&maxOrderlyCount == 0 {
		// An orderly counter is saved when it passes what a power cut skips.
		t.touch()
	}
	return TPM_RC_SUCCESS
}

// nvModify checks what Increment, Extend and SetBits have in common: the index
// may be written, and is of the right type.
func (t *TPM) nvModify(c *call, nt uint8) RC {
	ix := c.nv(1)
	if rc := t.nvWriteAccess(c.handle(0), ix); rc != TPM_RC_SUCCESS {
		return rc
	}
	if ix.pub.Attributes.nt() != nt {
		return TPM_RC_ATTRIBUTES.Handle(2)
	}
	return TPM_RC_SUCCESS
}
