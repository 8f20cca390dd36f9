package tpm2

import (
	"encoding/binary"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// cmdPolicyTicket is TPM2_PolicyTicket (TPM20-P3 section 23.5).
//
//	TPM_RC_ATTRIBUTES  H1  the session is a trial session
//	TPM_RC_CPHASH          the session is bound to another command
//	TPM_RC_EXPIRED     P1  the ticket is over
//	TPM_RC_SIZE        P1  timeout is not eight octets
//	TPM_RC_SIZE        P2  cpHashA has not the size of the policy's digest
//	TPM_RC_TICKET      P5  not a ticket of ours for these terms
func cmdPolicyTicket(t *TPM, c *call) RC {
	timeout := c.in.param().b2(8)
	a := authTerms{}
	a.cpHash = c.in.param().digest()
	a.ref = c.in.param().b2(maxDigest)
	name := c.in.param().name()
	ticket := c.in.param().ticket(TPM_ST_AUTH_SIGNED, TPM_ST_AUTH_SECRET)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	if s.trial() {
		return TPM_RC_ATTRIBUTES.Handle(1)
	}
	if len(timeout) != 8 {
		return TPM_RC_SIZE.Param(1)
	}
	a.timeout = binary.BigEndian.Uint64(timeout) &^ (tiedToNonce << 56)
	if rc := t.checkTicketTerms(s, &a, timeout, name, &ticket); rc != TPM_RC_SUCCESS {
		return rc
	}
	cc := TPM_CC_PolicySigned
	if ticket.Tag == TPM_ST_AUTH_SECRET {
		cc = TPM_CC_PolicySecret
	}
	t.applyTerms(s, cc, name, &a)
	return TPM_RC_SUCCESS
}

func (t *TPM) checkTicketTerms(s *session, a *authTerms, timeout, name []byte, ticket *TPMT_TK) RC {
	if a.timeout != 0 {
		if rc := t.checkTimeout(s, a.timeout); rc != TPM_RC_SUCCESS {
			return rc.Param(1)
		}
	}
	if len(a.cpHash) != 0 {
		if rc := s.bindable(bindCpHash, a.cpHash, 2); rc != TPM_RC_SUCCESS {
			return rc
		}
	}
	want := t.authTicket(ticket.Tag, ticket.Hierarchy, a, timeout, name)
	if !tpmcrypto.Equal(want.Digest, ticket.Digest) {
		return TPM_RC_TICKET.Param(5)
	}
	return TPM_RC_SUCCESS
}
