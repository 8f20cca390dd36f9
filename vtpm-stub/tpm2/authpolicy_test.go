package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// policyIndex defines an index whose authPolicy is digest.
func (x *testTPM) policyIndex(h Handle, a TPMA_NV, digest []byte) {
	x.t.Helper()
	p := TPMS_NV_PUBLIC{Index: h, NameAlg: TPM_ALG_SHA256, Attributes: a, AuthPolicy: digest, DataSize: 8}
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""),
		join(b2([]byte("pass")), marshal(200, func(w *writer) { w.nvPublic2B(&p) }))))
}

// TestPolicyUse is the table of TPM20-P3 section 5.6 step 8: a policy session
// with the right digest and one more condition each.
func TestPolicyUse(t *testing.T) {
	digest := bytes.Repeat([]byte{0xAB}, 32)
	params := join(b2([]byte{5}), u16(0))
	bind := func(b hashBinding, v []byte) func(*testTPM, *policyState) {
		return func(x *testTPM, p *policyState) { p.binding = b; p.hash.set(v) }
	}
	other := bytes.Repeat([]byte{1}, 32)
	type row struct {
		name   string
		attrs  TPMA_NV
		change func(x *testTPM, p *policyState)
		auth   []byte
		rc     RC
	}
	rw := nvPolicyRead | nvPolicyWrite | nvNoDA
	tests := []row{
		{"right", rw, func(*testTPM, *policyState) {}, nil, TPM_RC_SUCCESS},
		{"wrong digest", rw, func(_ *testTPM, p *policyState) { p.digest.b[0]++ }, nil, TPM_RC_POLICY_FAIL},
		{"index does not take policies", nvAuthRead | nvAuthWrite | nvNoDA, func(*testTPM, *policyState) {}, nil, TPM_RC_AUTH_UNAVAILABLE},
		{"this command", rw, func(_ *testTPM, p *policyState) { p.commandCode = TPM_CC_NV_Write }, nil, TPM_RC_SUCCESS},
		{"another command", rw, func(_ *testTPM, p *policyState) { p.commandCode = TPM_CC_NV_Read }, nil, TPM_RC_POLICY_CC},
		{"in time", rw, func(x *testTPM, p *policyState) { p.timeout, p.epoch = x.msTime()+1, x.perm.timeEpoch }, nil, TPM_RC_SUCCESS},
		{"expired", rw, func(x *testTPM, p *policyState) { p.timeout, p.epoch = x.msTime(), x.perm.timeEpoch }, nil, TPM_RC_EXPIRED},
		{"time of another boot", rw, func(x *testTPM, p *policyState) { p.timeout, p.epoch = x.msTime()+1000, x.perm.timeEpoch-1 }, nil, TPM_RC_EXPIRED},
		{"other cpHash", rw, bind(bindCpHash, other), nil, TPM_RC_POLICY_FAIL},
		{"other nameHash", rw, bind(bindNameHash, other), nil, TPM_RC_POLICY_FAIL},
		{"other parameters", rw, bind(bindParamHash, other), nil, TPM_RC_POLICY_FAIL},
		{"template of no create command", rw, bind(bindTemplate, other), nil, TPM_RC_POLICY_FAIL},
		{"cpHash", rw, func(x *testTPM, p *policyState) {
			p.binding = bindCpHash
			n := x.nvName(x.nvFind(testIndex))
			p.hash.set(tpmcrypto.Sum(TPM_ALG_SHA256, u32(uint32(TPM_CC_NV_Write)), n, n, params))
		}, nil, TPM_RC_SUCCESS},
		{"nameHash", rw, func(x *testTPM, p *policyState) {
			p.binding = bindNameHash
			n := x.nvName(x.nvFind(testIndex))
			p.hash.set(tpmcrypto.Sum(TPM_ALG_SHA256, n, n))
		}, nil, TPM_RC_SUCCESS},
		{"parameters", rw, bind(bindParamHash, tpmcrypto.Sum(TPM_ALG_SHA256, u32(uint32(TPM_CC_NV_Write)), params)), nil, TPM_RC_SUCCESS},
		{"PCR unchanged", rw, func(x *testTPM, p *policyState) { p.pcrBound, p.pcrCounter = true, x.sr.pcrCounter }, nil, TPM_RC_SUCCESS},
		{"PCR changed", rw, func(x *testTPM, p *policyState) { p.pcrBound, p.pcrCounter = true, x.sr.pcrCounter+1 }, nil, TPM_RC_PCR_CHANGED},
		{"locality 0", rw, func(_ *testTPM, p *policyState) { p.locality = 1 | 8 }, nil, TPM_RC_SUCCESS},
		{"locality 3", rw, func(_ *testTPM, p *policyState) { p.locality = 8 }, nil, TPM_RC_LOCALITY},
		{"extended locality", rw, func(_ *testTPM, p *policyState) { p.locality = 33 }, nil, TPM_RC_LOCALITY},
		{"physical presence", rw, func(_ *testTPM, p *policyState) { p.ppRequired = true }, nil, TPM_RC_PP},
		{"physical presence is there", rw, func(x *testTPM, p *policyState) { p.ppRequired = true; x.SetPhysicalPresence(true) }, nil, TPM_RC_SUCCESS},
		{"secure channel", rw, func(_ *testTPM, p *policyState) { p.secureChannel = true }, nil, TPM_RC_CHANNEL},
		{"not written", rw, func(_ *testTPM, p *policyState) { p.checkWritten = true }, nil, TPM_RC_SUCCESS},
		{"written", rw, func(_ *testTPM, p *policyState) { p.checkWritten, p.written = true, true }, nil, TPM_RC_POLICY_FAIL},
		{"password", rw, func(_ *testTPM, p *policyState) { p.password = true }, []byte("pass"), TPM_RC_SUCCESS},
		{"wrong password", rw, func(_ *testTPM, p *policyState) { p.password = true }, []byte("Pass"), TPM_RC_BAD_AUTH},
		{"no password", rw, func(_ *testTPM, p *policyState) { p.password = true }, nil, TPM_RC_BAD_AUTH},
		{"wrong password, DA", rw &^ nvNoDA, func(_ *testTPM, p *policyState) { p.password = true }, []byte("Pass"), TPM_RC_AUTH_FAIL},
		{"password, lockout", rw &^ nvNoDA, func(x *testTPM, p *policyState) { p.password = true; x.perm.failedTries = 3 }, []byte("pass"), TPM_RC_LOCKOUT},
		{"policy alone, lockout", rw &^ nvNoDA, func(x *testTPM, p *policyState) { x.perm.failedTries = 3 }, nil, TPM_RC_SUCCESS},
		{"authValue is missing", rw, func(_ *testTPM, p *policyState) { p.authValue = true }, nil, TPM_RC_BAD_AUTH},
	}
	for _, tt := range tests {
		x := newTestTPM(t)
		x.now += 5 // Time 0 would mean no time limit
		x.policyIndex(testIndex, tt.attrs|nvOwnerRead, digest)
		s := x.session(x.startSession(TPM_SE_POLICY, symNull))
		s.policy.digest.set(digest)
		tt.change(x, &s.policy)
		a := area(sess(s.handle, make([]byte, 16), sessContinue, tt.auth))
		r := x.cmdS(TPM_CC_NV_Write, handles(testIndex, testIndex), a, params)
		if want := tt.rc.Session(1); r.rc != want {
			t.Errorf("%s: %v, want %v", tt.name, r.rc, want)
		}
		// After its use the policy starts over; after a failure it does not.
		zero := bytes.Equal(s.policy.digest.bytes(), make([]byte, 32)) && s.policy.binding == bindNone && s.policy.commandCode == 0
		if zero != (r.rc == TPM_RC_SUCCESS) {
			t.Errorf("%s: policy started over: %v", tt.name, zero)
		}
	}
}

