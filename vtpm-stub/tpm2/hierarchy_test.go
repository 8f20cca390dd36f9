package tpm2

import (
	"bytes"
	"testing"
)

func (x *testTPM) hierOp(cc CC, h Handle, auth string, params ...[]byte) response {
	return x.cmdS(cc, handles(h), pw(auth), params...)
}

func rh(h Handle) []byte { return u32(uint32(h)) }

// primaryName creates a primary key, flushes it and returns its Name.
func (x *testTPM) primaryName(h Handle) []byte {
	x.t.Helper()
	k := x.createPrimaryKey(h, "", eccTemplate(attrsStorage)).handle
	name := bytes.Clone(x.transient(k).name)
	x.ok(x.cmd(TPM_CC_FlushContext, rh(k)))
	return name
}

// TestHierarchyControl is the table of who may change which enable.
func TestHierarchyControl(t *testing.T) {
	const yes, no = 1, 0
	for _, c := range []struct {
		auth, enable Handle
		state        byte
		rc           RC
	}{
		{TPM_RH_PLATFORM, TPM_RH_OWNER, no, TPM_RC_SUCCESS},
		{TPM_RH_PLATFORM, TPM_RH_OWNER, yes, TPM_RC_SUCCESS},
		{TPM_RH_OWNER, TPM_RH_OWNER, no, TPM_RC_SUCCESS},
		{TPM_RH_OWNER, TPM_RH_OWNER, yes, TPM_RC_AUTH_TYPE},
		{TPM_RH_OWNER, TPM_RH_ENDORSEMENT, no, TPM_RC_AUTH_TYPE},
		{TPM_RH_ENDORSEMENT, TPM_RH_ENDORSEMENT, no, TPM_RC_SUCCESS},
		{TPM_RH_ENDORSEMENT, TPM_RH_OWNER, no, TPM_RC_AUTH_TYPE},
		{TPM_RH_OWNER, TPM_RH_PLATFORM, no, TPM_RC_AUTH_TYPE},
		{TPM_RH_OWNER, TPM_RH_PLATFORM_NV, no, TPM_RC_AUTH_TYPE},
		{TPM_RH_PLATFORM, TPM_RH_PLATFORM_NV, no, TPM_RC_SUCCESS},
		{TPM_RH_PLATFORM, TPM_RH_PLATFORM_NV, yes, TPM_RC_SUCCESS},
		{TPM_RH_PLATFORM, TPM_RH_PLATFORM, yes, TPM_RC_AUTH_TYPE},
		{TPM_RH_PLATFORM, TPM_RH_PLATFORM, no, TPM_RC_SUCCESS},
		{TPM_RH_PLATFORM, TPM_RH_LOCKOUT, no, TPM_RC_VALUE.Param(1)},
		{TPM_RH_PLATFORM, TPM_RH_OWNER, 2, TPM_RC_VALUE.Param(2)},
	} {
		x := newTestTPM(t)
		if r := x.hierOp(TPM_CC_HierarchyControl, c.auth, "", rh(c.enable), []byte{c.state}); r.rc != c.rc {
			t.Errorf("%x sets %x to %d: %v, want %v", c.auth, c.enable, c.state, r.rc, c.rc)
		}
	}
}

func TestDisabledHierarchy(t *testing.T) {
	x := newTestTPM(t)
	k := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	x.ok(x.hierOp(TPM_CC_HierarchyControl, TPM_RH_OWNER, "", rh(TPM_RH_OWNER), []byte{0}))
	if x.transient(k) != nil {
		t.Error("an object of a disabled hierarchy is still loaded")
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), createParams("", nil, eccTemplate(attrsStorage))), TPM_RC_HIERARCHY.Handle(1))
	})
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_CLEAR)))
	x.PowerOn()
	x.start(TPM_SU_CLEAR)
	x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage))
}

func TestHierarchyChangeAuth(t *testing.T) {
	for _, h := range []Handle{TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM, TPM_RH_LOCKOUT} {
		x := newTestTPM(t)
		x.ok(x.hierOp(TPM_CC_HierarchyChangeAuth, h, "", b2([]byte("new\x00\x00"))))
		again := func(auth string) RC { return x.hierOp(TPM_CC_HierarchyChangeAuth, h, auth, b2([]byte("new"))).rc }
		if rc := again("new"); rc != TPM_RC_SUCCESS {
			t.Errorf("%x: new auth: %v", h, rc)
		}
		x.unchanged(func() {
			x.want(x.hierOp(TPM_CC_HierarchyChangeAuth, h, "new", b2(make([]byte, 65))), TPM_RC_SIZE.Param(1))
		})
		x.reboot()
		x.start(TPM_SU_CLEAR)
		want := "new"
		if h == TPM_RH_PLATFORM {
			want = "" // platformAuth ends with a reset
		}
		if rc := again(want); rc != TPM_RC_SUCCESS {
			t.Errorf("%x: auth after a reset: %v", h, rc)
		}
	}
}

