package tpm2

// cmdSignSequenceComplete is TPM2_SignSequenceComplete (v185, P3 section 20.6). The sequence object
// is flushed.
//
//	TPM_RC_ATTRIBUTES        H2  x509sign is SET
//	TPM_RC_KEY               H2  not a signing key
//	TPM_RC_MODE              H1  not a signing sequence
//	TPM_RC_RANGE             H1  ECDAA: the count is unknown or too old
//	TPM_RC_SIGN_CONTEXT_KEY  H2  not the key of the start
//	TPM_RC_SIZE                  a signature of ML-DSA that is larger than a response
//	TPM_RC_VALUE             P1  restricted key: the message begins with
//	                             TPM_GENERATED_VALUE
//	TPM_RC_VALUE             H1  ECDAA: the commit value was used before
func cmdSignSequenceComplete(t *TPM, c *call) RC {
	buffer := c.in.param().maxBuffer()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s, o := c.object(0).seq, c.object(1)
	if s == nil || s.kind != seqSign {
		return TPM_RC_MODE.Handle(1)
	}
	if rc := t.sameKey(s, o); rc != TPM_RC_SUCCESS {
		return rc
	}
	if o.pub.Attributes.has(objX509Sign) {
		return TPM_RC_ATTRIBUTES.Handle(2)
	}
	if o.pub.Attributes.has(objRestricted) && s.generated(buffer) {
		return TPM_RC_VALUE.Param(1)
	}
	if !t.fitsSignature(o, 0) {
		return TPM_RC_SIZE
	}
	sig, rc := t.signSequence(s, o, buffer)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	t.flushObject(c.handle(0))
	c.out.signature(&sig)
	return TPM_RC_SUCCESS
}

func (t *TPM) signSequence(s *sequence, o *object, buffer []byte) (TPMT_SIGNATURE, RC) {
	digest, rc := s.finish(0, buffer)
	if rc != TPM_RC_SUCCESS {
		return TPMT_SIGNATURE{}, rc
	}
	if s.scheme.Scheme == TPM_ALG_HMAC {
		return TPMT_SIGNATURE{Alg: TPM_ALG_HMAC, Hash: s.scheme.Hash, R: digest}, TPM_RC_SUCCESS
	}
	if o.pub.isMLDSA() {
		sig, rc := signMLDSA(o, s.scheme.Hash, s.context, digest)
		return sig, rc.Handle(2)
	}
	sig, rc := t.sign(o, &s.scheme, digest)
	switch rc {
	case TPM_RC_SUCCESS, TPM_RC_NO_RESULT:
		return sig, rc
	case TPM_RC_RANGE, TPM_RC_VALUE: // of the count given at the start
		return sig, rc.Handle(1)
	}
	return sig, rc.Handle(2)
}