// TestPolicyAuthValue: the HMAC of a policy session with PolicyAuthValue has
// the authValue in its key, without it only the session key.
func TestPolicyAuthValue(t *testing.T) {
	digest := bytes.Repeat([]byte{0xAB}, 32)
	x := newTestTPM(t)
	x.policyIndex(testIndex, nvPolicyRead|nvPolicyWrite|nvNoDA, digest)
	params := join(b2([]byte{5}), u16(0))
	for _, authValue := range []bool{true, false} {
		c := &client{x: x, caller: make([]byte, 16)}
		r := x.ok(x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, testIndex), b2(c.caller), b2(nil),
			[]byte{byte(TPM_SE_POLICY)}, symNull, u16(uint16(TPM_ALG_SHA256))))
		c.h, c.nonceTPM = r.handle, r.reader().b2(64)
		c.key = tpmcrypto.KDFa(TPM_ALG_SHA256, []byte("pass"), "ATH", c.nonceTPM, c.caller, 256)
		s := x.session(c.h)
		s.policy.digest.set(digest)
		s.policy.authValue = authValue
		n := x.nvName(x.nvFind(testIndex))
		right, wrong := []byte("pass"), []byte(nil)
		if !authValue {
			right, wrong = wrong, right
		}
		bad := c.area(TPM_CC_NV_Write, join(n, n), params, wrong, 0)
		x.want(x.cmdS(TPM_CC_NV_Write, handles(testIndex, testIndex), bad, params), TPM_RC_BAD_AUTH.Session(1))
		good := c.area(TPM_CC_NV_Write, join(n, n), params, right, 0)
		c.accept(x.ok(x.cmdS(TPM_CC_NV_Write, handles(testIndex, testIndex), good, params)), TPM_CC_NV_Write, right)
	}
}

