package tpm2

// cmdVerifySignature is TPM2_VerifySignature (TPM20-P3 section 20.1).
//
//	TPM_RC_ATTRIBUTES  H1  the key is not a signing key
//	TPM_RC_HANDLE      P2  an HMAC key without its sensitive part
//	TPM_RC_KEY         P2  the public key is not valid
//	TPM_RC_SCHEME      P2  the scheme is not for this type of key, or ECDAA or ML-DSA
//	TPM_RC_SIGNATURE   P2  the signature is wrong, or for a digest of another size
func cmdVerifySignature(t *TPM, c *call) RC {
	digest := c.in.param().digest()
	sig := c.in.param().signature(false)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	if !o.signs() {
		return TPM_RC_ATTRIBUTES.Handle(1)
	}
	if o.pub.isMLDSA() {
		return TPM_RC_SCHEME.Param(2)
	}
	if rc := t.verify(o, digest, &sig); rc != TPM_RC_SUCCESS {
		return rc.Param(2)
	}
	ticket := t.verifiedTicket(TPM_ST_VERIFIED, o, digest, o.name)
	c.out.ticket(&ticket)
	return TPM_RC_SUCCESS
}
