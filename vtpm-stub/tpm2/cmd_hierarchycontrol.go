package tpm2

// cmdHierarchyControl is TPM2_HierarchyControl (TPM20-P3 section 24.2). The platform
// may change every enable but not SET its own; owner and endorsement may
// CLEAR their own.
//
//	TPM_RC_AUTH_TYPE      authHandle may not make this change
//	TPM_RC_VALUE  P1, P2  not an enable; neither YES nor NO
func cmdHierarchyControl(t *TPM, c *call) RC {
	enable := c.in.param().enable()
	on := c.in.param().yesNo()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	platform := c.handle(0) == TPM_RH_PLATFORM
	switch {
	case enable == TPM_RH_PLATFORM && on:
		return TPM_RC_AUTH_TYPE
	case !platform && (c.handle(0) != enable || on):
		return TPM_RC_AUTH_TYPE
	case enable == TPM_RH_PLATFORM_NV:
		t.sc.phEnableNV = on
		t.clearOrderly()
	case t.hier(enable).enabled != on:
		t.hier(enable).enabled = on
		if !on {
			t.flushHierarchy(enable)
		}
		t.clearOrderly()
	}
	return TPM_RC_SUCCESS
}

// enable reads a TPMI_RH_ENABLES.
func (r *reader) enable() Handle {
	h := r.handle()
	switch h {
	case TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM, TPM_RH_PLATFORM_NV:
	default:
		r.fail(TPM_RC_VALUE)
	}
	return h
}
