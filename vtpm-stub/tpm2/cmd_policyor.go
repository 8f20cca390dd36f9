package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdPolicyOR is TPM2_PolicyOR (TPM20-P3 section 23.6).
//
//	TPM_RC_SIZE   P1  fewer than two or more than eight digests
//	TPM_RC_VALUE  P1  policyDigest is none of them
func cmdPolicyOR(t *TPM, c *call) RC {
	list := c.in.param().digestList(2)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	found := s.trial()
	for _, d := range list {
		found = found || tpmcrypto.Equal(d, s.policy.digest.bytes())
	}
	if !found {
		return TPM_RC_VALUE.Param(1)
	}
	s.zeroDigest()
	s.extend(t, TPM_CC_PolicyOR, list...)
	return TPM_RC_SUCCESS
}
