package tpm2

import (
	"bytes"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// TestSeparateSessions authorizes with one session, decrypts with a second and
// encrypts with a third: the first vouches for the nonces of the others.
func TestSeparateSessions(t *testing.T) {
	x := newTestTPM(t)
	prim, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(x)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := prim.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	salted := tpm2.Salted(prim.ObjectHandle, *pub)
	in := tpm2.HMAC(tpm2.TPMAlgSHA256, 16, salted, tpm2.AESEncryption(128, tpm2.EncryptIn))
	out := tpm2.HMAC(tpm2.TPMAlgSHA1, 20, salted, tpm2.AESEncryption(256, tpm2.EncryptOut))
	audit := tpm2.HMAC(tpm2.TPMAlgSHA512, 32, salted, tpm2.Audit())
	for name, tt := range map[string]struct {
		auth  tpm2.Session
		extra []tpm2.Session
	}{
		"password, both":           {tpm2.PasswordAuth(nil), []tpm2.Session{in, out}},
		"HMAC, both":               {tpm2.HMAC(tpm2.TPMAlgSHA384, 16), []tpm2.Session{in, out}},
		"HMAC, decrypt":            {tpm2.HMAC(tpm2.TPMAlgSHA256, 16), []tpm2.Session{in}},
		"HMAC, encrypt":            {tpm2.HMAC(tpm2.TPMAlgSHA256, 16), []tpm2.Session{out}},
		"HMAC, audit, encrypt":     {tpm2.HMAC(tpm2.TPMAlgSHA256, 16, salted), []tpm2.Session{audit, out}},
		"HMAC encrypts, decrypt":   {tpm2.HMAC(tpm2.TPMAlgSHA256, 16, salted, tpm2.AESEncryption(128, tpm2.EncryptOut)), []tpm2.Session{in}},
		"HMAC decrypts, audit":     {tpm2.HMAC(tpm2.TPMAlgSHA256, 16, salted, tpm2.AESEncryption(128, tpm2.EncryptIn)), []tpm2.Session{audit}},
		"one session for all four": {tpm2.HMAC(tpm2.TPMAlgSHA256, 16, salted, tpm2.AESEncryption(128, tpm2.EncryptInOut), tpm2.Audit()), nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := tpm2.CreatePrimary{
				PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHNull, Name: tpm2.HandleName(tpm2.TPMRHNull), Auth: tt.auth},
				InSensitive:   tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: []byte("user auth")}}},
				InPublic:      tpm2.New2B(tpm2.ECCSRKTemplate),
			}.Execute(x, tt.extra...)
			if err != nil {
				t.Fatal(err)
			}
			if got := x.transient(Handle(r.ObjectHandle)).sens.Auth; string(got) != "user auth" {
				t.Errorf("userAuth arrived as %q", got)
			}
			p, err := r.OutPublic.Contents()
			if err != nil || p.Type != tpm2.TPMAlgECC {
				t.Errorf("outPublic: %v", err)
			}
			x.flushObject(Handle(r.ObjectHandle))
		})
	}
	if _, active := x.loadedSessions(); active != 0 {
		t.Errorf("%d sessions left", active)
	}
}

// TestXOR reads through a session with XOR obfuscation and a bound key.
func TestXOR(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "pass", nvNoDA, 16)
	caller := make([]byte, 16)
	r := x.ok(x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, testIndex), b2(caller), b2(nil), []byte{byte(TPM_SE_HMAC)},
		hx("000a 000b"), u16(uint16(TPM_ALG_SHA256))))
	nonce := r.reader().b2(64)
	key := tpmcrypto.KDFa(TPM_ALG_SHA256, []byte("pass"), "ATH", nonce, caller, 256)
	plain := []byte("sixteen octets!!")
	data := bytes.Clone(plain)
	// The session does not authorize, so that the key alone is sessionValue.
	tpmcrypto.XORObfuscate(TPM_ALG_SHA256, data, key, caller, nonce)
	params := join(b2(data), u16(0))
	n := x.nvName(x.nvFind(testIndex))
	attrs := uint8(sessDecrypt | sessContinue)
	cp := tpmcrypto.Sum(TPM_ALG_SHA256, u32(uint32(TPM_CC_NV_Write)), n, n, params)
	mac := tpmcrypto.HMAC(TPM_ALG_SHA256, key, cp, caller, nonce, []byte{attrs})
	a := area(sess(TPM_RS_PW, nil, 0, []byte("pass")), sess(r.handle, caller, attrs, mac))
	x.ok(x.cmdS(TPM_CC_NV_Write, handles(testIndex, testIndex), a, params))
	if got := x.nvFind(testIndex).data; !bytes.Equal(got, plain) {
		t.Errorf("%q was written", got)
	}
}

// TestDecryptSizes: the size of an encrypted parameter is checked before and
// after decryption.
func TestDecryptSizes(t *testing.T) {
	x := newTestTPM(t)
	s := x.startSession(TPM_SE_HMAC, symAES128)
	a := area(sess(s, make([]byte, 16), sessDecrypt|sessContinue, nil))
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_StirRandom, nil, a, []byte{0}), TPM_RC_INSUFFICIENT.Param(1))
		x.want(x.cmdS(TPM_CC_StirRandom, nil, a, u16(5), []byte{1, 2}), TPM_RC_INSUFFICIENT.Param(1))
		x.want(x.cmdS(TPM_CC_StirRandom, nil, a, b2(make([]byte, 129))), TPM_RC_SIZE.Param(1))
	})
	x.ok(x.cmdS(TPM_CC_StirRandom, nil, a, b2(nil)))
	x.ok(x.cmdS(TPM_CC_StirRandom, nil, a, b2(make([]byte, 128))))
}
