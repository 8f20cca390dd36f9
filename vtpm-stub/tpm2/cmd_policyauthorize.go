package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdPolicyAuthorize is TPM2_PolicyAuthorize (TPM20-P3 section 23.16).
//
//	TPM_RC_HASH   P3  keySign does not begin with a hash algorithm
//	TPM_RC_SIZE   P3  keySign has not the size of such a Name
//	TPM_RC_VALUE  P1  approvedPolicy is not the session's policyDigest
//	TPM_RC_VALUE  P4  checkTicket is not ours, or for something else
func cmdPolicyAuthorize(t *TPM, c *call) RC {
	approved := c.in.param().digest()
	ref := c.in.param().b2(maxDigest)
	key := c.in.param().name()
	ticket, meta := c.in.param().verified()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	alg, rc := t.offer.nameHash(key)
	if rc != TPM_RC_SUCCESS {
		return rc.Param(3)
	}
	if !s.trial() {
		if !tpmcrypto.Equal(approved, s.policy.digest.bytes()) {
			return TPM_RC_VALUE.Param(1)
		}
		if !t.checkTicket(&ticket, t.authorized(&ticket, meta, alg, approved, ref), key, meta) {
			return TPM_RC_VALUE.Param(4)
		}
	}
	s.zeroDigest()
	s.extendNameRef(t, TPM_CC_PolicyAuthorize, key, ref)
	return TPM_RC_SUCCESS
}

// nameHash returns the hash algorithm of the Name of an object. Errors: TPM_RC_HASH,
// TPM_RC_SIZE.
func (p *Profile) nameHash(name []byte) (AlgID, RC) {
	if len(name) < 2 {
		return 0, TPM_RC_SIZE
	}
	alg := AlgID(name[0])<<8 | AlgID(name[1])
	if !p.hash(alg) {
		return 0, TPM_RC_HASH
	}
	if len(name) != 2+alg.DigestSize() {
		return 0, TPM_RC_SIZE
	}
	return alg, TPM_RC_SUCCESS
}

// authorized is what the ticket says was signed: the message of policy and policyRef, or its digest.
// TPM2_VerifySignature leaves the hash out of its ticket, so that it is taken from the
// key's Name (v185, P3 section 23.16.2).
func (t *TPM) authorized(k *TPMT_TK, meta []byte, nameAlg AlgID, approved, ref []byte) []byte {
	switch k.Tag {
	case TPM_ST_MESSAGE_VERIFIED:
		return append(append([]byte(nil), approved...), ref...)
	case TPM_ST_DIGEST_VERIFIED:
		if len(meta) == 0 {
			return nil // of the NULL Ticket
		}
		nameAlg = AlgID(meta[0])<<8 | AlgID(meta[1])
	}
	return t.hash.Sum(nameAlg, nil, approved, ref)
}
