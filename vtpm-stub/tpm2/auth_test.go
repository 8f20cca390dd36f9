package tpm2

import (
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

const testIndex = Handle(0x01000100)

// defineIndex defines an index that its own auth reads and writes.
func (x *testTPM) defineIndex(h Handle, auth string, more TPMA_NV, size int) {
	x.t.Helper()
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""),
		nvDefineAuth(auth, h, nvAuthRead|nvAuthWrite|nvOwnerRead|more, size)))
}

// writeIndex writes an index by its own auth.
func (x *testTPM) writeIndex(h Handle, auth string, data []byte) response {
	x.t.Helper()
	return x.cmdS(TPM_CC_NV_Write, handles(h, h), pw(auth), b2(data), u16(0))
}

// TestPassword: trailing zeros do not count, and the outcome of a wrong one
// depends on DA protection.
func TestPassword(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "pass\x00", nvNoDA, 4)
	x.ok(x.writeIndex(testIndex, "pass", []byte{1}))
	x.ok(x.writeIndex(testIndex, "pass\x00\x00", []byte{2}))
	x.unchanged(func() {
		x.want(x.writeIndex(testIndex, "pasS", []byte{3}), TPM_RC_BAD_AUTH.Session(1))
		x.want(x.writeIndex(testIndex, "", []byte{3}), TPM_RC_BAD_AUTH.Session(1))
		x.want(x.cmdS(TPM_CC_NV_UndefineSpace, handles(TPM_RH_OWNER, testIndex), pw("x")), TPM_RC_BAD_AUTH.Session(1))
	})
}

// TestDictionaryAttack walks failedTries up into lockout and down again.
func TestDictionaryAttack(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "pass", 0, 4)
	x.ok(x.writeIndex(testIndex, "pass", []byte{1}))
	for try := uint32(1); try <= defaultMaxTries; try++ {
		saves := x.saves
		x.want(x.writeIndex(testIndex, "wrong", []byte{2}), TPM_RC_AUTH_FAIL.Session(1))
		if x.perm.failedTries != try || x.saves != saves+1 {
			t.Fatalf("failedTries %d after try %d, %d saves", x.perm.failedTries, try, x.saves-saves)
		}
	}
	x.unchanged(func() {
		x.want(x.writeIndex(testIndex, "pass", []byte{2}), TPM_RC_LOCKOUT)
		x.want(x.writeIndex(testIndex, "wrong", []byte{2}), TPM_RC_LOCKOUT)
	})
	x.ok(x.cmdS(TPM_CC_NV_Read, handles(TPM_RH_OWNER, testIndex), pw(""), u16(1), u16(0))) // others go on
	x.now += defaultRecoveryTime*1000 - 1
	x.want(x.writeIndex(testIndex, "pass", []byte{2}), TPM_RC_LOCKOUT)
	x.now++
	x.ok(x.writeIndex(testIndex, "pass", []byte{2}))
	if x.perm.failedTries != defaultMaxTries-1 {
		t.Errorf("failedTries %d", x.perm.failedTries)
	}
	x.now += 10 * defaultRecoveryTime * 1000
	x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
	if x.perm.failedTries != 0 {
		t.Errorf("failedTries %d", x.perm.failedTries)
	}
}

// TestDAPowerCut: a failed try survives a power cut, and the time to the next
// decrement starts over.
func TestDAPowerCut(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "pass", 0, 4)
	x.want(x.writeIndex(testIndex, "wrong", []byte{2}), TPM_RC_AUTH_FAIL.Session(1))
	x.now += defaultRecoveryTime*1000 - 1
	x.reboot()
	x.start(TPM_SU_CLEAR)
	x.now += defaultRecoveryTime*1000 - 1
	x.want(x.writeIndex(testIndex, "wrong", []byte{2}), TPM_RC_AUTH_FAIL.Session(1))
	if x.perm.failedTries != 2 {
		t.Errorf("failedTries %d after a power cut, want 2", x.perm.failedTries)
	}
}

