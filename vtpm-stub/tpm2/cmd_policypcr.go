package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdPolicyPCR is TPM2_PolicyPCR (TPM20-P3 section 23.7). In a trial session a given
// digest and selection are taken as they are.
//
//	TPM_RC_HASH   P2    a bank's algorithm is not implemented
//	TPM_RC_PCR_CHANGED  PCR changed since an earlier TPM2_PolicyPCR of the session
//	TPM_RC_SIZE   P2    more selections than there are banks
//	TPM_RC_VALUE  P1    the PCR do not have the given digest
//	TPM_RC_VALUE  P2    a selection of a wrong size
func cmdPolicyPCR(t *TPM, c *call) RC {
	want := c.in.param().digest()
	var pcrs TPML_PCR_SELECTION
	c.in.param().pcrSelection(&pcrs)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	digest := want
	if !s.trial() || len(want) == 0 {
		digest = t.pcrDigest(s.hash, &pcrs) // clears the bits of PCR that are not there
	}
	if !s.trial() {
		if len(want) != 0 && !tpmcrypto.Equal(want, digest) {
			return TPM_RC_VALUE.Param(1)
		}
		if s.policy.pcrBound && s.policy.pcrCounter != t.sr.pcrCounter {
			return TPM_RC_PCR_CHANGED
		}
		s.policy.pcrBound, s.policy.pcrCounter = true, t.sr.pcrCounter
	}
	selection := marshal(4+numHashes*6, func(w *writer) { w.pcrSelection(&pcrs) })
	s.extend(t, TPM_CC_PolicyPCR, selection, digest)
	return TPM_RC_SUCCESS
}
