package tpm2

// cmdQuote is TPM2_Quote (TPM20-P3 section 18.4). Without a scheme there is no hash for
// the PCR, so that TPM_RH_NULL needs a scheme too; for ML-DSA see digestAlg.
//
//	TPM_RC_KEY     H1  the key is not a signing key
//	TPM_RC_SCHEME  P2  the scheme is not the key's, none is named, or there is no hash
//	TPM_RC_RANGE, TPM_RC_VALUE  P2  ECDAA: the count was not given out, or was used
func cmdQuote(t *TPM, c *call) RC {
	extra := c.in.param().data()
	in := c.in.param().sigScheme()
	var sel TPML_PCR_SELECTION
	c.in.param().pcrSelection(&sel)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	a, rc := newAttestation(c, TPM_ST_ATTEST_QUOTE, 0, 2, &in, extra)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	alg, rc := a.digestAlg()
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	digest := t.pcrDigest(alg, &sel) // clears what does not exist in sel
	return t.answer(c, &a, func(w *writer) {
		w.pcrSelection(&sel)
		w.b2(digest)
	})
}
