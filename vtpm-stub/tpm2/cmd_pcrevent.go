package tpm2

// cmdPCREvent is TPM2_PCR_Event (TPM20-P3 section 22.3): it hashes the event for
// each bank, extends the PCR and returns the digests of the allocated banks.
// With TPM_RH_NULL nothing is extended.
//
//	TPM_RC_LOCALITY   the PCR must not be extended from this locality
//	TPM_RC_SIZE  P1   eventData is longer than 1024 octets
func cmdPCREvent(t *TPM, c *call) RC {
	event := c.in.param().maxBuffer()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	n := -1
	if c.handle(0) != TPM_RH_NULL {
		n = int(c.handle(0))
		if !t.pcrMayExtend(n, c.locality) {
			return TPM_RC_LOCALITY
		}
	}
	var l TPML_DIGEST_VALUES
	var buf [numHashes][maxDigest]byte
	for b, alg := range hashAlgs {
		if t.perm.pcrAlloc[b] == 0 {
			continue
		}
		d := t.hash.Sum(alg, buf[b][:0], event)
		t.pcrExtend(b, n, d)
		l.Digests[l.Count] = TPMT_HA{alg, d}
		l.Count++
	}
	c.out.digestValues(&l)
	return TPM_RC_SUCCESS
}
