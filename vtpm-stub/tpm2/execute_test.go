package tpm2

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestHeader is the table of TPM20-P3 section 5.2, but for the tag of TPM_RC_BAD_TAG.
func TestHeader(t *testing.T) {
	x := newTestTPM(t)
	good := getRandomCmd(4)
	edit := func(off int, v ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[off:], v)
		return c
	}
	tests := []struct {
		name string
		cmd  []byte
		rc   RC
		tag  ST
	}{
		{"empty", nil, TPM_RC_COMMAND_SIZE, TPM_ST_NO_SESSIONS},
		{"nine octets", good[:9], TPM_RC_COMMAND_SIZE, TPM_ST_NO_SESSIONS},
		{"tag of TPM 1.2", edit(0, 0x00, 0xC1), TPM_RC_BAD_TAG, TPM_ST_NO_SESSIONS},
		{"unknown tag", edit(0, 0x80, 0x03), TPM_RC_BAD_TAG, TPM_ST_NO_SESSIONS},
		{"size too small", edit(5, 11), TPM_RC_COMMAND_SIZE, TPM_ST_NO_SESSIONS},
		{"size too large", edit(5, 13), TPM_RC_COMMAND_SIZE, TPM_ST_NO_SESSIONS},
		{"size 2^32-1", edit(2, 255, 255, 255, 255), TPM_RC_COMMAND_SIZE, TPM_ST_NO_SESSIONS},
		{"code below the first", edit(6, 0, 0, 1, 0x1E), TPM_RC_COMMAND_CODE, TPM_ST_NO_SESSIONS},
		{"code above the last", edit(6, 0, 0, 1, 0xAB), TPM_RC_COMMAND_CODE, TPM_ST_NO_SESSIONS},
		{"hole in the codes", edit(6, 0, 0, 1, 0x23), TPM_RC_COMMAND_CODE, TPM_ST_NO_SESSIONS},
		{"field upgrade", edit(6, 0, 0, 1, 0x2F), TPM_RC_COMMAND_CODE, TPM_ST_NO_SESSIONS},
		{"vendor bit", edit(6, 0x20), TPM_RC_COMMAND_CODE, TPM_ST_NO_SESSIONS},
		{"too long", frame(TPM_ST_NO_SESSIONS, TPM_CC_GetRandom, make([]byte, maxCommandSize)), TPM_RC_COMMAND_SIZE, TPM_ST_NO_SESSIONS},
	}
	for _, tt := range tests {
		var rsp []byte
		x.unchanged(func() { rsp = x.Execute(0, tt.cmd, nil) })
		if len(rsp) != headerSize || RC(binary.BigEndian.Uint32(rsp[6:])) != tt.rc ||
			ST(binary.BigEndian.Uint16(rsp)) != tt.tag || binary.BigEndian.Uint32(rsp[2:]) != headerSize {
			t.Errorf("%s: response % x", tt.name, rsp)
		}
	}
}

