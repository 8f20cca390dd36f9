package tpm2

// cmdStirRandom is TPM2_StirRandom (TPM20-P3 section 16.2).
//
//	TPM_RC_FAILURE   the entropy source failed
//	TPM_RC_SIZE  P1  inData is longer than 128 octets
func cmdStirRandom(t *TPM, c *call) RC {
	data := c.in.param().b2(maxSymData)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	return t.stir(data)
}
