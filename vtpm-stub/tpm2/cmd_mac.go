package tpm2

// cmdMAC is TPM2_MAC, which is TPM2_HMAC for an HMAC key (TPM20-P3 sections 15.5
// and 15.6).
//
//	TPM_RC_ATTRIBUTES  H1   the key is restricted
//	TPM_RC_KEY         H1   the key is not a signing key
//	TPM_RC_SIZE        P1   buffer is longer than 1024 octets
//	TPM_RC_SYMMETRIC   P2   inScheme is neither CMAC nor a hash
//	TPM_RC_TYPE        H1   the key is neither KEYEDHASH nor SYMCIPHER
//	TPM_RC_VALUE       P2   inScheme is not the key's, or neither names one
func cmdMAC(t *TPM, c *call) RC {
	buffer := c.in.param().maxBuffer()
	scheme := c.in.param().macScheme(true)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	alg, rc := macKey(o, scheme, 2)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if alg != TPM_ALG_CMAC {
		var buf [maxDigest]byte
		c.out.b2(t.hash.HMAC(alg, buf[:0], o.sens.Sensitive, buffer))
		return TPM_RC_SUCCESS
	}
	s, rc := newMAC(o, alg)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	s.add(buffer)
	c.out.b2(s.result())
	return TPM_RC_SUCCESS
}