// TestHandleArea is the table of TPM20-P3 section 5.4.
func TestHandleArea(t *testing.T) {
	x := newTestTPM(t)
	tests := []struct {
		name    string
		cc      CC
		handles []byte
		rc      RC
	}{
		{"none", TPM_CC_ReadPublic, nil, TPM_RC_INSUFFICIENT.Handle(1)},
		{"three octets", TPM_CC_ReadPublic, []byte{0x80, 0, 0}, TPM_RC_INSUFFICIENT.Handle(1)},
		{"second is missing", TPM_CC_NV_Read, handles(TPM_RH_OWNER), TPM_RC_INSUFFICIENT.Handle(2)},
		{"wrong kind", TPM_CC_ReadPublic, handles(TPM_RH_OWNER), TPM_RC_VALUE.Handle(1)},
		{"null not allowed", TPM_CC_ReadPublic, handles(TPM_RH_NULL), TPM_RC_VALUE.Handle(1)},
		{"PCR 24", TPM_CC_PCR_Reset, handles(24), TPM_RC_VALUE.Handle(1)},
		{"object not loaded", TPM_CC_ReadPublic, handles(TRANSIENT_FIRST), TPM_RC_REFERENCE_H0},
		{"object out of range", TPM_CC_ReadPublic, handles(0x80FFFFFF), TPM_RC_REFERENCE_H0},
		{"no persistent object", TPM_CC_ReadPublic, handles(PERSISTENT_FIRST), TPM_RC_HANDLE.Handle(1)},
		{"no index", TPM_CC_NV_ReadPublic, handles(NV_INDEX_FIRST), TPM_RC_HANDLE.Handle(1)},
		{"no index, second", TPM_CC_NV_Read, handles(TPM_RH_OWNER, NV_INDEX_FIRST), TPM_RC_HANDLE.Handle(2)},
		{"bind not loaded", TPM_CC_StartAuthSession, handles(TPM_RH_NULL, TRANSIENT_FIRST), TPM_RC_REFERENCE_H1},
	}
	for _, tt := range tests {
		x.unchanged(func() {
			if r := x.cmd(tt.cc, tt.handles); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	x.endorsement.enabled = false
	x.want(x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_ENDORSEMENT), pw("")), TPM_RC_HIERARCHY.Handle(1))
}

// sess is one session of an authorization area.
func sess(h Handle, nonce []byte, attrs uint8, auth []byte) []byte {
	return join(u32(uint32(h)), b2(nonce), []byte{attrs}, b2(auth))
}

func area(sessions ...[]byte) []byte {
	a := join(sessions...)
	return append(u32(uint32(len(a))), a...)
}

// startSession starts an unsalted, unbound session.
func (x *testTPM) startSession(kind sessionKind, sym []byte) Handle {
	x.t.Helper()
	r := x.ok(x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, TPM_RH_NULL), b2(make([]byte, 16)), b2(nil),
		[]byte{byte(kind)}, sym, u16(uint16(TPM_ALG_SHA256))))
	return r.handle
}

var (
	symNull   = u16(uint16(TPM_ALG_NULL))
	symAES128 = join(u16(uint16(TPM_ALG_AES)), u16(128), u16(uint16(TPM_ALG_CFB)))
)