func TestSetPrimaryPolicy(t *testing.T) {
	x := newTestTPM(t)
	digest := bytes.Repeat([]byte{0xaa}, 32)
	for _, h := range []Handle{TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM, TPM_RH_LOCKOUT, TPM_RH_ACT_0} {
		x.ok(x.hierOp(TPM_CC_SetPrimaryPolicy, h, "", b2(digest), u16(uint16(TPM_ALG_SHA256))))
		if p := x.authPolicy(&entity{h: h}); p.alg != TPM_ALG_SHA256 || !bytes.Equal(p.digest, digest) {
			t.Errorf("%x: %+v", h, p)
		}
		x.unchanged(func() {
			x.want(x.hierOp(TPM_CC_SetPrimaryPolicy, h, "", b2(digest[:20]), u16(uint16(TPM_ALG_SHA256))), TPM_RC_SIZE.Param(1))
			x.want(x.hierOp(TPM_CC_SetPrimaryPolicy, h, "", b2(digest), u16(uint16(TPM_ALG_NULL))), TPM_RC_SIZE.Param(1))
			x.want(x.hierOp(TPM_CC_SetPrimaryPolicy, h, "", b2(digest), u16(uint16(TPM_ALG_AES))), TPM_RC_HASH.Param(2))
		})
		x.ok(x.hierOp(TPM_CC_SetPrimaryPolicy, h, "", b2(nil), u16(uint16(TPM_ALG_NULL))))
	}
}

func TestChangeSeeds(t *testing.T) {
	for cc, h := range map[CC]Handle{TPM_CC_ChangePPS: TPM_RH_PLATFORM, TPM_CC_ChangeEPS: TPM_RH_ENDORSEMENT} {
		x := newTestTPM(t)
		old, other := x.primaryName(h), x.primaryName(TPM_RH_OWNER)
		x.ok(x.hierOp(TPM_CC_HierarchyChangeAuth, TPM_RH_ENDORSEMENT, "", b2([]byte("e"))))
		k := x.createPrimaryKeyAuth(h, map[Handle]string{TPM_RH_ENDORSEMENT: "e"}[h])
		saves := x.saves
		x.ok(x.hierOp(cc, TPM_RH_PLATFORM, ""))
		if x.saves == saves || x.transient(k) != nil {
			t.Errorf("0x%x: saved %v, object loaded %v", cc, x.saves != saves, x.transient(k) != nil)
		}
		if cc == TPM_CC_ChangePPS {
			x.ok(x.hierOp(TPM_CC_HierarchyChangeAuth, TPM_RH_ENDORSEMENT, "e", b2(nil)))
		}
		if bytes.Equal(old, x.primaryName(h)) || !bytes.Equal(other, x.primaryName(TPM_RH_OWNER)) {
			t.Errorf("0x%x: seeds", cc)
		}
		x.want(x.hierOp(cc, TPM_RH_OWNER, ""), TPM_RC_VALUE.Handle(1))
	}
}

func (x *testTPM) createPrimaryKeyAuth(h Handle, auth string) Handle {
	x.t.Helper()
	return x.ok(x.cmdS(TPM_CC_CreatePrimary, handles(h), pw(auth), createParams("", nil, eccTemplate(attrsStorage)))).handle
}

