package tpm2

import (
	"testing"
)

func TestIncrementalSelfTest(t *testing.T) {
	x := profiled(t, ProfileOwn)
	algs := func(r response) (list []AlgID) {
		in := r.reader()
		list = in.algList()
		if in.end() != TPM_RC_SUCCESS {
			t.Error("malformed list")
		}
		return list
	}
	all := len(x.selfTests())
	if n := len(algs(x.ok(x.cmd(TPM_CC_IncrementalSelfTest, u32(0))))); n != all {
		t.Errorf("%d algorithms to do, want %d", n, all)
	}
	two := join(u32(2), u16(uint16(TPM_ALG_SHA256)), u16(uint16(TPM_ALG_SHA1)))
	left := algs(x.ok(x.cmd(TPM_CC_IncrementalSelfTest, two)))
	if len(left) != all-2 || containsAlg(left, TPM_ALG_SHA256) || containsAlg(left, TPM_ALG_SHA1) {
		t.Errorf("left: %x", left)
	}
	if n := len(algs(x.ok(x.cmd(TPM_CC_IncrementalSelfTest, two)))); n != all-2 {
		t.Errorf("%d left after the same again", n)
	}
	x.want(x.cmd(TPM_CC_IncrementalSelfTest, u32(1), u16(0xFFFF)), TPM_RC_VALUE.Param(1))
	x.want(x.cmd(TPM_CC_IncrementalSelfTest, u32(129), make([]byte, 258)), TPM_RC_SIZE.Param(1))
	x.want(x.cmd(TPM_CC_IncrementalSelfTest, u32(2), u16(4)), TPM_RC_INSUFFICIENT.Param(1))
	// Every algorithm that the TPM reports can be named.
	list := u32(uint32(len(algTable)))
	for _, a := range algTable {
		list = append(list, u16(uint16(a.alg))...)
	}
	if left := algs(x.ok(x.cmd(TPM_CC_IncrementalSelfTest, list))); len(left) != 0 {
		t.Errorf("untested after all were named: %x", left)
	}
	if rc := x.testResult(); rc != TPM_RC_SUCCESS {
		t.Error(rc)
	}
}
