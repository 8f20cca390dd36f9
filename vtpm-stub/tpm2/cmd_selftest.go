package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdSelfTest is TPM2_SelfTest (TPM20-P3 section 10.2). It tests before it
// answers.
//
//	TPM_RC_FAILURE    a test failed; the TPM is in failure mode
//	TPM_RC_VALUE  P1  fullTest is neither YES nor NO
func cmdSelfTest(t *TPM, c *call) RC {
	full := c.in.param().yesNo()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if t.ram.tested && !full {
		return TPM_RC_SUCCESS
	}
	return t.selfTest(t.selfTests())
}

// selfTest runs the known-answer tests of algorithms.
func (t *TPM) selfTest(algs []AlgID) RC {
	if err := tpmcrypto.SelfTestAll(algs); err != nil {
		return t.fail(TPM_RC_FAILURE, "self test: "+err.Error())
	}
	for _, a := range algs {
		if !containsAlg(t.ram.testedAlgs, a) {
			t.ram.testedAlgs = append(t.ram.testedAlgs, a)
		}
	}
	t.ram.tested = len(t.untested()) == 0
	return TPM_RC_SUCCESS
}

// selfTests returns the algorithms of the TPM that have a test.
func (t *TPM) selfTests() (list []AlgID) {
	for _, a := range tpmcrypto.SelfTests() {
		if t.offer.offers(a) {
			list = append(list, a)
		}
	}
	return list
}

// untested returns the algorithms not tested since _TPM_Init.
func (t *TPM) untested() (list []AlgID) {
	for _, a := range t.selfTests() {
		if !containsAlg(t.ram.testedAlgs, a) {
			list = append(list, a)
		}
	}
	return list
}

func containsAlg(list []AlgID, a AlgID) bool {
	for _, x := range list {
		if x == a {
			return true
		}
	}
	return false
}
