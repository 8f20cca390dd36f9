package tpm2

import "bytes"

// cmdPCRSetAuthValue is TPM2_PCR_SetAuthValue (TPM20-P3 section 22.7). PCR 20 to 22 are
// one group; the value is empty again after the next reset.
//
//	TPM_RC_SIZE   P1  auth is longer than the largest digest
//	TPM_RC_VALUE      the PCR has no authValue
func cmdPCRSetAuthValue(t *TPM, c *call) RC {
	auth := c.in.param().digest()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if !t.pcrAttrs(int(c.handle(0))).group {
		return TPM_RC_VALUE
	}
	clear(t.sc.pcrAuth)
	t.sc.pcrAuth = bytes.Clone(stripZeros(auth))
	t.clearOrderly()
	return TPM_RC_SUCCESS
}
