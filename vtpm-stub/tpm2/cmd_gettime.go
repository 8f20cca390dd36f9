package tpm2

import "xenvtpm/drivers/tpmid"

// cmdGetTime is TPM2_GetTime (TPM20-P3 section 18.7). The copies of clock and firmware
// version in the attested part are never obfuscated.
//
//	TPM_RC_KEY     H2  the key is not a signing key
//	TPM_RC_SCHEME  P2  the scheme is not the key's, or none is named
//	TPM_RC_RANGE, TPM_RC_VALUE  P2  ECDAA: the count was not given out, or was used
func cmdGetTime(t *TPM, c *call) RC {
	extra := c.in.param().data()
	in := c.in.param().sigScheme()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	a, rc := newAttestation(c, TPM_ST_ATTEST_TIME, 1, 2, &in, extra)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	clock := t.clockInfo()
	return t.answer(c, &a, func(w *writer) {
		w.u64(t.msTime())
		w.clockInfo(&clock)
		w.u64(tpmid.FirmwareVersion)
	})
}