// TestTemplateBinding: PolicyTemplate compares inPublic of a create command.
func TestTemplateBinding(t *testing.T) {
	digest := bytes.Repeat([]byte{0xAB}, 32)
	x := newTestTPM(t)
	x.owner.policy = policyAuth{TPM_ALG_SHA256, digest}
	tpl := eccTemplate(attrsSign)
	h := x.hash.Sum(TPM_ALG_SHA256, nil, marshal(maxPublic, func(w *writer) { w.public(&tpl) }))
	for _, right := range []bool{false, true} {
		s := x.session(x.startSession(TPM_SE_POLICY, symNull))
		s.policy.digest.set(digest)
		s.policy.binding = bindTemplate
		s.policy.hash.set(h)
		if !right {
			s.policy.hash.b[0]++
		}
		a := area(sess(s.handle, make([]byte, 16), 0, nil))
		want := TPM_RC_POLICY_FAIL.Session(1)
		if right {
			want = TPM_RC_SUCCESS
		}
		x.want(x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), a, createParams("", nil, tpl)), want)
	}
}

// TestRoles checks which kind of session each role takes.
func TestRoles(t *testing.T) {
	x := newTestTPM(t)
	obj := func(a TPMA_OBJECT) *entity {
		return &entity{h: TRANSIENT_FIRST, obj: &object{private: true, pub: TPMT_PUBLIC{Attributes: a}}}
	}
	index := &entity{h: testIndex, nv: &nvIndex{}}
	hier := &entity{h: TPM_RH_OWNER}
	tests := []struct {
		name   string
		e      *entity
		role   authRole
		policy bool
		rc     RC
	}{
		{"dup by password", obj(objUserWithAuth), roleDup, false, TPM_RC_AUTH_TYPE},
		{"dup by policy", obj(0), roleDup, true, TPM_RC_SUCCESS},
		{"admin by password", obj(0), roleAdmin, false, TPM_RC_SUCCESS},
		{"admin by password, adminWithPolicy", obj(objAdminWithPolicy), roleAdmin, false, TPM_RC_AUTH_TYPE},
		{"admin by policy", obj(objAdminWithPolicy), roleAdmin, true, TPM_RC_SUCCESS},
		{"admin of a hierarchy by password", hier, roleAdmin, false, TPM_RC_AUTH_TYPE},
		{"admin of an index by password", index, roleAdmin, false, TPM_RC_AUTH_TYPE},
		{"admin of an index by policy", index, roleAdmin, true, TPM_RC_SUCCESS},
		{"user by password", obj(objUserWithAuth), roleUser, false, TPM_RC_SUCCESS},
		{"user by password, policy only", obj(0), roleUser, false, TPM_RC_AUTH_UNAVAILABLE},
		{"user by policy", obj(0), roleUser, true, TPM_RC_SUCCESS},
		{"user of a hierarchy", hier, roleUser, false, TPM_RC_SUCCESS},
		{"user of a sequence", &entity{obj: &object{seq: &sequence{}}}, roleUser, false, TPM_RC_SUCCESS},
	}
	x.call.def = x.command(TPM_CC_GetRandom)
	for _, tt := range tests {
		if rc := x.checkRole(tt.e, tt.role, tt.policy); rc != tt.rc {
			t.Errorf("%s: %v, want %v", tt.name, rc, tt.rc)
		}
	}
	// ADMIN and DUP need PolicyCommandCode.
	s := &session{kind: TPM_SE_POLICY, hash: TPM_ALG_SHA256}
	a := &authSession{s: s}
	if rc := x.checkPolicy(a, obj(0), roleAdmin); rc != TPM_RC_AUTH_UNAVAILABLE {
		t.Errorf("a policy session for an object without a policy: %v", rc)
	}
	withPolicy := obj(0)
	withPolicy.obj.pub.AuthPolicy = make([]byte, 32)
	if rc := x.checkPolicy(a, withPolicy, roleAdmin); rc != TPM_RC_POLICY_FAIL {
		t.Errorf("ADMIN without PolicyCommandCode: %v", rc)
	}
	// An object that is only public authorizes nothing.
	public := *obj(objUserWithAuth)
	public.obj.private = false
	x.call.h[0] = public
	x.call.def = &command{handles: []handleSpec{{kind: hObject, role: roleUser}}}
	if rc := x.authorizeEntity(&authSession{}); rc != TPM_RC_AUTH_UNAVAILABLE {
		t.Errorf("public object: %v", rc)
	}
}

