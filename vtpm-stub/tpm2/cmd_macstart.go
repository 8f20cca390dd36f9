package tpm2

// cmdMACStart is TPM2_MAC_Start, which is TPM2_HMAC_Start for an HMAC key
// (TPM20-P3 sections 17.2 and 17.3).
//
//	TPM_RC_ATTRIBUTES   H1   the key is restricted
//	TPM_RC_KEY          H1   the key is not a signing key
//	TPM_RC_OBJECT_MEMORY     no free object slot
//	TPM_RC_SIZE         P1   auth is longer than the largest digest
//	TPM_RC_SYMMETRIC    P2   inScheme is neither CMAC nor a hash
//	TPM_RC_TYPE         H1   the key is neither KEYEDHASH nor SYMCIPHER
//	TPM_RC_VALUE        P2   inScheme is not the key's, or neither names one
func cmdMACStart(t *TPM, c *call) RC {
	auth := c.in.param().digest()
	scheme := c.in.param().macScheme(true)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	alg, rc := macKey(o, scheme, 2)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	s, rc := newMAC(o, alg)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	return t.startSequence(c, s, auth)
}

// startSequence puts a sequence into an object slot and answers its handle.
func (t *TPM) startSequence(c *call, s *sequence, auth []byte) RC {
	o := newSequence(s, auth)
	if rc := t.addObject(o); rc != TPM_RC_SUCCESS {
		return rc
	}
	c.setHandle(o.handle)
	return TPM_RC_SUCCESS
}
