package tpm2

// cmdFlushContext is TPM2_FlushContext (TPM20-P3 section 28.4). The handle is a
// parameter; sessions may be loaded or saved.
//
//	TPM_RC_HANDLE  P1  nothing is loaded under the handle
//	TPM_RC_VALUE   P1  the handle is not of an object or session
func cmdFlushContext(t *TPM, c *call) RC {
	h := c.in.param().handle()
	if c.in.rc == TPM_RC_SUCCESS && !(&handleSpec{kind: hContext}).allows(h) {
		c.in.fail(TPM_RC_VALUE)
	}
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	var ok bool
	if h.Type() == TPM_HT_TRANSIENT {
		ok = t.flushObject(h)
	} else {
		ok = t.flushSession(h)
	}
	if !ok {
		return TPM_RC_HANDLE.Param(1)
	}
	return TPM_RC_SUCCESS
}
