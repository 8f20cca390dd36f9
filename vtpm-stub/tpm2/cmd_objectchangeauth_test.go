package tpm2

import (
	"bytes"
	"testing"
)

func TestObjectChangeAuth(t *testing.T) {
	x := newTestTPM(t)
	p := x.storageParent()
	c := x.create(p, "old", []byte("data"), sealedTemplate(nil))
	h := x.load(p, c)
	change := func(h, p Handle, auth string, n []byte) response {
		return x.cmdS(TPM_CC_ObjectChangeAuth, handles(h, p), pw(auth), b2(n))
	}
	var n child
	x.unchanged(func() { // the loaded object stays as it is
		n = child{private: x.ok(change(h, p, "old", []byte("new\x00\x00"))).reader().b2(maxPrivate), pub: c.pub}
	})
	if len(n.private) != len(c.private) {
		t.Errorf("private area of %d octets, had %d", len(n.private), len(c.private))
	}
	h2 := x.load(p, n)
	x.ok(x.cmdS(TPM_CC_Unseal, handles(h), pw("old")))
	x.ok(x.cmdS(TPM_CC_Unseal, handles(h2), pw("new")))
	x.want(x.cmdS(TPM_CC_Unseal, handles(h2), pw("old")), TPM_RC_BAD_AUTH.Session(1))

	other := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", eccTemplate(attrsStorage)).handle
	sign := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	seq := x.ok(x.cmd(TPM_CC_HashSequenceStart, b2(nil), u16(uint16(TPM_ALG_SHA256)))).handle
	public := x.loadPublic(x.transient(p).pub, TPM_RH_OWNER)
	for _, tt := range []struct {
		name string
		h, p Handle
		auth string
		n    []byte
		rc   RC
	}{
		{"another parent", h, other, "old", nil, TPM_RC_TYPE.Handle(2)},
		{"parent signs", h, sign, "old", nil, TPM_RC_TYPE.Handle(2)},
		{"public parent", h, public, "old", nil, TPM_RC_TYPE.Handle(2)},
		{"primary object", p, p, "", nil, TPM_RC_TYPE.Handle(2)},
		{"sequence", seq, p, "", nil, TPM_RC_TYPE.Handle(1)},
		{"too long", h, p, "old", bytes.Repeat([]byte{1}, 33), TPM_RC_SIZE.Param(1)},
		{"longer than any digest", h, p, "old", bytes.Repeat([]byte{1}, 65), TPM_RC_SIZE.Param(1)},
		{"wrong auth", h, p, "new", nil, TPM_RC_BAD_AUTH.Session(1)},
	} {
		x.unchanged(func() {
			if r := change(tt.h, tt.p, tt.auth, tt.n); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
}
