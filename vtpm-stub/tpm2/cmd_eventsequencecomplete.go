package tpm2

// cmdEventSequenceComplete is TPM2_EventSequenceComplete (TPM20-P3 section
// 17.7): it extends the PCR in each allocated bank and returns a digest for
// every hash algorithm. The sequence object is flushed.
//
//	TPM_RC_LOCALITY    the PCR must not be extended from this locality
//	TPM_RC_MODE   H2   not an Event Sequence
//	TPM_RC_SIZE   P1   buffer is longer than 1024 octets
func cmdEventSequenceComplete(t *TPM, c *call) RC {
	buffer := c.in.param().maxBuffer()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.object(1).seq
	if s == nil || s.kind != seqEvent {
		return TPM_RC_MODE.Handle(2)
	}
	n := -1
	if c.handle(0) != TPM_RH_NULL {
		n = int(c.handle(0))
		if !t.pcrMayExtend(n, c.locality) {
			return TPM_RC_LOCALITY
		}
	}
	s.add(buffer)
	var l TPML_DIGEST_VALUES
	for _, h := range s.hashes {
		d := h.Sum(nil)
		l.Digests[l.Count] = TPMT_HA{h.Alg(), d}
		l.Count++
		if n >= 0 {
			t.pcrExtend(bankIndex(h.Alg()), n, d)
		}
	}
	t.flushObject(c.handle(1))
	c.out.digestValues(&l)
	return TPM_RC_SUCCESS
}