// TestPIN: PIN indices count uses and failures of their authValue.
func TestPIN(t *testing.T) {
	for _, pass := range []bool{false, true} {
		x := newTestTPM(t)
		nt := TPMA_NV(TPM_NT_PIN_FAIL) << 4
		if pass {
			nt = TPMA_NV(TPM_NT_PIN_PASS) << 4
		}
		x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""),
			nvDefineAuth("pin", testIndex, nvAuthRead|nvOwnerWrite|nvNoDA|nt, 8)))
		read := func(pin string) response {
			return x.cmdS(TPM_CC_NV_Read, handles(testIndex, testIndex), pw(pin), u16(8), u16(0))
		}
		x.unchanged(func() { x.want(read("pin"), TPM_RC_AUTH_UNAVAILABLE.Session(1)) }) // not written
		x.ok(x.cmdS(TPM_CC_NV_Write, handles(TPM_RH_OWNER, testIndex), pw(""), b2(join(u32(0), u32(2))), u16(0)))
		count := func() uint32 { return pinCount(x.nvFind(testIndex)) }
		saves := x.saves
		if pass {
			x.want(read("bad"), TPM_RC_BAD_AUTH.Session(1))
			if count() != 0 {
				t.Errorf("PIN pass: count %d after a failure", count())
			}
			x.ok(read("pin"))
			x.ok(read("pin"))
			x.want(read("pin"), TPM_RC_AUTH_UNAVAILABLE.Session(1))
			if count() != 2 || x.saves != saves+2 {
				t.Errorf("PIN pass: count %d, %d saves", count(), x.saves-saves)
			}
			continue
		}
		x.want(read("bad"), TPM_RC_BAD_AUTH.Session(1))
		if count() != 1 || x.saves != saves+1 {
			t.Errorf("PIN fail: count %d, %d saves after a failure", count(), x.saves-saves)
		}
		x.ok(read("pin"))
		if count() != 0 {
			t.Errorf("PIN fail: count %d after a success", count())
		}
		x.want(read("bad"), TPM_RC_BAD_AUTH.Session(1))
		x.want(read("bad"), TPM_RC_BAD_AUTH.Session(1))
		x.want(read("pin"), TPM_RC_AUTH_UNAVAILABLE.Session(1))
	}
}

// TestPINPolicySecret: what makes the authValue of a PIN index good for TPM2_PolicySecret is that
// the index is written and its count below the limit, not that its data may be read with it.
// Other indices need AUTHREAD.
func TestPINPolicySecret(t *testing.T) {
	for name, nt := range map[string]uint8{"PIN fail": TPM_NT_PIN_FAIL, "PIN pass": TPM_NT_PIN_PASS, "ordinary": TPM_NT_ORDINARY} {
		x := newTestTPM(t)
		x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""),
			nvDefineAuth("pin", testIndex, nvOwnerRead|nvOwnerWrite|nvNoDA|TPMA_NV(nt)<<4, 8)))
		secret := func(pin string) RC {
			return x.cmdS(TPM_CC_PolicySecret, handles(testIndex, x.startSession(TPM_SE_TRIAL, symNull)), pw(pin),
				b2(nil), b2(nil), b2(nil), u32(0)).rc
		}
		check := func(pin string, want RC) {
			t.Helper()
			if got := secret(pin); got != want {
				t.Errorf("%s: %q: %v, want %v", name, pin, got, want)
			}
		}
		check("pin", TPM_RC_AUTH_UNAVAILABLE.Session(1))
		x.ok(x.cmdS(TPM_CC_NV_Write, handles(TPM_RH_OWNER, testIndex), pw(""), b2(join(u32(0), u32(2))), u16(0)))
		if nt == TPM_NT_ORDINARY {
			check("pin", TPM_RC_AUTH_UNAVAILABLE.Session(1))
			continue
		}
		check("pin", TPM_RC_SUCCESS)
		check("bad", TPM_RC_BAD_AUTH.Session(1))
		want := uint32(1) // both: one failure after a success, or one success
		if got := pinCount(x.nvFind(testIndex)); got != want {
			t.Errorf("%s: count %d, want %d", name, got, want)
		}
		last := "pin"
		if nt == TPM_NT_PIN_FAIL {
			last = "bad"
		}
		secret(last)
		check("pin", TPM_RC_AUTH_UNAVAILABLE.Session(1))
		// The data can still not be read with it.
		x.want(x.cmdS(TPM_CC_NV_Read, handles(testIndex, testIndex), pw("pin"), u16(8), u16(0)), TPM_RC_AUTH_UNAVAILABLE.Session(1))
	}
}

