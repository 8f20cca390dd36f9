package tpm2

// cmdPCRSetAuthPolicy is TPM2_PCR_SetAuthPolicy (TPM20-P3 section 22.6). PCR 20 to 22
// are one group.
//
//	TPM_RC_HASH   P2  hashAlg is not implemented
//	TPM_RC_SIZE   P1  authPolicy is not a digest of hashAlg
//	TPM_RC_VALUE  P3  not a PCR, or one that has no policy
func cmdPCRSetAuthPolicy(t *TPM, c *call) RC {
	p := policyAuth{digest: c.in.param().digest()}
	p.alg = c.in.param().hash(true)
	pcr := c.in.param().handle()
	if c.in.rc == TPM_RC_SUCCESS && pcr >= numPCR {
		c.in.fail(TPM_RC_VALUE)
	}
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	p, rc := p.checked()
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if !t.pcrAttrs(int(pcr)).group {
		return TPM_RC_VALUE.Param(3)
	}
	t.perm.pcrPolicy = p
	t.touch()
	return TPM_RC_SUCCESS
}
