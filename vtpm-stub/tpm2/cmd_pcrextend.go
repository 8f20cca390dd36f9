package tpm2

// cmdPCRExtend is TPM2_PCR_Extend (TPM20-P3 section 22.2). With TPM_RH_NULL it
// does nothing.
//
//	TPM_RC_HASH  P1   a digest's algorithm is not implemented
//	TPM_RC_LOCALITY   the PCR must not be extended from this locality
//	TPM_RC_SIZE  P1   more digests than there are algorithms
func cmdPCRExtend(t *TPM, c *call) RC {
	var l TPML_DIGEST_VALUES
	c.in.param().digestValues(&l)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if c.handle(0) == TPM_RH_NULL {
		return TPM_RC_SUCCESS
	}
	n := int(c.handle(0))
	if !t.pcrMayExtend(n, c.locality) {
		return TPM_RC_LOCALITY
	}
	for i := range l.Digests[:l.Count] {
		d := &l.Digests[i]
		t.pcrExtend(bankIndex(d.Hash), n, d.Digest)
	}
	return TPM_RC_SUCCESS
}

// pcrMayExtend reports whether PCR n may be extended from a locality.
func (t *TPM) pcrMayExtend(n int, locality uint8) bool {
	return locality <= 4 && t.pcrAttrs(n).extendLoc&(1<<locality) != 0
}
