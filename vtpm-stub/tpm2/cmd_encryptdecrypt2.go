package tpm2

// cmdEncryptDecrypt2 is TPM2_EncryptDecrypt2 (TPM20-P3 section 15.3):
// TPM2_EncryptDecrypt with the data first, so that they can be encrypted on the way.
//
//	TPM_RC_ATTRIBUTES  H1   the key is restricted, or not for this direction
//	TPM_RC_KEY         H1   the key is not a SYMCIPHER
//	TPM_RC_MODE        P3   mode is not the key's, neither names one, or it is no cipher mode
//	TPM_RC_SIZE        P1   inData is not whole blocks (CBC, ECB), or over 1024 octets
//	TPM_RC_SIZE        P4   ivIn is not one block (for ECB: not empty)
//	TPM_RC_VALUE       P2   decrypt is neither YES nor NO
func cmdEncryptDecrypt2(_ *TPM, c *call) RC {
	data := c.in.param().maxBuffer()
	decrypt := c.in.param().yesNo()
	mode := c.in.param().symMode(true)
	iv := c.in.param().b2(maxSymBlock)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	return symmetric(c, decrypt, mode, iv, data, 3)
}
