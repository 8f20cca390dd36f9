package tpm2

// cmdPolicyGetDigest is TPM2_PolicyGetDigest (TPM20-P3 section 23.19). It has no error of
// its own.
func cmdPolicyGetDigest(_ *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	c.out.b2(c.session(0).policy.digest.bytes())
	return TPM_RC_SUCCESS
}
