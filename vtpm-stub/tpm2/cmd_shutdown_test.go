package tpm2

import "testing"

func TestShutdown(t *testing.T) {
	x := newTestTPM(t)
	x.unchanged(func() {
		x.want(x.cmd(TPM_CC_Shutdown, u16(2)), TPM_RC_VALUE.Param(1))
		x.want(x.cmd(TPM_CC_Shutdown, []byte{0}), TPM_RC_INSUFFICIENT.Param(1))
	})
	x.perm.pcrAllocNext[4] = 1
	x.want(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)), TPM_RC_TYPE)
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_CLEAR)))
	x.reboot()
	if x.perm.pcrAlloc[4] != 1 {
		t.Error("the new allocation is not in force after _TPM_Init")
	}
}

// TestShutdownNullified: what changes saved state makes Startup(STATE)
// impossible.
func TestShutdownNullified(t *testing.T) {
	for name, change := range map[string]func(x *testTPM){
		"PCR": func(x *testTPM) {
			x.Execute(0, frame(TPM_ST_SESSIONS, TPM_CC_PCR_Extend, join(handles(0), pw(""), u32(1), u16(4), make([]byte, 20))), nil)
		},
		"pcrUpdateCounter": func(x *testTPM) {
			x.Execute(1, frame(TPM_ST_SESSIONS, TPM_CC_PCR_Extend, join(handles(20), pw(""), u32(1), u16(4), make([]byte, 20))), nil)
			x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
		},
		"D-RTM": func(x *testTPM) {
			x.HashStart()
			x.HashEnd()
			x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
		},
		"orderly index": func(x *testTPM) { x.ok(x.writeIndex(testIndex+1, "", []byte("new"))) },
	} {
		x := fullTPM(t)
		x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
		change(x)
		x.reboot()
		if rc := x.start(TPM_SU_STATE); rc != TPM_RC_VALUE.Param(1) {
			t.Errorf("%s: Startup(STATE): %v", name, rc)
		}
	}
	for name, cmd := range map[string][]byte{"GetRandom": getRandomCmd(4), "PCR 16": pcrExtendCmd(TPM_ALG_SHA256)} {
		x := fullTPM(t)
		x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
		x.Execute(0, cmd, nil)
		x.reboot()
		if rc := x.start(TPM_SU_STATE); rc != TPM_RC_SUCCESS {
			t.Errorf("%s: Startup(STATE): %v", name, rc)
		}
	}
}
