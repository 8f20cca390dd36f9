package tpm2

import "testing"

func TestStartup(t *testing.T) {
	x := newRawTPM(t)
	x.want(x.cmd(TPM_CC_GetRandom, u16(8)), TPM_RC_INITIALIZE)
	x.want(x.cmd(TPM_CC_Startup, u16(2)), TPM_RC_VALUE.Param(1))
	x.want(x.cmd(TPM_CC_Startup, u16(TPM_SU_STATE)), TPM_RC_VALUE.Param(1))
	x.want(x.cmd(TPM_CC_Startup), TPM_RC_INSUFFICIENT.Param(1))
	x.want(x.cmd(TPM_CC_Startup, u16(0), u16(0)), TPM_RC_SIZE)
	x.loc = 2
	x.want(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)), TPM_RC_LOCALITY)
	x.loc = 0
	x.ok(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)))
	x.want(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)), TPM_RC_INITIALIZE)
}

// TestStartupKinds walks Reset, Restart and Resume and checks counters, PCR and
// the null hierarchy.
func TestStartupKinds(t *testing.T) {
	tests := []struct {
		name       string
		shutdown   int // -1: none
		startup    uint16
		rc         RC
		reset, sta uint32 // resetCount and restartCount after it
		pcrKept    bool
		nullKept   bool
	}{
		{"reset", TPM_SU_CLEAR, TPM_SU_CLEAR, 0, 2, 0, false, false},
		{"power cut", -1, TPM_SU_CLEAR, 0, 2, 0, false, false},
		{"restart", TPM_SU_STATE, TPM_SU_CLEAR, 0, 1, 1, false, true},
		{"resume", TPM_SU_STATE, TPM_SU_STATE, 0, 1, 1, true, true},
		{"resume after clear", TPM_SU_CLEAR, TPM_SU_STATE, TPM_RC_VALUE.Param(1), 1, 0, true, true},
	}
	for _, tt := range tests {
		for _, how := range []string{"same process", "restored"} {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				x := newTestTPM(t)
				x.ok(x.cmdS(TPM_CC_PCR_Extend, handles(3), pw(""), u32(1), u16(uint16(TPM_ALG_SHA256)), make([]byte, 32)))
				pcr, null := x.sc.pcr[1][3], x.null.proof
				if tt.shutdown >= 0 {
					x.ok(x.cmd(TPM_CC_Shutdown, u16(uint16(tt.shutdown))))
				}
				if how == "restored" {
					if tt.rc != 0 {
						return
					}
					x.reboot()
				} else {
					x.PowerOn()
				}
				if rc := x.start(tt.startup); rc != tt.rc {
					t.Fatalf("Startup: %v", rc)
				}
				if tt.rc != 0 {
					return
				}
				if x.perm.resetCount != tt.reset || x.sr.restartCount != tt.sta {
					t.Errorf("counts %d, %d", x.perm.resetCount, x.sr.restartCount)
				}
				if (x.sc.pcr[1][3] == pcr) != tt.pcrKept {
					t.Errorf("PCR kept: %v", !tt.pcrKept)
				}
				if (x.null.proof == null) != tt.nullKept {
					t.Errorf("null hierarchy kept: %v", !tt.nullKept)
				}
			})
		}
	}
}

func TestStartupLocality(t *testing.T) {
	x := newRawTPM(t)
	x.loc = 3
	x.ok(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)))
	if x.sc.pcr[1][0][31] != 3 || x.sc.pcr[0][0][19] != 3 {
		t.Error("PCR 0 does not tell the startup locality")
	}
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	x.PowerOn()
	x.loc = 0
	if rc := x.start(TPM_SU_STATE); rc != TPM_RC_LOCALITY {
		t.Errorf("resume from another locality: %v", rc)
	}
	x.loc = 3
	if rc := x.start(TPM_SU_STATE); rc != TPM_RC_SUCCESS {
		t.Errorf("resume: %v", rc)
	}
}