// TestDADisabled: recoveryTime 0 turns the protection off.
func TestDADisabled(t *testing.T) {
	x := newTestTPM(t)
	x.perm.recoveryTime = 0
	x.defineIndex(testIndex, "pass", 0, 4)
	for range 10 {
		x.want(x.writeIndex(testIndex, "wrong", []byte{2}), TPM_RC_AUTH_FAIL.Session(1))
	}
	x.ok(x.writeIndex(testIndex, "pass", []byte{2}))
}

// client is the caller's side of an HMAC session.
type client struct {
	x        *testTPM
	h        Handle
	key      []byte
	nonceTPM []byte
	caller   []byte
}

// hmacSession starts an HMAC session, bound to an entity if bindAuth is not nil.
func (x *testTPM) hmacSession(bind Handle, bindAuth []byte) *client {
	x.t.Helper()
	c := &client{x: x, caller: make([]byte, 16)}
	r := x.ok(x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, bind), b2(c.caller), b2(nil),
		[]byte{byte(TPM_SE_HMAC)}, symNull, u16(uint16(TPM_ALG_SHA256))))
	c.h = r.handle
	c.nonceTPM = r.reader().b2(64)
	if bindAuth != nil {
		c.key = tpmcrypto.KDFa(TPM_ALG_SHA256, bindAuth, "ATH", c.nonceTPM, c.caller, 256)
	}
	return c
}

// area authorizes a command with one entity.
func (c *client) area(cc CC, names []byte, params, authValue []byte, attrs uint8) []byte {
	c.caller[0]++
	cp := tpmcrypto.Sum(TPM_ALG_SHA256, u32(uint32(cc)), names, params)
	mac := tpmcrypto.HMAC(TPM_ALG_SHA256, join(c.key, authValue), cp, c.caller, c.nonceTPM, []byte{attrs})
	return area(sess(c.h, c.caller, attrs, mac))
}

// accept takes the nonce of the response and checks its HMAC.
func (c *client) accept(r response, cc CC, authValue []byte) {
	c.x.t.Helper()
	n := headerSize + 4 + len(r.params)
	in := reader{b: r.raw[n:]}
	c.nonceTPM = append([]byte(nil), in.b2(64)...)
	attrs := in.u8()
	got := in.b2(64)
	rp := tpmcrypto.Sum(TPM_ALG_SHA256, u32(0), u32(uint32(cc)), r.params)
	want := tpmcrypto.HMAC(TPM_ALG_SHA256, join(c.key, authValue), rp, c.nonceTPM, c.caller, []byte{attrs})
	if string(got) != string(want) || in.end() != 0 {
		c.x.t.Errorf("response HMAC is wrong")
	}
}

// TestHMACSession checks the HMAC over nonces that roll, and that a replay and
// a wrong key fail.
func TestHMACSession(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "pass", nvNoDA, 4)
	x.ok(x.writeIndex(testIndex, "pass", []byte{0}))
	name := x.nvName(x.nvFind(testIndex))
	s := x.hmacSession(TPM_RH_NULL, nil)
	params := join(b2([]byte{7}), u16(0))
	var last []byte
	for range 3 {
		last = s.area(TPM_CC_NV_Write, join(name, name), params, []byte("pass"), sessContinue)
		r := x.ok(x.cmdS(TPM_CC_NV_Write, handles(testIndex, testIndex), last, params))
		s.accept(r, TPM_CC_NV_Write, []byte("pass"))
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_NV_Write, handles(testIndex, testIndex), last, params), TPM_RC_BAD_AUTH.Session(1))
		bad := s.area(TPM_CC_NV_Write, join(name, name), params, []byte("PASS"), sessContinue)
		x.want(x.cmdS(TPM_CC_NV_Write, handles(testIndex, testIndex), bad, params), TPM_RC_BAD_AUTH.Session(1))
		// Attributes and parameters are covered.
		good := s.area(TPM_CC_NV_Write, join(name, name), params, []byte("pass"), sessContinue)
		x.want(x.cmdS(TPM_CC_NV_Write, handles(testIndex, testIndex), good, b2([]byte{8}), u16(0)), TPM_RC_BAD_AUTH.Session(1))
		good[4+4+2+16] = 0
		x.want(x.cmdS(TPM_CC_NV_Write, handles(testIndex, testIndex), good, params), TPM_RC_BAD_AUTH.Session(1))
	})
}

