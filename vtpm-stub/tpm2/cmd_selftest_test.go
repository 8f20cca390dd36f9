package tpm2

import (
	"testing"
)

// testResult returns what GetTestResult says.
func (x *testTPM) testResult() RC {
	x.t.Helper()
	r := x.ok(x.cmd(TPM_CC_GetTestResult)).reader()
	r.b2(maxDigestBuffer)
	rc := RC(r.u32())
	if r.end() != TPM_RC_SUCCESS {
		x.t.Error("malformed GetTestResult")
	}
	return rc
}

func TestSelfTest(t *testing.T) {
	x := newTestTPM(t)
	x.unchanged(func() { x.want(x.cmd(TPM_CC_SelfTest, []byte{2}), TPM_RC_VALUE.Param(1)) })
	if rc := x.testResult(); rc != TPM_RC_NEEDS_TEST {
		t.Errorf("before: %v", rc)
	}
	x.ok(x.cmd(TPM_CC_SelfTest, []byte{0}))
	if rc := x.testResult(); rc != TPM_RC_SUCCESS {
		t.Errorf("after: %v", rc)
	}
	x.ok(x.cmd(TPM_CC_SelfTest, []byte{1}))
	if n, want := len(x.ram.testedAlgs), len(x.selfTests()); n != want {
		t.Errorf("%d algorithms are noted as tested, want %d", n, want)
	}
}
