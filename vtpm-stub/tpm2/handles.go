package tpm2

// readHandles unmarshals the handle area and finds the entities
// (TPM20-P3 section 5.4).
func (t *TPM) readHandles(in *reader) RC {
	c := &t.call
	for i := range c.def.handles {
		spec := &c.def.handles[i]
		h := in.handle()
		if in.rc != TPM_RC_SUCCESS {
			return TPM_RC_INSUFFICIENT.Handle(i + 1)
		}
		if !spec.allows(h) {
			return TPM_RC_VALUE.Handle(i + 1)
		}
		c.h[i].h = h
		c.nh = i + 1
		if rc := t.resolve(&c.h[i], i, spec); rc != TPM_RC_SUCCESS {
			return rc
		}
	}
	return TPM_RC_SUCCESS
}

// allows reports whether the value of a handle fits the type.
func (s *handleSpec) allows(h Handle) bool {
	if h == TPM_RH_NULL {
		return s.null
	}
	ht := h.Type()
	object := ht == TPM_HT_TRANSIENT || ht == TPM_HT_PERSISTENT
	hier := h == TPM_RH_OWNER || h == TPM_RH_ENDORSEMENT || h == TPM_RH_PLATFORM
	act := h >= TPM_RH_ACT_0 && h <= TPM_RH_ACT_F
	switch s.kind {
	case hObject:
		return object
	case hParent:
		return object || hier
	case hEntity:
		return object || hier || h == TPM_RH_LOCKOUT || ht == TPM_HT_NV_INDEX || act ||
			ht == TPM_HT_PCR && h < numPCR
	case hPCR:
		return ht == TPM_HT_PCR && h < numPCR
	case hHierarchy:
		return hier
	case hHierAuth:
		return hier || h == TPM_RH_LOCKOUT
	case hHierPolicy:
		return hier || h == TPM_RH_LOCKOUT || act
	case hPlatform:
		return h == TPM_RH_PLATFORM
	case hEndorsement:
		return h == TPM_RH_ENDORSEMENT
	case hProvision:
		return h == TPM_RH_OWNER || h == TPM_RH_PLATFORM
	case hClear:
		return h == TPM_RH_LOCKOUT || h == TPM_RH_PLATFORM
	case hLockout:
		return h == TPM_RH_LOCKOUT
	case hNVAuth:
		return h == TPM_RH_OWNER || h == TPM_RH_PLATFORM || ht == TPM_HT_NV_INDEX
	case hNVIndex:
		return ht == TPM_HT_NV_INDEX
	case hHMAC:
		return ht == TPM_HT_HMAC_SESSION
	case hPolicy:
		return ht == TPM_HT_POLICY_SESSION
	case hContext:
		return ht == TPM_HT_HMAC_SESSION || ht == TPM_HT_POLICY_SESSION || ht == TPM_HT_TRANSIENT
	case hACT:
		return act
	case hAC:
		return ht == TPM_HT_AC
	}
	return false
}

// resolve finds the entity of handle i and checks that it may be used.
func (t *TPM) resolve(e *entity, i int, spec *handleSpec) RC {
	switch e.h.Type() {
	case TPM_HT_TRANSIENT:
		// Objects of a disabled hierarchy were flushed when it was disabled.
		if e.obj = t.transient(e.h); e.obj == nil {
			return TPM_RC_REFERENCE_H0 + RC(i)
		}
	case TPM_HT_PERSISTENT:
		return t.resolvePersistent(e, i)
	case TPM_HT_NV_INDEX:
		return t.resolveNV(e, i)
	case TPM_HT_HMAC_SESSION, TPM_HT_POLICY_SESSION:
		if e.sess = t.session(e.h); e.sess == nil {
			return TPM_RC_REFERENCE_H0 + RC(i)
		}
	case TPM_HT_PERMANENT:
		return t.resolvePermanent(e.h, i)
	}
	return TPM_RC_SUCCESS
}

func (t *TPM) resolvePersistent(e *entity, i int) RC {
	owner := TPM_RH_OWNER
	if e.h >= PLATFORM_PERSISTENT {
		owner = TPM_RH_PLATFORM
	}
	o := t.persistent(e.h)
	if o == nil || !t.hierarchyEnabled(owner) || !t.hierarchyEnabled(o.hierarchy) {
		return TPM_RC_HANDLE.Handle(i + 1)
	}
	e.obj = o
	return TPM_RC_SUCCESS
}

func (t *TPM) resolveNV(e *entity, i int) RC {
	ix := t.nvFind(e.h)
	if ix == nil {
		return TPM_RC_HANDLE.Handle(i + 1)
	}
	enabled := t.owner.enabled
	if ix.pub.Attributes.has(nvPlatformCreate) {
		enabled = t.sc.phEnableNV
	}
	if !enabled {
		return TPM_RC_HANDLE.Handle(i + 1)
	}
	e.nv = ix
	return TPM_RC_SUCCESS
}

func (t *TPM) resolvePermanent(h Handle, i int) RC {
	switch h {
	case TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM:
		if !t.hier(h).enabled {
			return TPM_RC_HIERARCHY.Handle(i + 1)
		}
	}
	if h >= TPM_RH_ACT_0 && h <= TPM_RH_ACT_F && !actImplemented(h) {
		return TPM_RC_VALUE.Handle(i + 1)
	}
	return TPM_RC_SUCCESS
}

// actImplemented reports whether the timer of the handle exists.
func actImplemented(h Handle) bool { return h >= TPM_RH_ACT_0 && h < TPM_RH_ACT_0+numACT }
