package tpm2

// cmdCertify is TPM2_Certify (TPM20-P3 section 18.2).
//
//	TPM_RC_KEY     H2  the key is not a signing key
//	TPM_RC_SCHEME  P2  the scheme is not the key's, or none is named
//	TPM_RC_TYPE    H1  a sequence, which has no Name
//	TPM_RC_RANGE, TPM_RC_VALUE  P2  ECDAA: the count was not given out, or was used
func cmdCertify(t *TPM, c *call) RC {
	extra := c.in.param().data()
	in := c.in.param().sigScheme()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	if o.seq != nil {
		return TPM_RC_TYPE.Handle(1)
	}
	a, rc := newAttestation(c, TPM_ST_ATTEST_CERTIFY, 1, 2, &in, extra)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	return t.answer(c, &a, func(w *writer) {
		w.b2(o.name)
		w.b2(o.qname)
	})
}
