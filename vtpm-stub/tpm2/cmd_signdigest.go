package tpm2

// cmdSignDigest is TPM2_SignDigest (v185, P3 section 20.7).
//
//	TPM_RC_ATTRIBUTES  H1  x509sign is SET
//	TPM_RC_KEY         H1  not a signing key
//	TPM_RC_RANGE       P1  ECDAA: the count is unknown or too old
//	TPM_RC_SCHEME      H1  the key has no scheme of its own, or HMAC, which signs messages
//	TPM_RC_SIZE        P1  context is not what the scheme needs
//	TPM_RC_SIZE        P2  the digest has not the size of the scheme's hash
//	TPM_RC_TICKET      P3  validation is missing for a restricted key, or not for this
//	                       digest and hash
//	TPM_RC_VALUE       P1  ECDAA: the commit value was used before
func cmdSignDigest(t *TPM, c *call) RC {
	context := c.in.param().signContext()
	digest := c.in.param().digest()
	ticket := c.in.param().ticket(TPM_ST_HASHCHECK)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	scheme, rc := digestScheme(o)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := applyContext(&scheme, context, false, 1); rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := t.checkSign(o, scheme.Hash, digest, &ticket, 3, 2); rc != TPM_RC_SUCCESS {
		return rc
	}
	sig, rc := t.sign(o, &scheme, digest)
	switch rc {
	case TPM_RC_SUCCESS:
	case TPM_RC_RANGE, TPM_RC_VALUE:
		return rc.Param(1)
	case TPM_RC_NO_RESULT:
		return rc
	default:
		return rc.Handle(1)
	}
	c.out.signature(&sig)
	return TPM_RC_SUCCESS
}

// digestScheme is fixedScheme for a key that signs digests.
func digestScheme(o *object) (TPMT_SCHEME, RC) {
	s, rc := fixedScheme(o, 1)
	if rc == TPM_RC_SUCCESS && s.Scheme == TPM_ALG_HMAC {
		rc = TPM_RC_SCHEME.Handle(1)
	}
	return s, rc
}
