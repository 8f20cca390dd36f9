package tpm2

// cmdSign is TPM2_Sign (TPM20-P3 section 20.2).
//
//	TPM_RC_ATTRIBUTES  H1  x509sign is SET
//	TPM_RC_KEY         H1  the key is not a signing key
//	TPM_RC_RANGE       P2  ECDAA: the count is unknown or too old
//	TPM_RC_SCHEME      P2  the scheme is not the key's, or none is named; the key is of
//	                       ML-DSA, for which there are TPM2_SignDigest and sequences
//	TPM_RC_SIZE        P1  the digest has not the size of the scheme's hash
//	TPM_RC_TICKET      P3  validation is missing for a restricted key, or not for
//	                       this digest and hash
//	TPM_RC_VALUE       P2  ECDAA: the commit value was used before
//	TPM_RC_NO_RESULT       ECDAA: the signature would be 0
func cmdSign(t *TPM, c *call) RC {
	digest := c.in.param().digest()
	in := c.in.param().sigScheme()
	ticket := c.in.param().ticket(TPM_ST_HASHCHECK)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	scheme, rc := signer(c, 0, 2, &in)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if c.object(0).pub.isMLDSA() {
		return TPM_RC_SCHEME.Param(2)
	}
	if rc := t.checkSign(c.object(0), scheme.Hash, digest, &ticket, 3, 1); rc != TPM_RC_SUCCESS {
		return rc
	}
	sig, rc := t.sign(c.object(0), &scheme, digest)
	if rc != TPM_RC_SUCCESS {
		return signPosition(rc, 1, 2)
	}
	c.out.signature(&sig)
	return TPM_RC_SUCCESS
}

// checkSign checks what TPM2_Sign and TPM2_SignDigest have in common; the numbers
// are those of their parameters.
func (t *TPM) checkSign(o *object, alg AlgID, digest []byte, ticket *TPMT_TK, ticketParam, digestParam int) RC {
	if o.pub.Attributes.has(objX509Sign) {
		return TPM_RC_ATTRIBUTES.Handle(1)
	}
	if len(ticket.Digest) != 0 || o.pub.Attributes.has(objRestricted) {
		if !t.checkTicket(ticket, []byte{byte(alg >> 8), byte(alg)}, digest) {
			return TPM_RC_TICKET.Param(ticketParam)
		}
	}
	if len(digest) != alg.DigestSize() {
		return TPM_RC_SIZE.Param(digestParam)
	}
	return TPM_RC_SUCCESS
}
