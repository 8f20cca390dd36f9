package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

func startParams(nonce int, salt []byte, kind sessionKind, sym []byte, hash AlgID) []byte {
	return join(b2(make([]byte, nonce)), b2(salt), []byte{byte(kind)}, sym, u16(uint16(hash)))
}

func TestStartAuthSession(t *testing.T) {
	x := newTestTPM(t)
	null := handles(TPM_RH_NULL, TPM_RH_NULL)
	for _, alg := range hashAlgs {
		for _, kind := range []sessionKind{TPM_SE_HMAC, TPM_SE_POLICY, TPM_SE_TRIAL} {
			n := alg.DigestSize()
			r := x.ok(x.cmd(TPM_CC_StartAuthSession, null, startParams(n, nil, kind, symAES128, alg)))
			in := r.reader()
			if nonce := in.b2(64); len(nonce) != n || in.end() != TPM_RC_SUCCESS {
				t.Errorf("nonceTPM of %d octets, want %d", len(nonce), n)
			}
			s := x.session(r.handle)
			if s == nil || s.kind != kind || s.key.n != 0 || s.isPolicy() && !bytes.Equal(s.policy.digest.bytes(), make([]byte, n)) {
				t.Errorf("session %+v", s)
			}
			x.ok(x.cmd(TPM_CC_FlushContext, handles(r.handle)))
		}
	}
}

func TestStartAuthSessionErrors(t *testing.T) {
	x := newTestTPM(t)
	sign := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	hmac := x.createPrimaryKey(TPM_RH_OWNER, "", keyedHashTemplate(attrsSign)).handle
	dec := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	public := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	x.transient(public).private = false
	x.transient(public).key = nil
	sha := AlgID(TPM_ALG_SHA256)
	good := startParams(16, nil, TPM_SE_HMAC, symNull, sha)
	off := join(b2(bytes.Repeat([]byte{1}, 32)), b2(bytes.Repeat([]byte{1}, 32)))
	ctr := join(u16(uint16(TPM_ALG_AES)), u16(128), u16(uint16(TPM_ALG_CTR)))
	tests := []struct {
		name      string
		key, bind Handle
		params    []byte
		rc        RC
	}{
		{"nonce of 15", TPM_RH_NULL, TPM_RH_NULL, startParams(15, nil, TPM_SE_HMAC, symNull, sha), TPM_RC_SIZE.Param(1)},
		{"nonce of 33", TPM_RH_NULL, TPM_RH_NULL, startParams(33, nil, TPM_SE_HMAC, symNull, sha), TPM_RC_SIZE.Param(1)},
		{"nonce of 65", TPM_RH_NULL, TPM_RH_NULL, startParams(65, nil, TPM_SE_HMAC, symNull, sha), TPM_RC_SIZE.Param(1)},
		{"salt without key", TPM_RH_NULL, TPM_RH_NULL, startParams(16, []byte{1}, TPM_SE_HMAC, symNull, sha), TPM_RC_VALUE.Param(2)},
		{"kind", TPM_RH_NULL, TPM_RH_NULL, startParams(16, nil, 2, symNull, sha), TPM_RC_VALUE.Param(3)},
		{"cipher", TPM_RH_NULL, TPM_RH_NULL, startParams(16, nil, TPM_SE_HMAC, u16(uint16(TPM_ALG_SM4)), sha), TPM_RC_SYMMETRIC.Param(4)},
		{"mode", TPM_RH_NULL, TPM_RH_NULL, startParams(16, nil, TPM_SE_HMAC, ctr, sha), TPM_RC_MODE.Param(4)},
		{"hash", TPM_RH_NULL, TPM_RH_NULL, startParams(16, nil, TPM_SE_HMAC, symNull, TPM_ALG_NULL), TPM_RC_HASH.Param(5)},
		{"signing key", sign, TPM_RH_NULL, good, TPM_RC_ATTRIBUTES.Handle(1)},
		{"HMAC key", hmac, TPM_RH_NULL, good, TPM_RC_KEY.Handle(1)},
		{"public key", public, TPM_RH_NULL, good, TPM_RC_HANDLE.Handle(1)},
		{"bind to a public key", TPM_RH_NULL, public, good, TPM_RC_HANDLE.Handle(2)},
		{"no salt", dec, TPM_RH_NULL, good, TPM_RC_VALUE.Param(2)},
		{"point off the curve", dec, TPM_RH_NULL, startParams(16, off, TPM_SE_HMAC, symNull, sha), TPM_RC_VALUE.Param(2)},
		{"salt is no point", dec, TPM_RH_NULL, startParams(16, off[:40], TPM_SE_HMAC, symNull, sha), TPM_RC_VALUE.Param(2)},
	}
	for _, tt := range tests {
		x.unchanged(func() {
			if r := x.cmd(TPM_CC_StartAuthSession, handles(tt.key, tt.bind), tt.params); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	for range maxLoadedSessions {
		x.startSession(TPM_SE_HMAC, symNull)
	}
	x.want(x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, TPM_RH_NULL), good), TPM_RC_SESSION_MEMORY)
	for i := range x.ram.sessions {
		x.ram.sessions[i] = sessionSlot{contextID: uint64(i + 1), kind: TPM_HT_HMAC_SESSION}
	}
	x.want(x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, TPM_RH_NULL), good), TPM_RC_SESSION_HANDLES)
	x.sr.contextCounter = 1 + contextGapMax
	x.want(x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, TPM_RH_NULL), good), TPM_RC_CONTEXT_GAP)
}

// TestSessionKey checks the session key of salted and bound sessions beside
// the TPM, for RSA and ECC keys (TPM20-P1 sections 19.6.8 to 19.6.12).
func TestSessionKey(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "bind auth", nvNoDA, 4)
	for name, tpl := range map[string]TPMT_PUBLIC{"ECC": eccTemplate(attrsStorage), "RSA": rsaTemplate(attrsStorage)} {
		h := x.createPrimaryKey(TPM_RH_OWNER, "", tpl).handle
		salt, encrypted, rc := x.shareSecret(x.transient(h), tpmcrypto.LabelSecret)
		if rc != TPM_RC_SUCCESS {
			t.Fatal(rc)
		}
		for _, bind := range []Handle{TPM_RH_NULL, testIndex} {
			r := x.ok(x.cmd(TPM_CC_StartAuthSession, handles(h, bind), startParams(20, encrypted, TPM_SE_HMAC, symNull, TPM_ALG_SHA1)))
			key := salt
			if bind == testIndex {
				key = join([]byte("bind auth"), salt)
			}
			want := tpmcrypto.KDFa(TPM_ALG_SHA1, key, "ATH", r.reader().b2(64), make([]byte, 20), 160)
			s := x.session(r.handle)
			if !bytes.Equal(s.key.bytes(), want) {
				t.Errorf("%s, bind 0x%x: session key %x, want %x", name, bind, s.key.bytes(), want)
			}
			if s.bound != (bind == testIndex) {
				t.Errorf("%s, bind 0x%x: bound is %v", name, bind, s.bound)
			}
		}
		x.flushObject(h)
	}
}
