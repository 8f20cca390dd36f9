package tpm2

import "bytes"

// cmdNVChangeAuth is TPM2_NV_ChangeAuth (TPM20-P3 section 31.15).
//
//	TPM_RC_SIZE  P1  newAuth is longer than the digest of the index's nameAlg
func cmdNVChangeAuth(t *TPM, c *call) RC {
	auth := c.in.param().digest()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(0)
	auth = stripZeros(auth)
	if len(auth) > ix.pub.NameAlg.DigestSize() {
		return TPM_RC_SIZE.Param(1)
	}
	clear(ix.auth)
	ix.auth = bytes.Clone(auth)
	t.touch()
	c.setResponseAuth(0, auth)
	return TPM_RC_SUCCESS
}
