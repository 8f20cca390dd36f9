package tpm2

// cmdUnseal is TPM2_Unseal (TPM20-P3 section 12.7).
//
//	TPM_RC_ATTRIBUTES  H1  the object is a key
//	TPM_RC_TYPE        H1  the object is not a KEYEDHASH
func cmdUnseal(_ *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	switch {
	case o.seq != nil || o.pub.Type != TPM_ALG_KEYEDHASH:
		return TPM_RC_TYPE.Handle(1)
	case o.pub.Attributes&(objRestricted|objDecrypt|objSign) != 0:
		return TPM_RC_ATTRIBUTES.Handle(1)
	}
	c.out.b2(o.sens.Sensitive)
	return TPM_RC_SUCCESS
}
