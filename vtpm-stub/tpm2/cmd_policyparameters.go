package tpm2

// cmdPolicyParameters is TPM2_PolicyParameters (TPM20-P3 v185 section 23.24).
//
//	TPM_RC_CPHASH     the session is bound to something else
//	TPM_RC_SIZE   P1  not the size of the policy's digest
func cmdPolicyParameters(t *TPM, c *call) RC {
	return policyBind(t, c, TPM_CC_PolicyParameters, bindParamHash)
}
