package tpm2

import (
	"bytes"
	"testing"
)

func TestStirRandom(t *testing.T) {
	a, b := newTestTPM(t), newTestTPM(t)
	get := func(x *testTPM) []byte { return x.ok(x.cmd(TPM_CC_GetRandom, u16(32))).params }
	if !bytes.Equal(get(a), get(b)) {
		t.Fatal("test TPMs with the same entropy differ")
	}
	a.ok(a.cmd(TPM_CC_StirRandom, b2([]byte("one"))))
	b.ok(b.cmd(TPM_CC_StirRandom, b2([]byte("two"))))
	if bytes.Equal(get(a), get(b)) {
		t.Error("inData has no effect")
	}
	a.ok(a.cmd(TPM_CC_StirRandom, b2(make([]byte, 128))))
	a.unchanged(func() { a.want(a.cmd(TPM_CC_StirRandom, b2(make([]byte, 129))), TPM_RC_SIZE.Param(1)) })
}
