package tpm2

// cmdContextSave is TPM2_ContextSave (TPM20-P3 section 28.2). An object stays
// loaded; a session leaves memory and only its number is kept.
func cmdContextSave(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	var ctx TPMS_CONTEXT
	if s := c.session(0); s != nil {
		ctx = t.saveSession(s)
	} else {
		ctx = t.saveObject(c.object(0))
	}
	// The counters are kept by Shutdown(STATE): a number used twice would
	// encrypt two contexts alike.
	t.clearOrderly()
	c.out.context(&ctx)
	return TPM_RC_SUCCESS
}

func (t *TPM) saveObject(o *object) TPMS_CONTEXT {
	ctx := TPMS_CONTEXT{Sequence: t.sr.objectCounter, Saved: savedHandle(o), Hierarchy: o.hierarchy}
	t.sr.objectCounter++
	t.sealContext(&ctx, func(a *archive) { archiveObject(a, o) })
	return ctx
}

func (t *TPM) saveSession(s *session) TPMS_CONTEXT {
	ctx := TPMS_CONTEXT{Sequence: t.sr.contextCounter, Saved: s.handle, Hierarchy: TPM_RH_NULL}
	t.sr.contextCounter++
	t.sealContext(&ctx, func(a *archive) { archiveSession(a, s) })
	slot := &t.ram.sessions[s.handle.index()]
	slot.s, slot.contextID = nil, ctx.Sequence
	wipeSession(s)
	return ctx
}
