package tpm2

// cmdCertifyCreation is TPM2_CertifyCreation (TPM20-P3 section 18.3).
//
//	TPM_RC_KEY     H1  the key is not a signing key
//	TPM_RC_SCHEME  P3  the scheme is not the key's, or none is named
//	TPM_RC_TICKET  P4  the ticket is not for this object and creationHash
//	TPM_RC_TYPE    H2  a sequence, which has no Name
//	TPM_RC_RANGE, TPM_RC_VALUE  P3  ECDAA: the count was not given out, or was used
func cmdCertifyCreation(t *TPM, c *call) RC {
	extra := c.in.param().data()
	creationHash := c.in.param().digest()
	in := c.in.param().sigScheme()
	ticket := c.in.param().ticket(TPM_ST_CREATION)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(1)
	if o.seq != nil {
		return TPM_RC_TYPE.Handle(2)
	}
	a, rc := newAttestation(c, TPM_ST_ATTEST_CREATION, 0, 3, &in, extra)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if !t.checkTicket(&ticket, o.name, creationHash) {
		return TPM_RC_TICKET.Param(4)
	}
	return t.answer(c, &a, func(w *writer) {
		w.b2(o.name)
		w.b2(creationHash)
	})
}
