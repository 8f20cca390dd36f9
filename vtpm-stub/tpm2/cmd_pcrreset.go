package tpm2

// cmdPCRReset is TPM2_PCR_Reset (TPM20-P3 section 22.8).
//
//	TPM_RC_LOCALITY  the PCR must not be reset from this locality
func cmdPCRReset(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	n := int(c.handle(0))
	if c.locality > 4 || t.pcrAttrs(n).resetLoc&(1<<c.locality) == 0 {
		return TPM_RC_LOCALITY
	}
	t.pcrResetTo(n, 0)
	t.pcrChanged(n)
	return TPM_RC_SUCCESS
}
