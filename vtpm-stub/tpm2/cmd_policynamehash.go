package tpm2

// cmdPolicyNameHash is TPM2_PolicyNameHash (TPM20-P3 section 23.14).
//
//	TPM_RC_CPHASH     the session is bound already
//	TPM_RC_SIZE   P1  not the size of the policy's digest
func cmdPolicyNameHash(t *TPM, c *call) RC {
	hash := c.in.param().digest()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	if s.policy.binding != bindNone {
		return TPM_RC_CPHASH
	}
	if len(hash) != s.policy.digest.n {
		return TPM_RC_SIZE.Param(1)
	}
	s.extend(t, TPM_CC_PolicyNameHash, hash)
	s.bindTo(bindNameHash, hash)
	return TPM_RC_SUCCESS
}
