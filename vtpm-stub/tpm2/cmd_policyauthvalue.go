package tpm2

// cmdPolicyAuthValue is TPM2_PolicyAuthValue (TPM20-P3 section 23.17). It has no error
// of its own.
func cmdPolicyAuthValue(t *TPM, c *call) RC { return needAuthValue(t, c, false) }

// needAuthValue makes the policy ask for the entity's authValue, as an HMAC or as a
// password; both extend the same, so that either satisfies a policy.
func needAuthValue(t *TPM, c *call, password bool) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	s.extend(t, TPM_CC_PolicyAuthValue)
	s.policy.authValue, s.policy.password = !password, password
	return TPM_RC_SUCCESS
}