func TestClear(t *testing.T) {
	for _, auth := range []Handle{TPM_RH_LOCKOUT, TPM_RH_PLATFORM} {
		x := newTestTPM(t)
		owner, ek, platform := x.primaryName(TPM_RH_OWNER), x.primaryName(TPM_RH_ENDORSEMENT), x.primaryName(TPM_RH_PLATFORM)
		x.defineIndex(testIndex, "", 0, 8)
		x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_PLATFORM), pw(""), nvDefine(testIndex+1, nvPPRead|nvPPWrite|nvPlatformCreate, 8)))
		for _, h := range []Handle{TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_LOCKOUT} {
			x.ok(x.hierOp(TPM_CC_HierarchyChangeAuth, h, "", b2([]byte("old"))))
		}
		k := x.createPrimaryKeyAuth(TPM_RH_OWNER, "old")
		x.now += 5000
		pcrs := x.sr.pcrCounter
		pass := map[Handle]string{TPM_RH_LOCKOUT: "old"}[auth]
		x.ok(x.hierOp(TPM_CC_Clear, auth, pass))
		if x.nvFind(testIndex) != nil || x.nvFind(testIndex+1) == nil || x.transient(k) != nil {
			t.Error("owner's things stayed, or the platform's did not")
		}
		if x.clockNow() != 0 || x.perm.resetCount != 0 || x.sr.restartCount != 0 || !x.perm.clockSafe || x.sr.pcrCounter != pcrs+1 {
			t.Errorf("clock %d, counts %d %d, safe %v, PCR counter %d", x.clockNow(), x.perm.resetCount, x.sr.restartCount, x.perm.clockSafe, x.sr.pcrCounter)
		}
		// Authorizations are empty now, and only the owner's seed is new.
		if bytes.Equal(owner, x.primaryName(TPM_RH_OWNER)) || !bytes.Equal(ek, x.primaryName(TPM_RH_ENDORSEMENT)) || !bytes.Equal(platform, x.primaryName(TPM_RH_PLATFORM)) {
			t.Error("seeds")
		}
		x.ok(x.hierOp(TPM_CC_Clear, TPM_RH_LOCKOUT, ""))
		x.reboot()
		x.start(TPM_SU_CLEAR)
		if x.nvFind(testIndex) != nil {
			t.Error("Clear was undone by a power cut")
		}
	}
}

func TestClearControl(t *testing.T) {
	x := newTestTPM(t)
	x.ok(x.hierOp(TPM_CC_ClearControl, TPM_RH_LOCKOUT, "", []byte{1}))
	x.unchanged(func() {
		x.want(x.hierOp(TPM_CC_Clear, TPM_RH_LOCKOUT, ""), TPM_RC_DISABLED)
		x.want(x.hierOp(TPM_CC_Clear, TPM_RH_PLATFORM, ""), TPM_RC_DISABLED)
		x.want(x.hierOp(TPM_CC_ClearControl, TPM_RH_LOCKOUT, "", []byte{0}), TPM_RC_AUTH_FAIL)
		x.want(x.hierOp(TPM_CC_ClearControl, TPM_RH_PLATFORM, "", []byte{2}), TPM_RC_VALUE.Param(1))
	})
	x.ok(x.hierOp(TPM_CC_ClearControl, TPM_RH_PLATFORM, "", []byte{0}))
	x.ok(x.hierOp(TPM_CC_Clear, TPM_RH_LOCKOUT, ""))
}

func TestDAParameters(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "pass", 0, 8)
	wrong := func() RC { return x.writeIndex(testIndex, "wrong", []byte{1}).rc }
	x.ok(x.hierOp(TPM_CC_DictionaryAttackParameters, TPM_RH_LOCKOUT, "", u32(2), u32(100), u32(200)))
	for range 2 {
		if rc := wrong(); rc != TPM_RC_AUTH_FAIL.Session(1) {
			t.Errorf("wrong auth: %v", rc)
		}
	}
	x.want(x.writeIndex(testIndex, "pass", []byte{1}), TPM_RC_LOCKOUT)
	x.ok(x.hierOp(TPM_CC_DictionaryAttackLockReset, TPM_RH_LOCKOUT, ""))
	x.ok(x.writeIndex(testIndex, "pass", []byte{1}))
	wrong()
	x.now += 100_000 // one failure heals
	x.ok(x.writeIndex(testIndex, "pass", []byte{2}))
	if x.perm.failedTries != 0 {
		t.Errorf("%d failed tries after the recovery time", x.perm.failedTries)
	}
	x.ok(x.hierOp(TPM_CC_DictionaryAttackParameters, TPM_RH_LOCKOUT, "", u32(0), u32(100), u32(200)))
	x.want(x.writeIndex(testIndex, "pass", []byte{1}), TPM_RC_LOCKOUT) // newMaxTries 0
	x.ok(x.hierOp(TPM_CC_DictionaryAttackParameters, TPM_RH_LOCKOUT, "", u32(1), u32(0), u32(0)))
	for range 3 {
		wrong() // newRecoveryTime 0: no protection
	}
	x.ok(x.writeIndex(testIndex, "pass", []byte{3}))
	x.want(x.hierOp(TPM_CC_DictionaryAttackLockReset, TPM_RH_LOCKOUT, "wrong"), TPM_RC_AUTH_FAIL.Session(1))
	x.want(x.hierOp(TPM_CC_DictionaryAttackLockReset, TPM_RH_LOCKOUT, ""), TPM_RC_LOCKOUT)
}