// TestBoundSession: the authValue of the bind entity is in the key for that
// entity only, and failures of a session bound to a DA protected entity count.
func TestBoundSession(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "pass", 0, 4)
	x.defineIndex(testIndex+1, "other", nvNoDA, 4)
	x.ok(x.writeIndex(testIndex, "pass", []byte{0}))
	x.ok(x.writeIndex(testIndex+1, "other", []byte{0}))
	name, other := x.nvName(x.nvFind(testIndex)), x.nvName(x.nvFind(testIndex+1))
	params := join(b2([]byte{7}), u16(0))
	s := x.hmacSession(testIndex, []byte("pass"))
	a := s.area(TPM_CC_NV_Write, join(name, name), params, nil, sessContinue)
	s.accept(x.ok(x.cmdS(TPM_CC_NV_Write, handles(testIndex, testIndex), a, params)), TPM_CC_NV_Write, nil)
	a = s.area(TPM_CC_NV_Write, join(other, other), params, []byte("other"), sessContinue)
	s.accept(x.ok(x.cmdS(TPM_CC_NV_Write, handles(testIndex+1, testIndex+1), a, params)), TPM_CC_NV_Write, []byte("other"))
	a = s.area(TPM_CC_NV_Write, join(other, other), params, []byte("wrong"), sessContinue)
	x.want(x.cmdS(TPM_CC_NV_Write, handles(testIndex+1, testIndex+1), a, params), TPM_RC_AUTH_FAIL.Session(1))
	if x.perm.failedTries != 1 {
		t.Errorf("failedTries %d", x.perm.failedTries)
	}
}

// TestLockoutAuth: one failure locks it until lockoutRecovery.
func TestLockoutAuth(t *testing.T) {
	x := newTestTPM(t)
	x.perm.lockoutAuth = []byte("lock")
	e := &entity{h: TPM_RH_LOCKOUT}
	a := &authSession{auth: []byte("bad")}
	a.value.set(x.authValue(e))
	if rc := x.checkPasswordValue(a, e); rc != TPM_RC_AUTH_FAIL {
		t.Error(rc)
	}
	if rc := x.checkLockout(e); rc != TPM_RC_LOCKOUT {
		t.Error(rc)
	}
	x.now += defaultLockoutRecovery * 1000
	x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
	if rc := x.checkLockout(e); rc != TPM_RC_SUCCESS {
		t.Error(rc)
	}
	// With lockoutRecovery 0 only a restart helps.
	x.perm.lockoutRecovery = 0
	x.checkPasswordValue(a, e)
	x.now += 1 << 40
	x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
	if rc := x.checkLockout(e); rc != TPM_RC_LOCKOUT {
		t.Error(rc)
	}
	x.reboot()
	x.start(TPM_SU_CLEAR)
	if rc := x.checkLockout(e); rc != TPM_RC_SUCCESS {
		t.Error(rc)
	}
}

// TestPPCommands: commands in the list need physical presence with
// platformAuth only.
func TestPPCommands(t *testing.T) {
	x := newTestTPM(t)
	x.perm.ppCommands.put(TPM_CC_NV_DefineSpace, true)
	def := nvDefine(testIndex, nvPlatformCreate|nvPPRead|nvPPWrite, 4)
	x.want(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_PLATFORM), pw(""), def), TPM_RC_PP.Session(1))
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), nvDefine(testIndex+1, nvOwnerRead|nvOwnerWrite, 4)))
	x.SetPhysicalPresence(true)
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_PLATFORM), pw(""), def))
}

