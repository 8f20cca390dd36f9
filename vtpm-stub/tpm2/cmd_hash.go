package tpm2

// cmdHash is TPM2_Hash (TPM20-P3 section 15.4). The ticket is a NULL ticket when
// the data begin with TPM_GENERATED_VALUE or hierarchy is TPM_RH_NULL.
//
//	TPM_RC_HASH   P2   hashAlg is not implemented
//	TPM_RC_SIZE   P1   data is longer than 1024 octets
//	TPM_RC_VALUE  P3   not a hierarchy
func cmdHash(t *TPM, c *call) RC {
	data := c.in.param().maxBuffer()
	alg := c.in.param().hash(false)
	hierarchy := c.in.param().hierarchy(true)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	var buf [maxDigest]byte
	digest := t.hash.Sum(alg, buf[:0], data)
	ticket := t.hashTicket(hierarchy, alg, digest, safeToSign(data))
	c.out.b2(digest)
	c.out.ticket(&ticket)
	return TPM_RC_SUCCESS
}
