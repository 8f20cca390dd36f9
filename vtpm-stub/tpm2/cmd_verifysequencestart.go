package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdVerifySequenceStart is TPM2_VerifySequenceStart (v185, P3 section 17.6). Beside the digest
// the HMAC of the ticket is computed over the message as it comes.
//
//	TPM_RC_KEY     H1         not a signing key, or an HMAC key without sensitive part or Name
//	TPM_RC_OBJECT_MEMORY      no free object slot
//	TPM_RC_SCHEME  H1         the key has no scheme of its own, or ECDAA
//	TPM_RC_SIZE    P1 P2 P3   auth is longer than the largest digest; there is a hint, or a
//	                          context that the scheme has not
func cmdVerifySequenceStart(t *TPM, c *call) RC {
	auth := c.in.param().digest()
	_ = c.in.param().b2(0) // hint: EdDSA only
	context := c.in.param().signContext()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	scheme, rc := fixedScheme(o, 1)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if scheme.Scheme == TPM_ALG_ECDAA {
		return TPM_RC_SCHEME.Handle(1)
	}
	if rc := applyContext(&scheme, context, true, 3); rc != TPM_RC_SUCCESS {
		return rc
	}
	s, rc := t.newSignSequence(seqVerify, o, scheme, context)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	h, err := tpmcrypto.NewHMACSequence(ticketHash, t.hier(o.hierarchy).proof[:])
	if err != nil {
		return t.fail(TPM_RC_FAILURE, "ticket HMAC")
	}
	_, _ = h.Write(u16Bytes(uint16(TPM_ST_MESSAGE_VERIFIED))) // never fails
	s.hashes = append(s.hashes, h)
	return t.startSequence(c, s, auth)
}

func u16Bytes(v uint16) []byte { return []byte{byte(v >> 8), byte(v)} }