// TestSessionAudit computes the audit digest beside the TPM and follows the
// exclusive status.
func TestSessionAudit(t *testing.T) {
	x := newTestTPM(t)
	h := x.startSession(TPM_SE_HMAC, symNull)
	h2 := x.startSession(TPM_SE_HMAC, symNull)
	n16 := make([]byte, 16)
	want := make([]byte, 32)
	run := func(h Handle, attrs uint8) response {
		t.Helper()
		params := u16(8)
		r := x.cmdS(TPM_CC_GetRandom, nil, area(sess(h, n16, attrs|sessContinue, nil)), params)
		if r.rc == TPM_RC_SUCCESS && h == x.ram.exclusive != (r.raw[len(r.raw)-3]&sessAuditExclusive != 0) {
			t.Error("auditExclusive of the response is wrong")
		}
		if r.rc == TPM_RC_SUCCESS {
			cp := tpmcrypto.Sum(TPM_ALG_SHA256, u32(uint32(TPM_CC_GetRandom)), params)
			rp := tpmcrypto.Sum(TPM_ALG_SHA256, u32(0), u32(uint32(TPM_CC_GetRandom)), r.params)
			if attrs&sessAuditReset != 0 {
				want = make([]byte, 32)
			}
			want = tpmcrypto.Sum(TPM_ALG_SHA256, want, cp, rp)
		}
		return r
	}
	check := func(exclusive Handle) {
		t.Helper()
		if string(x.session(h).auditDigest.bytes()) != string(want) {
			t.Error("audit digest is wrong")
		}
		if x.ram.exclusive != exclusive {
			t.Errorf("exclusive session 0x%x, want 0x%x", x.ram.exclusive, exclusive)
		}
	}
	x.ok(run(h, sessAudit|sessAuditExclusive)) // nothing can have come before its first command
	check(h)
	x.ok(run(h, sessAudit|sessAuditExclusive))
	check(h)
	x.want(x.cmd(TPM_CC_GetRandom), TPM_RC_INSUFFICIENT.Param(1)) // a failure changes nothing
	check(h)
	x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
	check(0)
	x.want(run(h, sessAudit|sessAuditExclusive), TPM_RC_EXCLUSIVE)
	x.ok(run(h, sessAudit))
	check(0)
	x.ok(run(h, sessAudit|sessAuditReset))
	check(h)
	saved := want
	want = make([]byte, 32)
	x.ok(run(h2, sessAudit)) // a new audit session takes the exclusive status
	want = saved
	check(h2)
	x.ok(x.cmd(TPM_CC_FlushContext, handles(h2)))
	check(0)
}

// TestCommandAudit extends the command audit digest for listed commands only.
func TestCommandAudit(t *testing.T) {
	x := newTestTPM(t)
	x.perm.auditCmds.put(TPM_CC_GetRandom, true)
	r := x.ok(x.cmd(TPM_CC_GetRandom, u16(4)))
	x.ok(x.cmd(TPM_CC_PCR_Read, u32(0)))
	cp := tpmcrypto.Sum(TPM_ALG_SHA256, u32(uint32(TPM_CC_GetRandom)), u16(4))
	rp := tpmcrypto.Sum(TPM_ALG_SHA256, u32(0), u32(uint32(TPM_CC_GetRandom)), r.params)
	want := tpmcrypto.Sum(TPM_ALG_SHA256, make([]byte, 32), cp, rp)
	if string(x.sr.auditDigest) != string(want) || x.perm.auditCounter != 1 {
		t.Errorf("audit digest %x, counter %d", x.sr.auditDigest, x.perm.auditCounter)
	}
	x.unchanged(func() { x.want(x.cmd(TPM_CC_GetRandom), TPM_RC_INSUFFICIENT.Param(1)) })
}
