package tpm2

// cmdReadPublic is TPM2_ReadPublic (TPM20-P3 section 12.4).
//
//	TPM_RC_SEQUENCE  the object is a sequence
func cmdReadPublic(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	if o.seq != nil {
		return TPM_RC_SEQUENCE
	}
	c.out.public2B(&o.pub)
	c.out.b2(o.name)
	c.out.b2(o.qname)
	return TPM_RC_SUCCESS
}
