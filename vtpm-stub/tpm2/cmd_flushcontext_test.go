package tpm2

import "testing"

func TestFlushContext(t *testing.T) {
	x := newTestTPM(t)
	k := x.createPrimaryKey(TPM_RH_NULL, "", eccTemplate(attrsSign))
	h, p := x.startSession(TPM_SE_HMAC, symNull), x.startSession(TPM_SE_POLICY, symNull)
	x.unchanged(func() {
		for _, tt := range []struct {
			h  Handle
			rc RC
		}{
			{TRANSIENT_FIRST + 1, TPM_RC_HANDLE},
			{0x80FFFFFF, TPM_RC_HANDLE},
			{HMAC_SESSION_FIRST + 40, TPM_RC_HANDLE},
			{HMAC_SESSION_FIRST + 64, TPM_RC_HANDLE},
			{POLICY_SESSION_FIRST + Handle(h.index()), TPM_RC_HANDLE},
			{PERSISTENT_FIRST, TPM_RC_VALUE},
			{TPM_RH_OWNER, TPM_RC_VALUE},
			{TPM_RH_NULL, TPM_RC_VALUE},
			{0, TPM_RC_VALUE},
		} {
			if r := x.cmd(TPM_CC_FlushContext, handles(tt.h)); r.rc != tt.rc.Param(1) {
				t.Errorf("0x%x: %v, want %v", tt.h, r.rc, tt.rc.Param(1))
			}
		}
	})
	for _, h := range []Handle{k.handle, h, p} {
		x.ok(x.cmd(TPM_CC_FlushContext, handles(h)))
		x.want(x.cmd(TPM_CC_FlushContext, handles(h)), TPM_RC_HANDLE.Param(1))
	}
	if _, active := x.loadedSessions(); active != 0 {
		t.Errorf("%d sessions left", active)
	}
	// A saved session is flushed by its handle.
	x.ram.sessions[9] = sessionSlot{contextID: 5, kind: TPM_HT_POLICY_SESSION}
	x.want(x.cmd(TPM_CC_FlushContext, handles(POLICY_SESSION_FIRST+8)), TPM_RC_HANDLE.Param(1))
	x.ok(x.cmd(TPM_CC_FlushContext, handles(POLICY_SESSION_FIRST+9)))
}
