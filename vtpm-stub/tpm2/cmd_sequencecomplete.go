package tpm2

// cmdSequenceComplete is TPM2_SequenceComplete (TPM20-P3 section 17.6). The sequence object is
// flushed. The ticket is a NULL ticket for a MAC.
//
//	TPM_RC_MODE   H1   not a hash or MAC sequence
//	TPM_RC_SIZE   P1   buffer is longer than 1024 octets
//	TPM_RC_VALUE  P2   not a hierarchy
func cmdSequenceComplete(t *TPM, c *call) RC {
	buffer := c.in.param().maxBuffer()
	hierarchy := c.in.param().hierarchy(true)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.object(0).seq
	if s == nil || s.kind != seqHash && s.kind != seqHMAC && s.kind != seqCMAC {
		return TPM_RC_MODE.Handle(1)
	}
	s.add(buffer)
	result := s.result()
	ticket := TPMT_TK{Tag: TPM_ST_HASHCHECK, Hierarchy: TPM_RH_NULL}
	if s.kind == seqHash {
		ticket = t.hashTicket(hierarchy, s.hashes[0].Alg(), result, s.safe())
	}
	t.flushObject(c.handle(0))
	c.out.b2(result)
	c.out.ticket(&ticket)
	return TPM_RC_SUCCESS
}
