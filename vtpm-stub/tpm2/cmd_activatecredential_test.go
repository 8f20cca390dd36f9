package tpm2

import (
	"bytes"
	"testing"
)

func TestCredential(t *testing.T) {
	x := newTestTPM(t)
	aik := x.createPrimaryKey(TPM_RH_OWNER, "aik", eccTemplate(attrsSign)).handle
	other := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	sym := x.createPrimaryKey(TPM_RH_OWNER, "", symTemplate(attrsStorage)).handle
	name := x.transient(aik).name
	cred := bytes.Repeat([]byte{7}, 32)
	for kind, tpl := range map[string]TPMT_PUBLIC{"ECC": eccTemplate(attrsStorage), "RSA": rsaTemplate(attrsStorage)} {
		ek := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "ek", tpl).handle
		public := x.loadPublic(x.transient(ek).pub, TPM_RH_NULL)
		in := x.ok(x.cmd(TPM_CC_MakeCredential, handles(public), b2(cred), b2(name))).reader()
		blob, secret := in.b2(maxIDObject), in.b2(maxEncryptedSecret)
		if in.end() != TPM_RC_SUCCESS {
			t.Fatal(kind, in.end())
		}
		activate := func(a, k Handle, auth1, auth2 string, blob, secret []byte) response {
			return x.cmdS(TPM_CC_ActivateCredential, handles(a, k), pw(auth1, auth2), b2(blob), b2(secret))
		}
		if got := x.ok(activate(aik, ek, "aik", "ek", blob, secret)).reader().digest(); !bytes.Equal(got, cred) {
			t.Errorf("%s: %x", kind, got)
		}
		flip := func(b []byte, i int) []byte { b = bytes.Clone(b); b[i] ^= 1; return b }
		last := len(secret) - 1
		for _, tt := range []struct {
			name         string
			a, k         Handle
			a1, a2       string
			blob, secret []byte
			rc           RC
		}{
			{"another object", other, ek, "", "ek", blob, secret, TPM_RC_INTEGRITY.Param(1)},
			{"key signs", aik, aik, "aik", "aik", blob, secret, TPM_RC_TYPE.Handle(2)},
			{"key is symmetric", aik, sym, "aik", "", blob, secret, TPM_RC_TYPE.Handle(2)},
			{"public key", aik, public, "aik", "", blob, secret, TPM_RC_AUTH_UNAVAILABLE},
			{"HMAC", aik, ek, "aik", "ek", flip(blob, 2), secret, TPM_RC_INTEGRITY.Param(1)},
			{"data", aik, ek, "aik", "ek", flip(blob, len(blob)-1), secret, TPM_RC_INTEGRITY.Param(1)},
			{"empty blob", aik, ek, "aik", "ek", nil, secret, TPM_RC_INSUFFICIENT.Param(1)},
			{"large blob", aik, ek, "aik", "ek", make([]byte, maxIDObject+1), secret, TPM_RC_SIZE.Param(1)},
			{"secret", aik, ek, "aik", "ek", blob, flip(secret, last), TPM_RC_VALUE.Param(2)},
			{"short secret", aik, ek, "aik", "ek", blob, secret[:last], TPM_RC_VALUE.Param(2)},
			{"no secret", aik, ek, "aik", "ek", blob, nil, TPM_RC_VALUE.Param(2)},
			{"auth of the object", aik, ek, "", "ek", blob, secret, TPM_RC_AUTH_FAIL.Session(1)},
			{"auth of the key", aik, ek, "aik", "", blob, secret, TPM_RC_BAD_AUTH.Session(2)},
		} {
			f := func() {
				if r := activate(tt.a, tt.k, tt.a1, tt.a2, tt.blob, tt.secret); r.rc != tt.rc {
					t.Errorf("%s: %s: %v, want %v", kind, tt.name, r.rc, tt.rc)
				}
			}
			if tt.rc == TPM_RC_AUTH_FAIL.Session(1) { // counts as a failed try
				f()
				continue
			}
			x.unchanged(f)
		}
		x.drop(ek, public)
	}
	for _, tt := range []struct {
		name string
		h    Handle
		cred []byte
		rc   RC
	}{
		{"key signs", aik, cred, TPM_RC_TYPE.Handle(1)},
		{"key is symmetric", sym, cred, TPM_RC_TYPE.Handle(1)},
		{"credential longer than the digest", other, make([]byte, 33), TPM_RC_SIZE.Param(1)},
		{"credential longer than any digest", other, make([]byte, 65), TPM_RC_SIZE.Param(1)},
	} {
		x.unchanged(func() { x.want(x.cmd(TPM_CC_MakeCredential, handles(tt.h), b2(tt.cred), b2(name)), tt.rc) })
	}
	x.want(x.cmd(TPM_CC_MakeCredential, handles(other), b2(cred), b2(make([]byte, 67))), TPM_RC_SIZE.Param(2))
}