func TestClock(t *testing.T) {
	x := newTestTPM(t)
	read := func() (tm, clock uint64) {
		r := x.ok(x.cmd(TPM_CC_ReadClock)).reader()
		return r.u64(), r.u64()
	}
	t0, c0 := read()
	x.now += 1500
	t1, c1 := read()
	if t1-t0 != 1500 || c1-c0 != 1500 {
		t.Errorf("Time moved %d, Clock %d", t1-t0, c1-c0)
	}
	x.ok(x.hierOp(TPM_CC_ClockSet, TPM_RH_OWNER, "", u64(c1+1_000_000)))
	if tm, c := read(); tm != t1 || c != c1+1_000_000 {
		t.Errorf("Time %d, Clock %d after ClockSet", tm, c)
	}
	x.unchanged(func() {
		x.want(x.hierOp(TPM_CC_ClockSet, TPM_RH_OWNER, "", u64(c1)), TPM_RC_VALUE.Param(1))
		x.want(x.hierOp(TPM_CC_ClockSet, TPM_RH_PLATFORM, "", u64(maxClock+1)), TPM_RC_VALUE.Param(1))
		x.want(x.hierOp(TPM_CC_ClockRateAdjust, TPM_RH_OWNER, "", []byte{4}), TPM_RC_VALUE.Param(1))
		x.want(x.hierOp(TPM_CC_ClockRateAdjust, TPM_RH_OWNER, "", []byte{0xfc}), TPM_RC_VALUE.Param(1))
	})
	x.reboot()
	x.start(TPM_SU_CLEAR)
	if _, c := read(); c < c1+1_000_000 {
		t.Errorf("Clock went back to %d", c)
	}
	steps := 0
	for x.hierOp(TPM_CC_ClockRateAdjust, TPM_RH_OWNER, "", []byte{3}).rc == TPM_RC_SUCCESS {
		steps++
	}
	t0, _ = read()
	x.now += 100_000
	t1, _ = read()
	if d := t1 - t0; steps == 0 || d <= 100_000 || d > 115_000 {
		t.Errorf("%d steps faster: Time moved %d in 100000", steps, d)
	}
	for range 10 {
		x.hierOp(TPM_CC_ClockRateAdjust, TPM_RH_OWNER, "", []byte{0xfd})
	}
	before := t1
	x.now += 100_000
	if t1, _ = read(); t1-before >= 100_000 || t1-before < 85_000 {
		t.Errorf("slower: Time moved %d in 100000", t1-before)
	}
}

