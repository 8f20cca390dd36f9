package tpm2

// cmdVerifySequenceComplete is TPM2_VerifySequenceComplete (v185, P3 section 20.3). The sequence
// object is flushed.
//
//	TPM_RC_KEY               H2  not a signing key
//	TPM_RC_MODE              H1  not a verification sequence
//	TPM_RC_SCHEME            P1  the signature is of another scheme than the key's
//	TPM_RC_SIGN_CONTEXT_KEY  H2  not the key of the start
//	TPM_RC_SIGNATURE         P1  the signature is wrong
func cmdVerifySequenceComplete(t *TPM, c *call) RC {
	sig := c.in.param().signature(false)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s, o := c.object(0).seq, c.object(1)
	if s == nil || s.kind != seqVerify || len(s.hashes) != 2 {
		return TPM_RC_MODE.Handle(1)
	}
	if rc := t.sameKey(s, o); rc != TPM_RC_SUCCESS {
		return rc
	}
	if sig.Alg != s.scheme.Scheme || sig.Hash != s.scheme.Hash {
		return TPM_RC_SCHEME.Param(1)
	}
	if rc := t.verifyResult(o, s, &sig); rc != TPM_RC_SUCCESS {
		return rc.Param(1)
	}
	ticket, rc := verifiedMessage(s, o)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	t.flushObject(c.handle(0))
	c.out.ticket(&ticket)
	return TPM_RC_SUCCESS
}

// verifiedMessage is the ticket for the message of a sequence (v185, P2 equation 5). It does not
// tell the context of ML-DSA, and who checks it expects none (v185, P3 section 23.16.1): a
// signature made for another context gets the NULL Ticket.
func verifiedMessage(s *sequence, o *object) (TPMT_TK, RC) {
	k := TPMT_TK{Tag: TPM_ST_MESSAGE_VERIFIED, Hierarchy: o.hierarchy}
	if o.hierarchy == TPM_RH_NULL || o.pub.isMLDSA() && len(s.context) != 0 {
		k.Hierarchy = TPM_RH_NULL
		return k, TPM_RC_SUCCESS
	}
	var rc RC
	k.Digest, rc = s.finish(1, o.name)
	return k, rc
}
