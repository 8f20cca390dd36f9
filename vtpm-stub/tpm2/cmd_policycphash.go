package tpm2

// cmdPolicyCpHash is TPM2_PolicyCpHash (TPM20-P3 section 23.13).
//
//	TPM_RC_CPHASH     the session is bound to something else
//	TPM_RC_SIZE   P1  not the size of the policy's digest
func cmdPolicyCpHash(t *TPM, c *call) RC { return policyBind(t, c, TPM_CC_PolicyCpHash, bindCpHash) }

// policyBind is what PolicyCpHash and PolicyParameters do.
func policyBind(t *TPM, c *call, cc CC, kind hashBinding) RC {
	hash := c.in.param().digest()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	if rc := s.bindable(kind, hash, 1); rc != TPM_RC_SUCCESS {
		return rc
	}
	s.extend(t, cc, hash)
	s.bindTo(kind, hash)
	return TPM_RC_SUCCESS
}
