package tpm2

// cmdPolicyPassword is TPM2_PolicyPassword (TPM20-P3 section 23.18). It has no error of
// its own.
func cmdPolicyPassword(t *TPM, c *call) RC { return needAuthValue(t, c, true) }
