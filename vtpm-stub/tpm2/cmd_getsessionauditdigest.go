package tpm2

// cmdGetSessionAuditDigest is TPM2_GetSessionAuditDigest (TPM20-P3 section 18.5).
//
//	TPM_RC_KEY     H2  the key is not a signing key
//	TPM_RC_SCHEME  P2  the scheme is not the key's, or none is named
//	TPM_RC_TYPE    H3  not an audit session
//	TPM_RC_RANGE, TPM_RC_VALUE  P2  ECDAA: the count was not given out, or was used
func cmdGetSessionAuditDigest(t *TPM, c *call) RC {
	extra := c.in.param().data()
	in := c.in.param().sigScheme()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	a, rc := newAttestation(c, TPM_ST_ATTEST_SESSION_AUDIT, 1, 2, &in, extra)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(2)
	if !s.audit {
		return TPM_RC_TYPE.Handle(3)
	}
	return t.answer(c, &a, func(w *writer) {
		w.yesNo(t.ram.exclusive == c.handle(2))
		w.b2(s.auditDigest.bytes())
	})
}
