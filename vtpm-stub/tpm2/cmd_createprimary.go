package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdCreatePrimary is TPM2_CreatePrimary (TPM20-P3 section 24.1).
//
//	TPM_RC_ATTRIBUTES     P2  attributes contradict each other, the hierarchy
//	                          or inSensitive
//	TPM_RC_CANCELED           while an RSA key was searched
//	TPM_RC_HASH           P2  nameAlg is TPM_ALG_NULL
//	TPM_RC_KDF            P2  an ECC key with a KDF
//	TPM_RC_OBJECT_MEMORY      no free slot
//	TPM_RC_RANGE          P2  RSA exponent
//	TPM_RC_SCHEME         P2  scheme does not fit the attributes
//	TPM_RC_SIZE     P1 or P2  userAuth or authPolicy longer than nameAlg's digest
//	                          or wrong, data of the wrong size
//	TPM_RC_SYMMETRIC      P2  symmetric does not fit the attributes
//	TPM_RC_VALUE          P1  data for an asymmetric key
func cmdCreatePrimary(t *TPM, c *call) RC {
	sens := c.in.param().sensitiveCreate()
	pub := c.in.param().public2B(publicPlain)
	outside := c.in.param().data()
	var pcrs TPML_PCR_SELECTION
	c.in.param().pcrSelection(&pcrs)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := t.checkNew(&pub, &sens, nil); rc != TPM_RC_SUCCESS {
		return rc
	}
	o, rc := t.createPrimary(c.handle(0), &pub, &sens)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	cr := t.creationInfo(o, nil, outside, &pcrs, c.locality)
	if rc := t.addObject(o); rc != TPM_RC_SUCCESS {
		return rc
	}
	c.setHandle(o.handle)
	c.out.public2B(&o.pub)
	c.out.b2(cr.data)
	c.out.b2(cr.hash)
	c.out.ticket(&cr.ticket)
	c.out.b2(o.name)
	return TPM_RC_SUCCESS
}

// checkNew checks the first two parameters of a command that creates and loads
// an object; parent is nil for a primary object.
func (t *TPM) checkNew(pub *TPMT_PUBLIC, sens *TPMS_SENSITIVE_CREATE, parent *object) RC {
	if !t.freeObjectSlot() {
		return TPM_RC_OBJECT_MEMORY
	}
	return checkTemplate(pub, sens, parent)
}

// checkTemplate is checkNew without the need for an object slot.
func checkTemplate(pub *TPMT_PUBLIC, sens *TPMS_SENSITIVE_CREATE, parent *object) RC {
	if rc := checkPublic(pub, parent, false); rc != TPM_RC_SUCCESS {
		return rc.Param(2)
	}
	if len(stripZeros(sens.UserAuth)) > pub.NameAlg.DigestSize() {
		return TPM_RC_SIZE.Param(1)
	}
	if rc, n := checkCreate(pub, sens.Data); rc != TPM_RC_SUCCESS {
		return rc.Param(n)
	}
	return TPM_RC_SUCCESS
}

// createPrimary makes the primary object of a hierarchy's seed and a template
// (TPM20-P1 section 27.6.3). The same seed, template and data always give the
// same object; golden names in testdata hold it.
func (t *TPM) createPrimary(h Handle, pub *TPMT_PUBLIC, sens *TPMS_SENSITIVE_CREATE) (*object, RC) {
	template := marshal(maxPublic, func(w *writer) { w.public(pub); w.b2(sens.Data) })
	drbg := tpmcrypto.PrimaryDRBG(t.hier(h).seed[:], t.hash.Sum(TPM_ALG_SHA512, nil, template), "sensitive")
	var reseed func()
	if h == TPM_RH_ENDORSEMENT {
		// P1 27.7.4: the seed value changes with the storage hierarchy, the
		// key does not.
		reseed = func() { drbg.Reseed(t.owner.proof[:], nil) }
	}
	o, rc := t.generateSensitive(pub, sens, drbg, reseed)
	if rc != TPM_RC_SUCCESS {
		return nil, rc
	}
	o.hierarchy, o.primary = h, true
	o.stClear = pub.Attributes.has(objStClear)
	o.name = t.computeName(&o.pub)
	o.qname = t.qualifiedName(handleName(h), o.name, o.pub.NameAlg)
	return o, TPM_RC_SUCCESS
}
