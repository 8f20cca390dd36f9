package tpm2

// cmdNVWriteLock is TPM2_NV_WriteLock (TPM20-P3 section 31.11). A locked index stays
// locked without an error.
//
//	TPM_RC_ATTRIBUTES  H2     the index cannot be write-locked
//	TPM_RC_NV_AUTHORIZATION   authHandle may not write the index
func cmdNVWriteLock(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(1)
	switch rc := t.nvWriteAccess(c.handle(0), ix); {
	case rc == TPM_RC_NV_LOCKED:
		return TPM_RC_SUCCESS
	case rc != TPM_RC_SUCCESS:
		return rc
	case ix.pub.Attributes&(nvWriteDefine|nvWriteStClear) == 0:
		return TPM_RC_ATTRIBUTES.Handle(2)
	}
	t.nvLock(ix)
	return TPM_RC_SUCCESS
}

// nvLock SETs WRITELOCKED. A lock that outlives a reset is saved at once, for an
// orderly index too.
func (t *TPM) nvLock(ix *nvIndex) {
	t.nvSetAttrs(ix, nvWriteLocked, 0)
	if ix.pub.Attributes.has(nvWriteDefine) {
		t.touch()
	}
}
