package tpm2

// cmdSequenceUpdate is TPM2_SequenceUpdate (TPM20-P3 section 17.5).
//
//	TPM_RC_MODE  H1   the handle is not a sequence object
//	TPM_RC_SIZE  P1   buffer is longer than 1024 octets
func cmdSequenceUpdate(_ *TPM, c *call) RC {
	buffer := c.in.param().maxBuffer()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.object(0).seq
	if s == nil {
		return TPM_RC_MODE.Handle(1)
	}
	s.add(buffer)
	return TPM_RC_SUCCESS
}
