package tpm2

// cmdChangeEPS is TPM2_ChangeEPS (TPM20-P3 section 24.5): a new endorsement primary
// seed; auth and policy of the hierarchy are empty after it. It has no error of its own.
func cmdChangeEPS(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	t.reseed(TPM_RH_ENDORSEMENT)
	t.resetHierarchy(TPM_RH_ENDORSEMENT)
	t.clearOrderly()
	t.touch()
	return TPM_RC_SUCCESS
}

// resetHierarchy enables a hierarchy and empties its auth and policy.
func (t *TPM) resetHierarchy(h Handle) {
	x := t.hier(h)
	x.enabled = true
	clear(x.auth)
	x.auth = nil
	x.policy = policyAuth{alg: TPM_ALG_NULL}
}
