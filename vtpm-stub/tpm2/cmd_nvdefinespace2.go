package tpm2

// cmdNVDefineSpace2 is TPM2_NV_DefineSpace2 (v185, P3 section 31.17) for the one type of index
// that there is, TPM_HT_NV_INDEX. Codes are those of TPM2_NV_DefineSpace, and
//
//	TPM_RC_VALUE  P2  handleType is not TPM_HT_NV_INDEX
func cmdNVDefineSpace2(t *TPM, c *call) RC {
	auth := c.in.param().digest()
	pub := c.in.param().nvPublic2()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	return t.nvDefine(c.handle(0), auth, pub)
}

// nvPublic2 reads a TPM2B_NV_PUBLIC_2 (v185, P2 section 13.11): handleType and TPMS_NV_PUBLIC.
func (r *reader) nvPublic2() TPMS_NV_PUBLIC {
	s := r.sub()
	if r.rc == TPM_RC_SUCCESS && len(s.b) == 0 {
		r.fail(TPM_RC_SIZE)
	}
	if s.u8() != TPM_HT_NV_INDEX {
		s.fail(TPM_RC_VALUE)
	}
	p := s.nvPublic()
	r.endSub(&s)
	return p
}
