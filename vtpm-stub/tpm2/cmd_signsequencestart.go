package tpm2

// cmdSignSequenceStart is TPM2_SignSequenceStart (v185, P3 section 17.5).
//
//	TPM_RC_ATTRIBUTES  H1     a restricted HMAC key, which signs only digests of the TPM
//	TPM_RC_KEY         H1     not a signing key, or an HMAC key without sensitive part or Name
//	TPM_RC_OBJECT_MEMORY      no free object slot
//	TPM_RC_SCHEME      H1     the key has no scheme of its own
//	TPM_RC_SIZE        P1, P2 auth is longer than the largest digest; context is not what the
//	                          scheme needs
//	TPM_RC_VALUE       P2     restricted SM2 key: the identity makes the hashed data begin
//	                          with TPM_GENERATED_VALUE
func cmdSignSequenceStart(t *TPM, c *call) RC {
	auth := c.in.param().digest()
	context := c.in.param().signContext()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	scheme, rc := fixedScheme(o, 1)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if scheme.Scheme == TPM_ALG_HMAC && o.pub.Attributes.has(objRestricted) {
		return TPM_RC_ATTRIBUTES.Handle(1)
	}
	if rc := applyContext(&scheme, context, true, 2); rc != TPM_RC_SUCCESS {
		return rc
	}
	s, rc := t.newSignSequence(seqSign, o, scheme, context)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	return t.startSequence(c, s, auth)
}
