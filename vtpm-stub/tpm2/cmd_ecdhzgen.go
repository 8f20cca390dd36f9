package tpm2

// cmdECDHZGen is TPM2_ECDH_ZGen (TPM20-P3 section 14.5).
//
//	TPM_RC_ATTRIBUTES  H1  the key is restricted, or not a decryption key
//	TPM_RC_ECC_POINT   P1  inPoint is not on the key's curve
//	TPM_RC_KEY         H1  not an ECC key
//	TPM_RC_NO_RESULT       the result is the point at infinity
//	TPM_RC_SCHEME      H1  the key's scheme is neither ECDH nor null
func cmdECDHZGen(t *TPM, c *call) RC {
	in := c.in.param().eccPoint2B()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	if rc := unrestrictedDecrypt(o, TPM_ALG_ECC); rc != TPM_RC_SUCCESS {
		return rc
	}
	if s := o.pub.Scheme.Scheme; s != TPM_ALG_ECDH && s != TPM_ALG_NULL {
		return TPM_RC_SCHEME.Handle(1)
	}
	k, rc := o.eccKey()
	if rc != TPM_RC_SUCCESS {
		return TPM_RC_KEY.Handle(1)
	}
	q, rc := onCurve(k.Public().Group(), in)
	if rc != TPM_RC_SUCCESS {
		return rc.Param(1)
	}
	z, err := k.ECDH(q)
	if err != nil {
		return pointRC(err)
	}
	c.out.point(z)
	return TPM_RC_SUCCESS
}