// TestPINBind: no session is bound to a PIN index, in no state of it.
func TestPINBind(t *testing.T) {
	for name, nt := range map[string]uint8{"PIN fail": TPM_NT_PIN_FAIL, "PIN pass": TPM_NT_PIN_PASS} {
		x := newTestTPM(t)
		x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""),
			nvDefineAuth("pin", testIndex, nvAuthRead|nvOwnerWrite|nvNoDA|TPMA_NV(nt)<<4, 8)))
		for _, written := range []bool{false, true} {
			if written {
				x.ok(x.cmdS(TPM_CC_NV_Write, handles(TPM_RH_OWNER, testIndex), pw(""), b2(join(u32(0), u32(2))), u16(0)))
			}
			for _, kind := range []sessionKind{TPM_SE_HMAC, TPM_SE_POLICY, TPM_SE_TRIAL} {
				x.unchanged(func() {
					r := x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, testIndex), b2(make([]byte, 16)), b2(nil),
						[]byte{byte(kind)}, symNull, u16(uint16(TPM_ALG_SHA256)))
					if r.rc != TPM_RC_HANDLE.Handle(2) {
						t.Errorf("%s, session type %d, written %v: %v", name, kind, written, r.rc)
					}
				})
			}
		}
	}
}

// TestReadOnlyMode: commands that change lasting state are refused before they
// are authorized.
func TestReadOnlyMode(t *testing.T) {
	x := fullTPM(t)
	x.defineIndexOpen(testIndex+2, nvNoDA|nvOrderly|nvClearStClear)
	x.sc.readOnly = true
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw("wrong"), nvDefine(testIndex+9, nvOwnerRead|nvOwnerWrite, 8)), TPM_RC_READ_ONLY)
		x.want(x.writeIndex(testIndex, "wrong", []byte{1}), TPM_RC_READ_ONLY)
		x.want(x.writeIndex(testIndex+1, "", []byte{1}), TPM_RC_READ_ONLY)
		x.ok(x.cmdS(TPM_CC_NV_Read, handles(testIndex, testIndex), pw("pass"), u16(8), u16(0)))
		x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
	})
	x.ok(x.writeIndex(testIndex+2, "", []byte{1}))
	x.PowerOn()
	x.start(TPM_SU_CLEAR)
	x.ok(x.writeIndex(testIndex, "pass", []byte{1}))
}

// defineIndexOpen is defineIndex while ownerAuth is set by fullTPM.
func (x *testTPM) defineIndexOpen(h Handle, more TPMA_NV) {
	x.t.Helper()
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw("o"), nvDefine(h, nvAuthRead|nvAuthWrite|more, 8)))
}

// TestACTTick: a timer signals when it runs out, and keeps its rest over a
// suspension.
func TestACTTick(t *testing.T) {
	x := newTestTPM(t)
	a := &x.sc.act[2]
	a.deadline = x.msTime() + 1500
	if got := x.actRemaining(a); got != 2 {
		t.Errorf("%d s left", got)
	}
	x.now += 1499
	x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
	if a.signaled {
		t.Error("too early")
	}
	x.now++
	x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
	if !a.signaled || a.deadline != 0 {
		t.Error("not signaled")
	}
	x.sc.act[3].deadline, x.sc.act[3].set = x.msTime()+7000, true
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	x.reboot()
	x.start(TPM_SU_STATE)
	if got := x.actRemaining(&x.sc.act[3]); got != 7 {
		t.Errorf("%d s left after a suspension", got)
	}
}
