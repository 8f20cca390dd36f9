package tpm2

// cmdEvictControl is TPM2_EvictControl (TPM20-P3 section 28.5): makes a copy of a
// transient object persistent, or evicts a persistent object.
//
//	TPM_RC_ATTRIBUTES  H2   a transient object of the null hierarchy, without
//	                        sensitive area, or with stClear of its own or inherited
//	TPM_RC_HANDLE      H2   a persistent object with another persistentHandle
//	TPM_RC_HIERARCHY   H2   auth is not of the object's hierarchy
//	TPM_RC_NV_DEFINED       persistentHandle is in use
//	TPM_RC_NV_SPACE         no room
//	TPM_RC_RANGE   H2, P1   the persistent handle is not one of auth's
//	TPM_RC_VALUE       P1   persistentHandle is not a persistent handle
func cmdEvictControl(t *TPM, c *call) RC {
	h := c.in.param().handle()
	if c.in.rc == TPM_RC_SUCCESS && h.Type() != TPM_HT_PERSISTENT {
		c.in.fail(TPM_RC_VALUE)
	}
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o, owner := c.object(1), c.handle(0) == TPM_RH_OWNER
	if o.handle.Type() == TPM_HT_TRANSIENT {
		return t.persist(o, h, owner)
	}
	switch {
	case o.handle != h:
		return TPM_RC_HANDLE.Handle(2)
	case owner && h >= PLATFORM_PERSISTENT:
		return TPM_RC_RANGE.Handle(2)
	}
	t.removePersistent(h)
	return TPM_RC_SUCCESS
}

// persist makes a persistent copy of a transient object; owner says that the
// owner authorized it, else the platform.
func (t *TPM) persist(o *object, h Handle, owner bool) RC {
	switch {
	case o.hierarchy == TPM_RH_NULL || !o.private || o.stClear:
		return TPM_RC_ATTRIBUTES.Handle(2)
	case owner == (o.hierarchy == TPM_RH_PLATFORM):
		return TPM_RC_HIERARCHY.Handle(2)
	case owner == (h >= PLATFORM_PERSISTENT):
		return TPM_RC_RANGE.Param(1)
	case t.persistent(h) != nil:
		return TPM_RC_NV_DEFINED
	}
	return t.addPersistent(o, h)
}
