package tpm2

import (
	"bytes"
	"testing"
)

func TestUnseal(t *testing.T) {
	x := newTestTPM(t)
	p := x.storageParent()
	secret := bytes.Repeat([]byte("secret"), 22)[:maxSymData]
	h := x.load(p, x.create(p, "auth", secret, sealedTemplate(nil)))
	r := x.ok(x.cmdS(TPM_CC_Unseal, handles(h), pw("auth"))).reader()
	if got := r.b2(maxSymData); !bytes.Equal(got, secret) || r.end() != TPM_RC_SUCCESS {
		t.Errorf("unsealed %q", got)
	}
	key := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	mac := x.createPrimaryKey(TPM_RH_OWNER, "", keyedHashTemplate(attrsSign)).handle
	pub := x.loadPublic(x.transient(h).pub, TPM_RH_OWNER)
	seq := x.ok(x.cmd(TPM_CC_HashSequenceStart, b2(nil), u16(uint16(TPM_ALG_SHA256)))).handle
	for _, tt := range []struct {
		name string
		h    Handle
		auth string
		rc   RC
	}{
		{"ECC key", key, "", TPM_RC_TYPE.Handle(1)},
		{"HMAC key", mac, "", TPM_RC_ATTRIBUTES.Handle(1)},
		{"sequence", seq, "", TPM_RC_TYPE.Handle(1)},
		{"public area", pub, "", TPM_RC_AUTH_UNAVAILABLE},
		{"wrong auth", h, "aut", TPM_RC_BAD_AUTH.Session(1)},
	} {
		x.unchanged(func() {
			if r := x.cmdS(TPM_CC_Unseal, handles(tt.h), pw(tt.auth)); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
}

// TestUnsealPCR: data sealed to a PCR value are lost to whoever extends it.
func TestUnsealPCR(t *testing.T) {
	x := newTestTPM(t)
	p := x.storageParent()
	sel := join(u32(1), pcrSel(TPM_ALG_SHA256, 16))
	trial := x.startSession(TPM_SE_TRIAL, u16(uint16(TPM_ALG_NULL)))
	x.ok(x.cmd(TPM_CC_PolicyPCR, handles(trial), b2(nil), sel))
	tpl := sealedTemplate(x.policyDigest(trial))
	tpl.Attributes &^= objUserWithAuth
	h := x.load(p, x.create(p, "", []byte("disk key"), tpl))
	s := x.startSession(TPM_SE_POLICY, u16(uint16(TPM_ALG_NULL)))
	unseal := func() response {
		x.ok(x.cmd(TPM_CC_PolicyRestart, handles(s)))
		x.ok(x.cmd(TPM_CC_PolicyPCR, handles(s), b2(nil), sel))
		return x.cmdS(TPM_CC_Unseal, handles(h), policyArea(s))
	}
	if got := x.ok(unseal()).reader().b2(128); string(got) != "disk key" {
		t.Errorf("unsealed %q", got)
	}
	x.want(x.cmdS(TPM_CC_Unseal, handles(h), pw("")), TPM_RC_AUTH_UNAVAILABLE)
	x.ok(x.cmdS(TPM_CC_PCR_Extend, handles(16), pw(""), u32(1), u16(uint16(TPM_ALG_SHA256)), make([]byte, 32)))
	x.want(unseal(), TPM_RC_POLICY_FAIL.Session(1))
	x.ok(x.cmdS(TPM_CC_PCR_Reset, handles(16), pw("")))
	x.ok(unseal())
}
