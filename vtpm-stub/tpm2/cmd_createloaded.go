package tpm2

import (
	"bytes"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// cmdCreateLoaded is TPM2_CreateLoaded (TPM20-P3 section 12.9): a primary object
// under a hierarchy, an ordinary one under a storage key, a derived one under a
// derivation parent.
//
// Response codes are those of TPM2_Create and
//
//	TPM_RC_ATTRIBUTES  P2     a derived object with sensitiveDataOrigin, or without
//	                          fixedParent: it exists under its parent only
//	TPM_RC_NO_RESULT          the derived octets do not make a key
//	TPM_RC_OBJECT_MEMORY      no free slot
//	TPM_RC_SIZE        P1     inSensitive.data of a derived object is not a TPMS_DERIVE
//	TPM_RC_TYPE        H1     the parent is neither storage key nor derivation parent
//	TPM_RC_TYPE        P2     an RSA key cannot be derived
func cmdCreateLoaded(t *TPM, c *call) RC {
	sens := c.in.param().sensitiveCreate()
	template := c.in.param().b2(maxPublic)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if !t.freeObjectSlot() {
		return TPM_RC_OBJECT_MEMORY
	}
	parent, derive, rc := parentFor(c)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	pub, rc := c.template(template, derive)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	o, rc := t.createFor(c.handle(0), parent, derive, &pub, &sens)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	var private []byte
	if parent != nil && !derive {
		private = t.wrapPrivate(parent, o)
	}
	if rc := t.addObject(o); rc != TPM_RC_SUCCESS {
		return rc
	}
	c.setHandle(o.handle)
	c.out.b2(private)
	c.out.public2B(&o.pub)
	c.out.b2(o.name)
	return TPM_RC_SUCCESS
}

// parentFor returns the parent object, nil for a hierarchy, and whether it is
// a derivation parent.
func parentFor(c *call) (parent *object, derive bool, rc RC) {
	o := c.object(0)
	switch {
	case o == nil:
		return nil, false, TPM_RC_SUCCESS
	case o.seq == nil && o.private && o.pub.isDerivationParent():
		return o, true, TPM_RC_SUCCESS
	}
	o, rc = c.storageParent(0)
	return o, false, rc
}

// template reads the contents of a TPM2B_TEMPLATE, parameter 2.
func (c *call) template(b []byte, derive bool) (TPMT_PUBLIC, RC) {
	how := publicPlain
	if derive {
		how = publicDeriveForm
	}
	r := reader{b: b, num: 2, profile: c.in.profile}
	pub := r.public(how)
	if r.rc == TPM_RC_SUCCESS && len(r.b) != 0 {
		r.fail(TPM_RC_SIZE)
	}
	return pub, r.rc
}

// createFor makes the object for each kind of parent.
func (t *TPM) createFor(h Handle, parent *object, derive bool, pub *TPMT_PUBLIC, sens *TPMS_SENSITIVE_CREATE) (*object, RC) {
	if derive {
		return t.deriveObject(parent, pub, sens)
	}
	if rc := checkTemplate(pub, sens, parent); rc != TPM_RC_SUCCESS {
		return nil, rc
	}
	if parent == nil {
		return t.createPrimary(h, pub, sens)
	}
	o, rc := t.generateSensitive(pub, sens, rng{t}, nil)
	if rc == TPM_RC_SUCCESS {
		t.adopt(o, parent)
	}
	return o, rc
}

// deriveObject makes a derived object (TPM20-P1 clause 28). Label and context in
// the template take precedence over those in inSensitive.data.
func (t *TPM) deriveObject(parent *object, pub *TPMT_PUBLIC, sens *TPMS_SENSITIVE_CREATE) (*object, RC) {
	label, context, rc := deriveParams(pub, sens.Data)
	if rc != TPM_RC_SUCCESS {
		return nil, rc
	}
	if rc := checkPublic(pub, parent, false); rc != TPM_RC_SUCCESS {
		return nil, rc.Param(2)
	}
	switch {
	case len(stripZeros(sens.UserAuth)) > pub.NameAlg.DigestSize():
		return nil, TPM_RC_SIZE.Param(1)
	case pub.Attributes.has(objSensitiveDataOrigin) || !pub.Attributes.has(objFixedParent):
		return nil, TPM_RC_ATTRIBUTES.Param(2)
	case pub.Type == TPM_ALG_RSA:
		return nil, TPM_RC_TYPE.Param(2)
	}
	// P1 28.4.1 names the parent's nameAlg, P1 27.6.1 the hash that the parent
	// specifies. The latter is what TPMs do, and all must derive the same.
	src := tpmcrypto.NewKDFSource(parent.pub.Scheme.Hash, parent.sens.Sensitive, label, context)
	p := pub.clone()
	p.Derive, p.Label, p.Context = false, nil, nil
	o, rc := t.generateSensitive(&p, &TPMS_SENSITIVE_CREATE{UserAuth: sens.UserAuth}, src, nil)
	if rc == TPM_RC_SUCCESS {
		t.adopt(o, parent)
	}
	return o, rc
}

func deriveParams(pub *TPMT_PUBLIC, data []byte) (label, context []byte, rc RC) {
	if len(data) != 0 {
		r := reader{b: data}
		label, context = r.b2(maxLabel), r.b2(maxLabel)
		if rc := r.end(); rc != TPM_RC_SUCCESS {
			return nil, nil, TPM_RC_SIZE.Param(1)
		}
	}
	if len(pub.Label) != 0 {
		label = pub.Label
	}
	if len(pub.Context) != 0 {
		context = pub.Context
	}
	return bytes.Clone(label), bytes.Clone(context), TPM_RC_SUCCESS
}
