package tpm2

// cmdLoadExternal is TPM2_LoadExternal (TPM20-P3 section 12.3): a public area
// alone, or a whole object that belongs to no hierarchy.
//
//	TPM_RC_ATTRIBUTES     P2  attributes contradict each other; fixedTPM,
//	                          fixedParent or restricted with a sensitive area;
//	                          fixedTPM without fixedParent
//	TPM_RC_BINDING            the areas do not belong together
//	TPM_RC_ECC_POINT      P2  the public point is not on the curve
//	TPM_RC_HIERARCHY      P3  a sensitive area outside of the null hierarchy; the
//	                          hierarchy is disabled
//	TPM_RC_KDF            P2  an ECC key with a KDF
//	TPM_RC_KEY            P2  unique is not of the key's size, or no modulus
//	TPM_RC_KEY_SIZE       P1  the size of the key is not that of the public area
//	TPM_RC_OBJECT_MEMORY      no free slot
//	TPM_RC_RANGE          P2  RSA exponent
//	TPM_RC_SCHEME         P2  scheme does not fit the attributes
//	TPM_RC_SIZE     P1 or P2  a field of the wrong size
//	TPM_RC_SYMMETRIC      P2  symmetric does not fit the attributes
//	TPM_RC_TYPE           P1  the sensitive area is of another type
//	TPM_RC_VALUE          P3  not a hierarchy
func cmdLoadExternal(t *TPM, c *call) RC {
	sens := c.in.param().optionalSensitive()
	pub := c.in.param().public2B(publicNullName)
	h := c.in.param().hierarchy(true)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if !t.freeObjectSlot() {
		return TPM_RC_OBJECT_MEMORY
	}
	if !t.hierarchyEnabled(h) || sens != nil && h != TPM_RH_NULL {
		return TPM_RC_HIERARCHY.Param(3)
	}
	if rc := checkExternal(&pub, sens != nil); rc != TPM_RC_SUCCESS {
		return rc.Param(2)
	}
	o, rc := t.bindObject(&pub, sens, 2, 1)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	o.external, o.hierarchy = true, h
	o.stClear = pub.Attributes.has(objStClear)
	o.name = t.computeName(&o.pub)
	o.qname = o.name
	if rc := t.addObject(o); rc != TPM_RC_SUCCESS {
		return rc
	}
	c.setHandle(o.handle)
	c.out.b2(o.name)
	return TPM_RC_SUCCESS
}

// checkExternal checks the public area. Without a sensitive area it may say what
// it likes about its use.
func checkExternal(p *TPMT_PUBLIC, private bool) RC {
	if !private {
		if rc := checkPolicySize(p); rc != TPM_RC_SUCCESS {
			return rc
		}
		return checkParms(p, nil)
	}
	if p.Attributes&(objFixedTPM|objFixedParent|objRestricted) != 0 {
		return TPM_RC_ATTRIBUTES
	}
	return checkPublic(p, nil, true)
}

// optionalSensitive reads a TPM2B_SENSITIVE; nil when it is the Empty Buffer.
func (r *reader) optionalSensitive() *TPMT_SENSITIVE {
	in := r.sub()
	if in.rc == TPM_RC_SUCCESS && len(in.b) == 0 {
		return nil
	}
	s := in.sensitive()
	r.endSub(&in)
	return &s
}
