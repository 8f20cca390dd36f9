package tpm2

// cmdContextLoad is TPM2_ContextLoad (TPM20-P3 section 28.3).
//
//	TPM_RC_CONTEXT_GAP         the context counter is too far ahead for any session
//	                           but the oldest saved one
//	TPM_RC_FAILURE             the context is authentic and does not decrypt: the TPM
//	                           goes into failure mode
//	TPM_RC_HANDLE         P1   the session was flushed, is loaded, or was saved
//	                           again since
//	TPM_RC_HIERARCHY      P1   the hierarchy is disabled
//	TPM_RC_INTEGRITY      P1   the context was changed, or became invalid
//	TPM_RC_OBJECT_MEMORY       no free slot
//	TPM_RC_SESSION_MEMORY      no free slot
//	TPM_RC_VALUE          P1   sequence or savedHandle were never given out
func cmdContextLoad(t *TPM, c *call) RC {
	ctx := c.in.param().context()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	var h Handle
	var rc RC
	switch ctx.Saved.Type() {
	case TPM_HT_HMAC_SESSION, TPM_HT_POLICY_SESSION:
		h, rc = t.loadSession(&ctx)
	case TPM_HT_TRANSIENT:
		h, rc = t.loadObject(&ctx)
	default:
		rc = TPM_RC_VALUE
	}
	if rc != TPM_RC_SUCCESS {
		return rc.Param(1)
	}
	c.setHandle(h)
	return TPM_RC_SUCCESS
}

// loadObject loads the context of an object or sequence.
func (t *TPM) loadObject(ctx *TPMS_CONTEXT) (Handle, RC) {
	switch {
	case ctx.Saved > savedStClear, ctx.Sequence >= t.sr.objectCounter:
		return 0, TPM_RC_VALUE
	case !t.hierarchyEnabled(ctx.Hierarchy):
		return 0, TPM_RC_HIERARCHY
	case !t.freeObjectSlot():
		return 0, TPM_RC_OBJECT_MEMORY
	}
	o := new(object)
	if rc := t.openContext(ctx, func(a *archive) { archiveObject(a, o) }); rc != TPM_RC_SUCCESS {
		return 0, rc
	}
	rc := t.addObject(o)
	return o.handle, rc
}

// loadSession loads the context of a session, which must be the one that was
// saved last.
func (t *TPM) loadSession(ctx *TPMS_CONTEXT) (Handle, RC) {
	i := ctx.Saved.index()
	if i >= maxActiveSessions || ctx.Sequence >= t.sr.contextCounter || ctx.Sequence+contextGapMax < t.sr.contextCounter {
		return 0, TPM_RC_VALUE
	}
	s := new(session)
	if rc := t.openContext(ctx, func(a *archive) { archiveSession(a, s) }); rc != TPM_RC_SUCCESS {
		return 0, rc
	}
	slot := &t.ram.sessions[i]
	if slot.contextID != ctx.Sequence || slot.s != nil || slot.kind != ctx.Saved.Type() {
		return 0, TPM_RC_HANDLE
	}
	if loaded, _ := t.loadedSessions(); loaded >= maxLoadedSessions {
		return 0, TPM_RC_SESSION_MEMORY
	}
	if t.contextGapReached() && !t.oldestContext(ctx.Sequence) {
		return 0, TPM_RC_CONTEXT_GAP
	}
	slot.s, slot.contextID = s, 0
	t.clearOrderly()
	return s.handle, TPM_RC_SUCCESS
}

// oldestContext reports whether no session has been saved for longer.
func (t *TPM) oldestContext(id uint64) bool {
	for i := range t.ram.sessions {
		if v := t.ram.sessions[i].contextID; v != 0 && v < id {
			return false
		}
	}
	return true
}
