package tpm2

// cmdDecapsulate is TPM2_Decapsulate (v185, P3 section 14.11): for ECC keys Decap of DHKEM, for
// ML-KEM keys FIPS 203, where a ciphertext that was not made for the key gives a secret too,
// but nobody else has it.
//
//	TPM_RC_ATTRIBUTES  H1  the key is restricted, or not a decryption key
//	TPM_RC_ECC_POINT   P1  ciphertext is not a point of the key's curve
//	TPM_RC_KEY         H1  not a KEM key
//	TPM_RC_NO_RESULT       the shared point is at infinity
//	TPM_RC_SIZE        P1  ciphertext has not the size of an uncompressed point, or of the
//	                       parameter set
func cmdDecapsulate(t *TPM, c *call) RC {
	enc := c.in.param().b2(maxKEMCiphertext)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	if o.seq == nil && o.pub.Type == TPM_ALG_MLKEM {
		return decapsulateML(c, o, enc)
	}
	if rc := unrestrictedDecrypt(o, TPM_ALG_ECC); rc != TPM_RC_SUCCESS {
		return rc
	}
	k, rc := o.eccKey()
	if rc != TPM_RC_SUCCESS || kemID(&o.pub) == 0 {
		return TPM_RC_KEY.Handle(1)
	}
	g := k.Public().Group()
	if len(enc) != 1+2*g.Size() {
		return TPM_RC_SIZE.Param(1)
	}
	q, rc := onCurve(g, TPMS_ECC_POINT{X: enc[1 : 1+g.Size()], Y: enc[1+g.Size():]})
	if rc != TPM_RC_SUCCESS || enc[0] != 4 {
		return TPM_RC_ECC_POINT.Param(1)
	}
	z, err := k.ECDH(q)
	if err != nil {
		return pointRC(err)
	}
	secret, err := sharedSecret(&o.pub, z, enc, serializePoint(k.Public().Point()))
	if err != nil {
		return TPM_RC_NO_RESULT
	}
	c.out.b2(secret)
	return TPM_RC_SUCCESS
}
