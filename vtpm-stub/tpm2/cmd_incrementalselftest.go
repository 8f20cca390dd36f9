package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdIncrementalSelfTest is TPM2_IncrementalSelfTest (TPM20-P3 section 10.3). It
// tests what is asked for before it answers, and lists what is still untested.
//
//	TPM_RC_FAILURE    a test failed; the TPM is in failure mode
//	TPM_RC_SIZE   P1  more than 128 algorithms
//	TPM_RC_VALUE  P1  an algorithm is not implemented
func cmdIncrementalSelfTest(t *TPM, c *call) RC {
	list := c.in.param().algList()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	var todo []AlgID
	for _, a := range list {
		if !t.offer.offers(a) {
			return TPM_RC_VALUE.Param(1)
		}
		if containsAlg(tpmcrypto.SelfTests(), a) && !containsAlg(t.ram.testedAlgs, a) && !containsAlg(todo, a) {
			todo = append(todo, a)
		}
	}
	if rc := t.selfTest(todo); rc != TPM_RC_SUCCESS {
		return rc
	}
	left := t.untested()
	c.out.u32(uint32(len(left)))
	for _, a := range left {
		c.out.alg(a)
	}
	return TPM_RC_SUCCESS
}