func TestPCRManagement(t *testing.T) {
	x := newTestTPM(t)
	alloc := func(l ...TPMS_PCR_SELECTION) response {
		list := TPML_PCR_SELECTION{Count: len(l)}
		copy(list.Sel[:], l)
		return x.hierOp(TPM_CC_PCR_Allocate, TPM_RH_PLATFORM, "", marshal(100, func(w *writer) { w.pcrSelection(&list) }))
	}
	all := [pcrSelectBytes]byte{0xff, 0xff, 0xff}
	none := func(a AlgID) TPMS_PCR_SELECTION { return TPMS_PCR_SELECTION{Hash: a, Size: 3} }
	x.unchanged(func() {
		x.want(alloc(none(TPM_ALG_SHA1), none(TPM_ALG_SHA256), none(TPM_ALG_SHA384), none(TPM_ALG_SHA512)), TPM_RC_PCR)
	})
	r := x.ok(alloc(none(TPM_ALG_SHA1), TPMS_PCR_SELECTION{TPM_ALG_SHA3_256, 3, all})).reader()
	if ok, n, need, avail := r.yesNo(), r.u32(), r.u32(), r.u32(); !ok || n != 24 || need == 0 || need > avail || r.end() != TPM_RC_SUCCESS {
		t.Errorf("allocated %v, %d PCR, %d of %d octets", ok, n, need, avail)
	}
	if x.pcrValue(bankIndex(TPM_ALG_SHA1), 0) == nil || x.pcrValue(bankIndex(TPM_ALG_SHA3_256), 0) != nil {
		t.Error("the allocation changed before _TPM_Init")
	}
	x.want(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)), TPM_RC_TYPE)
	x.reboot()
	x.start(TPM_SU_CLEAR)
	if x.pcrValue(bankIndex(TPM_ALG_SHA1), 0) != nil || x.pcrValue(bankIndex(TPM_ALG_SHA3_256), 0) == nil {
		t.Error("the allocation did not change")
	}
	// PCR 20 to 22 are the group with auth and policy.
	x.loc = 2
	x.ok(x.cmdS(TPM_CC_PCR_SetAuthValue, handles(20), pw(""), b2([]byte("p"))))
	x.want(x.cmdS(TPM_CC_PCR_Event, handles(21), pw(""), b2(nil)), TPM_RC_BAD_AUTH.Session(1))
	x.ok(x.cmdS(TPM_CC_PCR_Event, handles(21), pw("p"), b2(nil)))
	x.ok(x.hierOp(TPM_CC_PCR_SetAuthPolicy, TPM_RH_PLATFORM, "", b2(make([]byte, 32)), u16(uint16(TPM_ALG_SHA256)), u32(22)))
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_PCR_SetAuthValue, handles(1), pw(""), b2([]byte("p"))), TPM_RC_VALUE)
		x.want(x.hierOp(TPM_CC_PCR_SetAuthPolicy, TPM_RH_PLATFORM, "", b2(make([]byte, 32)), u16(uint16(TPM_ALG_SHA256)), u32(1)), TPM_RC_VALUE.Param(3))
		x.want(x.hierOp(TPM_CC_PCR_SetAuthPolicy, TPM_RH_PLATFORM, "", b2(make([]byte, 32)), u16(uint16(TPM_ALG_SHA256)), u32(24)), TPM_RC_VALUE.Param(3))
		x.want(x.hierOp(TPM_CC_PCR_SetAuthPolicy, TPM_RH_PLATFORM, "", b2(make([]byte, 31)), u16(uint16(TPM_ALG_SHA256)), u32(22)), TPM_RC_SIZE.Param(1))
	})
}

func TestPPCommandLists(t *testing.T) {
	x := newTestTPM(t)
	list := func(ccs ...CC) []byte {
		b := u32(uint32(len(ccs)))
		for _, cc := range ccs {
			b = append(b, u32(uint32(cc))...)
		}
		return b
	}
	x.want(x.hierOp(TPM_CC_PP_Commands, TPM_RH_PLATFORM, "", list(), list()), TPM_RC_PP.Session(1))
	x.SetPhysicalPresence(true)
	x.ok(x.hierOp(TPM_CC_PP_Commands, TPM_RH_PLATFORM, "", list(TPM_CC_Clear, TPM_CC_GetRandom), list()))
	x.SetPhysicalPresence(false)
	x.want(x.hierOp(TPM_CC_Clear, TPM_RH_PLATFORM, ""), TPM_RC_PP.Session(1))
	x.ok(x.cmd(TPM_CC_GetRandom, u16(8)))
	x.SetPhysicalPresence(true)
	x.ok(x.hierOp(TPM_CC_PP_Commands, TPM_RH_PLATFORM, "", list(TPM_CC_Clear), list(TPM_CC_Clear)))
	x.SetPhysicalPresence(false)
	x.ok(x.hierOp(TPM_CC_Clear, TPM_RH_PLATFORM, ""))
}

func TestReadOnlyControl(t *testing.T) {
	x := newTestTPM(t)
	x.ok(x.hierOp(TPM_CC_ReadOnlyControl, TPM_RH_PLATFORM, "", []byte{1}))
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), nvDefine(testIndex, nvOwnerRead|nvOwnerWrite, 8)), TPM_RC_READ_ONLY)
		x.want(x.hierOp(TPM_CC_Clear, TPM_RH_LOCKOUT, ""), TPM_RC_READ_ONLY)
		x.want(x.hierOp(TPM_CC_ReadOnlyControl, TPM_RH_PLATFORM, "", []byte{3}), TPM_RC_VALUE.Param(1))
	})
	x.ok(x.cmd(TPM_CC_GetRandom, u16(8)))
	x.ok(x.hierOp(TPM_CC_ReadOnlyControl, TPM_RH_PLATFORM, "", []byte{0}))
	x.ok(x.hierOp(TPM_CC_Clear, TPM_RH_LOCKOUT, ""))
}
