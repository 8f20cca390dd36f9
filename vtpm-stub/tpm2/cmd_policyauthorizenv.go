package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdPolicyAuthorizeNV is TPM2_PolicyAuthorizeNV (TPM20-P3 section 23.22): the policy
// approved is in the index, as a TPMT_HA.
//
//	TPM_RC_HASH              the index does not begin with the session's hash algorithm
//	TPM_RC_INSUFFICIENT      the index is too small for a TPMT_HA
//	TPM_RC_NV_AUTHORIZATION  authHandle may not read the index
//	TPM_RC_NV_LOCKED         the index is read-locked
//	TPM_RC_NV_UNINITIALIZED  the index was not written
//	TPM_RC_VALUE             the index holds another policy
func cmdPolicyAuthorizeNV(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix, s := c.nv(1), c.session(2)
	if rc := t.nvReadAccess(c.handle(0), ix); rc != TPM_RC_SUCCESS && !(s.trial() && rc != TPM_RC_NV_AUTHORIZATION) {
		return rc
	}
	if !s.trial() {
		if rc := t.policyInNV(s, ix.data); rc != TPM_RC_SUCCESS {
			return rc
		}
	}
	s.zeroDigest()
	s.extend(t, TPM_CC_PolicyAuthorizeNV, t.nvName(ix))
	return TPM_RC_SUCCESS
}

// policyInNV compares the session's policyDigest with the TPMT_HA in data.
func (t *TPM) policyInNV(s *session, data []byte) RC {
	if len(data) < 2 {
		return TPM_RC_INSUFFICIENT
	}
	alg := AlgID(data[0])<<8 | AlgID(data[1])
	if !t.offer.hash(alg) {
		return TPM_RC_HASH
	}
	if len(data) < 2+alg.DigestSize() {
		return TPM_RC_INSUFFICIENT
	}
	if alg != s.hash {
		return TPM_RC_HASH
	}
	if !tpmcrypto.Equal(data[2:2+alg.DigestSize()], s.policy.digest.bytes()) {
		return TPM_RC_VALUE
	}
	return TPM_RC_SUCCESS
}
