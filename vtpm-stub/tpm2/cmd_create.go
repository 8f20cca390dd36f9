package tpm2

// cmdCreate is TPM2_Create (TPM20-P3 section 12.1): a new object under a storage
// key, which is returned and not loaded.
//
//	TPM_RC_ATTRIBUTES     P2  attributes contradict each other, the parent or inSensitive
//	TPM_RC_CANCELED           while an RSA key was searched
//	TPM_RC_HASH           P2  nameAlg is TPM_ALG_NULL, or for a fixedParent storage
//	                          key not the parent's
//	TPM_RC_KDF            P2  an ECC key with a KDF
//	TPM_RC_NO_RESULT          no key was found
//	TPM_RC_RANGE          P2  RSA exponent
//	TPM_RC_SCHEME         P2  scheme does not fit the attributes
//	TPM_RC_SIZE     P1 or P2  userAuth or authPolicy longer than nameAlg's digest
//	                          or wrong, data of the wrong size
//	TPM_RC_SYMMETRIC      P2  symmetric does not fit the attributes, or for a
//	                          fixedParent storage key is not the parent's
//	TPM_RC_TYPE           H1  the parent is not a storage key
//	TPM_RC_VALUE          P1  data for an asymmetric key
func cmdCreate(t *TPM, c *call) RC {
	sens := c.in.param().sensitiveCreate()
	pub := c.in.param().public2B(publicPlain)
	outside := c.in.param().data()
	var pcrs TPML_PCR_SELECTION
	c.in.param().pcrSelection(&pcrs)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	parent, rc := c.storageParent(0)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := checkTemplate(&pub, &sens, parent); rc != TPM_RC_SUCCESS {
		return rc
	}
	o, rc := t.generateSensitive(&pub, &sens, rng{t}, nil)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	defer wipeObject(o)
	t.adopt(o, parent)
	cr := t.creationInfo(o, parent, outside, &pcrs, c.locality)
	c.out.b2(t.wrapPrivate(parent, o))
	c.out.public2B(&o.pub)
	c.out.b2(cr.data)
	c.out.b2(cr.hash)
	c.out.ticket(&cr.ticket)
	return TPM_RC_SUCCESS
}
