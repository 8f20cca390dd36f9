package tpm2

// cmdPolicyLocality is TPM2_PolicyLocality (TPM20-P3 section 23.8).
//
//	TPM_RC_RANGE  P1  no locality, or none that the session still allows
func cmdPolicyLocality(t *TPM, c *call) RC {
	locality := c.in.param().u8()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	allowed, ok := narrowLocality(s.policy.locality, locality)
	if !ok {
		return TPM_RC_RANGE.Param(1)
	}
	s.extend(t, TPM_CC_PolicyLocality, []byte{locality})
	s.policy.locality = allowed
	return TPM_RC_SUCCESS
}

// narrowLocality combines two TPMA_LOCALITY; now is 0 for any. Values above 31 are
// extended localities: one number, not a set.
func narrowLocality(now, locality uint8) (uint8, bool) {
	switch {
	case locality == 0:
		return 0, false
	case now == 0:
		return locality, true
	case now > 31 || locality > 31:
		return locality, now == locality
	}
	return now & locality, now&locality != 0
}