// TestSessionArea is the table of TPM20-P3 section 5.5.
func TestSessionArea(t *testing.T) {
	x := newTestTPM(t)
	hmac := x.startSession(TPM_SE_HMAC, symNull)
	aes := x.startSession(TPM_SE_HMAC, symAES128)
	aes2 := x.startSession(TPM_SE_HMAC, symAES128)
	policy := x.startSession(TPM_SE_POLICY, symAES128)
	trial := x.startSession(TPM_SE_TRIAL, symAES128)
	pw1 := sess(TPM_RS_PW, nil, 0, nil)
	n16 := make([]byte, 16)
	extend := join(u32(0))
	tests := []struct {
		name string
		cc   CC
		h    []byte
		area []byte
		rest []byte
		rc   RC
	}{
		{"not allowed", TPM_CC_FlushContext, nil, area(pw1), u32(0x80000000), TPM_RC_AUTH_CONTEXT},
		{"size 0", TPM_CC_PCR_Extend, handles(0), u32(0), extend, TPM_RC_AUTHSIZE},
		{"size 8", TPM_CC_PCR_Extend, handles(0), u32(8), make([]byte, 20), TPM_RC_AUTHSIZE},
		{"size past the end", TPM_CC_PCR_Extend, handles(0), u32(14), make([]byte, 13), TPM_RC_AUTHSIZE},
		{"no size", TPM_CC_PCR_Extend, handles(0), []byte{0, 0}, nil, TPM_RC_AUTHSIZE},
		{"four sessions", TPM_CC_PCR_Extend, handles(0), area(pw1, sess(aes, n16, sessDecrypt, nil), sess(aes2, n16, sessEncrypt, nil), pw1), extend, TPM_RC_AUTHSIZE},
		{"not a session", TPM_CC_PCR_Extend, handles(0), area(sess(TPM_RH_OWNER, nil, 0, nil)), extend, TPM_RC_HANDLE.Session(1)},
		{"not loaded", TPM_CC_PCR_Extend, handles(0), area(sess(HMAC_SESSION_FIRST+63, n16, 0, nil)), extend, TPM_RC_REFERENCE_S0},
		{"not loaded, second", TPM_CC_PCR_Extend, handles(0), area(pw1, sess(HMAC_SESSION_FIRST+63, n16, 0, nil)), extend, TPM_RC_REFERENCE_S0 + 1},
		{"wrong kind of handle", TPM_CC_PCR_Extend, handles(0), area(sess(POLICY_SESSION_FIRST+Handle(hmac.index()), n16, 0, nil)), extend, TPM_RC_REFERENCE_S0},
		{"nonce too long", TPM_CC_PCR_Extend, handles(0), area(sess(hmac, make([]byte, 65), 0, nil)), extend, TPM_RC_SIZE.Session(1)},
		{"cut off", TPM_CC_PCR_Extend, handles(0), area(pw1, pw1[:6]), extend, TPM_RC_INSUFFICIENT.Session(2)},
		{"reserved bit", TPM_CC_PCR_Extend, handles(0), area(sess(hmac, n16, 0x10, nil)), extend, TPM_RC_RESERVED_BITS.Session(1)},
		{"password with audit", TPM_CC_PCR_Extend, handles(0), area(sess(TPM_RS_PW, nil, sessAudit, nil)), extend, TPM_RC_ATTRIBUTES.Session(1)},
		{"password with nonce", TPM_CC_PCR_Extend, handles(0), area(sess(TPM_RS_PW, n16, 0, nil)), extend, TPM_RC_NONCE.Session(1)},
		{"password for nothing", TPM_CC_PCR_Extend, handles(0), area(pw1, pw1), extend, TPM_RC_HANDLE.Session(2)},
		{"session for nothing", TPM_CC_PCR_Extend, handles(0), area(pw1, sess(hmac, n16, 0, nil)), extend, TPM_RC_ATTRIBUTES.Session(2)},
		{"trial authorizes", TPM_CC_PCR_Extend, handles(0), area(sess(trial, n16, 0, nil)), extend, TPM_RC_ATTRIBUTES.Session(1)},
		{"policy audits", TPM_CC_PCR_Extend, handles(0), area(pw1, sess(policy, n16, sessAudit, nil)), extend, TPM_RC_ATTRIBUTES.Session(2)},
		{"exclusive without audit", TPM_CC_PCR_Extend, handles(0), area(sess(hmac, n16, sessAuditExclusive, nil)), extend, TPM_RC_ATTRIBUTES.Session(1)},
		{"reset without audit", TPM_CC_PCR_Extend, handles(0), area(sess(hmac, n16, sessAuditReset, nil)), extend, TPM_RC_ATTRIBUTES.Session(1)},
		{"two audits", TPM_CC_PCR_Extend, handles(0), area(pw1, sess(hmac, n16, sessAudit, nil), sess(aes, n16, sessAudit, nil)), extend, TPM_RC_ATTRIBUTES.Session(3)},
		{"decrypt of a list", TPM_CC_PCR_Extend, handles(0), area(pw1, sess(aes, n16, sessDecrypt, nil)), extend, TPM_RC_ATTRIBUTES.Session(2)},
		{"encrypt of nothing", TPM_CC_PCR_Extend, handles(0), area(pw1, sess(aes, n16, sessEncrypt, nil)), extend, TPM_RC_ATTRIBUTES.Session(2)},
		{"encrypt without a cipher", TPM_CC_GetRandom, nil, area(sess(hmac, n16, sessEncrypt, nil)), u16(4), TPM_RC_SYMMETRIC.Session(1)},
		{"two encrypts", TPM_CC_GetRandom, nil, area(sess(aes, n16, sessEncrypt, nil), sess(aes2, n16, sessEncrypt, nil)), u16(4), TPM_RC_ATTRIBUTES.Session(2)},
		{"session listed twice", TPM_CC_GetRandom, nil, area(sess(aes, n16, sessEncrypt, nil), sess(aes, n16, sessAudit, nil)), u16(4), TPM_RC_HANDLE.Session(2)},
		{"wrong HMAC for nothing", TPM_CC_GetRandom, nil, area(sess(aes, n16, sessEncrypt, make([]byte, 32))), u16(4), TPM_RC_BAD_AUTH.Session(1)},
	}
	for _, tt := range tests {
		x.unchanged(func() {
			if r := x.cmdS(tt.cc, tt.h, tt.area, tt.rest); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	x.want(x.cmd(TPM_CC_PCR_Extend, handles(0), extend), TPM_RC_AUTH_MISSING)
	x.ok(x.cmdS(TPM_CC_GetRandom, nil, area(sess(aes, n16, sessEncrypt|sessContinue, nil)), u16(4)))
	x.ok(x.cmdS(TPM_CC_GetRandom, nil, area(sess(aes, n16, sessEncrypt, nil)), u16(4)))
	if x.session(aes) != nil {
		t.Error("the session is still there without continueSession")
	}
}

// TestFailureMode: only GetTestResult and properties work, without sessions.
func TestFailureMode(t *testing.T) {
	x := newTestTPM(t)
	x.keepFail = true
	x.saveErr = errTest
	x.want(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), nvDefine(0x01000001, nvOwnerRead|nvOwnerWrite, 8)), TPM_RC_FAILURE)
	x.want(x.cmd(TPM_CC_GetRandom, u16(1)), TPM_RC_FAILURE)
	r := x.ok(x.cmd(TPM_CC_GetTestResult)).reader()
	r.b2(100)
	if rc := RC(r.u32()); rc != TPM_RC_FAILURE || r.end() != 0 {
		t.Errorf("testResult %v", rc)
	}
	x.ok(x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_TPM_PROPERTIES), u32(TPM_PT_FAMILY_INDICATOR), u32(10)))
	x.want(x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_ALGS), u32(0), u32(10)), TPM_RC_FAILURE)
	x.want(x.cmdS(TPM_CC_GetTestResult, nil, area(sess(TPM_RS_PW, nil, 0, nil))), TPM_RC_FAILURE)
	if x.ReadPCR(TPM_ALG_SHA1, 0) != nil || x.ExtendPCRs(0, 0, make([]byte, 20)) == nil || x.Random(make([]byte, 1)) == nil {
		t.Error("the TPM 1.2 helpers work in failure mode")
	}
	x.saveErr = nil
	x.PowerOn()
	x.want(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)), TPM_RC_FAILURE)
	x.reboot() // what was durable before is still good
	x.keepFail = false
	if rc := x.start(TPM_SU_CLEAR); rc != TPM_RC_SUCCESS {
		t.Error(rc)
	}
	x.want(x.cmd(TPM_CC_NV_ReadPublic, handles(0x01000001)), TPM_RC_HANDLE.Handle(1))
}

// nvDefine returns the parameters of NV_DefineSpace with an empty auth.
func nvDefine(h Handle, a TPMA_NV, size int) []byte { return nvDefineAuth("", h, a, size) }

func nvDefineAuth(auth string, h Handle, a TPMA_NV, size int) []byte {
	p := TPMS_NV_PUBLIC{Index: h, NameAlg: TPM_ALG_SHA256, Attributes: a, DataSize: uint16(size)}
	return join(b2([]byte(auth)), marshal(100, func(w *writer) { w.nvPublic2B(&p) }))
}

// TestMaxCommand: a Config may lower the limits, for smaller transports.
func TestMaxCommand(t *testing.T) {
	x := newTestTPM(t, func(c *Config) { c.MaxCommand = 4088 })
	x.want(x.run(TPM_ST_NO_SESSIONS, TPM_CC_GetRandom, make([]byte, 4079)), TPM_RC_COMMAND_SIZE)
	x.want(x.run(TPM_ST_NO_SESSIONS, TPM_CC_GetRandom, make([]byte, 4078)), TPM_RC_SIZE)
}
