package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdPolicyTemplate is TPM2_PolicyTemplate (TPM20-P3 section 23.21).
//
//	TPM_RC_CPHASH     the session is bound to something that is no template
//	TPM_RC_SIZE   P1  not the size of the policy's digest
//	TPM_RC_VALUE  P1  the session is bound to another template
func cmdPolicyTemplate(t *TPM, c *call) RC {
	hash := c.in.param().digest()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	switch {
	case s.policy.binding == bindTemplate && !tpmcrypto.Equal(s.policy.hash.bytes(), hash):
		return TPM_RC_VALUE.Param(1)
	case s.policy.binding != bindNone && s.policy.binding != bindTemplate:
		return TPM_RC_CPHASH
	case len(hash) != s.policy.digest.n:
		return TPM_RC_SIZE.Param(1)
	}
	s.extend(t, TPM_CC_PolicyTemplate, hash)
	s.bindTo(bindTemplate, hash)
	return TPM_RC_SUCCESS
}
