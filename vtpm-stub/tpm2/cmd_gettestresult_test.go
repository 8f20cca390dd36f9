package tpm2

import "testing"

// TestGetTestResult: the reasons in order; TestFailureMode has failure.
func TestGetTestResult(t *testing.T) {
	x := newTestTPM(t)
	x.want(x.cmd(TPM_CC_GetTestResult, []byte{0}), TPM_RC_SIZE)
	x.ok(x.cmd(TPM_CC_SelfTest, []byte{1}))
	if rc := x.testResult(); rc != TPM_RC_SUCCESS {
		t.Error(rc)
	}
	x.reboot()
	x.start(TPM_SU_CLEAR)
	if rc := x.testResult(); rc != TPM_RC_NEEDS_TEST {
		t.Errorf("after a restart: %v", rc)
	}
}
