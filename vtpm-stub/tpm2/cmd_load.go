package tpm2

// cmdLoad is TPM2_Load (TPM20-P3 section 12.2).
//
//	TPM_RC_ATTRIBUTES     P2  attributes contradict each other or the parent
//	TPM_RC_BINDING            the areas do not belong together; this and other checks
//	                          of a key's values are made where somebody else than
//	                          the TPM can have made the areas, see ownObject
//	TPM_RC_ECC_POINT      P2  the public point is not on the curve
//	TPM_RC_HASH           P2  nameAlg is TPM_ALG_NULL, or for a fixedParent storage
//	                          key not the parent's
//	TPM_RC_INTEGRITY      P1  inPrivate was changed, or is not of this parent or
//	                          public area
//	TPM_RC_KDF            P2  an ECC key with a KDF
//	TPM_RC_KEY            P2  unique is not of the key's size, or no modulus
//	TPM_RC_KEY_SIZE       P1  the size of the key is not that of the public area
//	TPM_RC_OBJECT_MEMORY      no free slot
//	TPM_RC_RANGE          P2  RSA exponent
//	TPM_RC_SCHEME         P2  scheme does not fit the attributes
//	TPM_RC_SIZE     P1 or P2  inPrivate is empty; a field of the wrong size
//	TPM_RC_SYMMETRIC      P2  symmetric does not fit the attributes or the parent
//	TPM_RC_TYPE     H1 or P1  the parent is not a storage key; the sensitive area
//	                          is of another type
func cmdLoad(t *TPM, c *call) RC {
	private := c.in.param().b2(maxPrivate)
	if c.in.rc == TPM_RC_SUCCESS && len(private) == 0 {
		c.in.fail(TPM_RC_SIZE)
	}
	pub := c.in.param().public2B(publicPlain)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if !t.freeObjectSlot() {
		return TPM_RC_OBJECT_MEMORY
	}
	parent, rc := c.storageParent(0)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := checkPublic(&pub, parent, false); rc != TPM_RC_SUCCESS {
		return rc.Param(2)
	}
	name := t.computeName(&pub)
	sens, rc := t.unwrapPrivate(parent, name, private)
	if rc != TPM_RC_SUCCESS {
		return rc.Param(1)
	}
	var o *object
	if parent.pub.Attributes.has(objFixedTPM) {
		o = ownObject(&pub, &sens)
	} else if o, rc = t.bindObject(&pub, &sens, 2, 1); rc != TPM_RC_SUCCESS {
		return rc
	}
	o.name = name
	t.adopt(o, parent)
	if rc := t.addObject(o); rc != TPM_RC_SUCCESS {
		return rc
	}
	c.setHandle(o.handle)
	c.out.b2(o.name)
	return TPM_RC_SUCCESS
}
