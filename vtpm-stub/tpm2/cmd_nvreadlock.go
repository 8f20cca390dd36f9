package tpm2

// cmdNVReadLock is TPM2_NV_ReadLock (TPM20-P3 section 31.14). A locked index stays locked
// without an error; an index that was never written can be locked.
//
//	TPM_RC_ATTRIBUTES  H2     the index cannot be read-locked
//	TPM_RC_NV_AUTHORIZATION   authHandle may not read the index
func cmdNVReadLock(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(1)
	switch rc := t.nvReadAccess(c.handle(0), ix); {
	case rc == TPM_RC_NV_LOCKED:
		return TPM_RC_SUCCESS
	case rc != TPM_RC_SUCCESS && rc != TPM_RC_NV_UNINITIALIZED:
		return rc
	case !ix.pub.Attributes.has(nvReadStClear):
		return TPM_RC_ATTRIBUTES.Handle(2)
	}
	t.nvSetAttrs(ix, nvReadLocked, 0)
	return TPM_RC_SUCCESS
}
