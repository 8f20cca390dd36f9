package tpm2

import "testing"

func TestPolicyTransportSPDM(t *testing.T) {
	x := newTestTPM(t)
	s := x.startSession(TPM_SE_POLICY, symNull)
	some := make([]byte, 32)
	name := append(u16(uint16(TPM_ALG_SHA256)), some...)
	for _, c := range []struct {
		what     string
		req, tpm []byte
		want     RC
	}{
		{"no algorithm", []byte{0}, nil, TPM_RC_SIZE.Param(1)},
		{"not a hash", append(u16(uint16(TPM_ALG_RSA)), some...), nil, TPM_RC_HASH.Param(1)},
		{"null", nil, append(u16(uint16(TPM_ALG_NULL)), some...), TPM_RC_HASH.Param(2)},
		{"too short", name[:33], name, TPM_RC_SIZE.Param(1)},
		{"too long", name, append(name[:34:34], 0), TPM_RC_SIZE.Param(2)},
		{"larger than any", make([]byte, maxDigest+3), nil, TPM_RC_SIZE.Param(1)},
	} {
		x.unchanged(func() {
			if r := x.cmd(TPM_CC_PolicyTransportSPDM, handles(s), b2(c.req), b2(c.tpm)); r.rc != c.want {
				t.Errorf("%s: %v, want %v", c.what, r.rc, c.want)
			}
		})
	}
	x.ok(x.cmd(TPM_CC_PolicyTransportSPDM, handles(s), b2(nil), b2(name)))
	x.unchanged(func() {
		x.want(x.cmd(TPM_CC_PolicyTransportSPDM, handles(s), b2(nil), b2(nil)), TPM_RC_VALUE)
	})

	// The demand outlives a saved context, and ends with the policy.
	saved := x.ok(x.cmd(TPM_CC_ContextSave, handles(s)))
	x.ok(x.cmd(TPM_CC_ContextLoad, saved.params))
	x.want(x.cmd(TPM_CC_PolicyTransportSPDM, handles(s), b2(nil), b2(nil)), TPM_RC_VALUE)
	x.ok(x.cmd(TPM_CC_PolicyRestart, handles(s)))
	x.ok(x.cmd(TPM_CC_PolicyTransportSPDM, handles(s), b2(nil), b2(nil)))
}
