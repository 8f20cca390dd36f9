package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/drivers/tpmid"
	"xenvtpm/vtpm-stub/tpmcrypto"
)

// TestNVPublic2 defines and reads an index in the v185 form; the older command gives the same
// public area and Name.
func TestNVPublic2(t *testing.T) {
	x := newTestTPM(t)
	pub := TPMS_NV_PUBLIC{Index: 0x01500002, NameAlg: TPM_ALG_SHA256, Attributes: nvAuthRead | nvAuthWrite, DataSize: 8}
	public2 := func(ht uint8) []byte {
		return b2(marshal(64, func(w *writer) { w.u8(ht); w.nvPublic(&pub) }))
	}
	define := func(p []byte) response {
		return x.cmdS(TPM_CC_NV_DefineSpace2, handles(TPM_RH_OWNER), pw(""), b2([]byte("auth")), p)
	}
	x.unchanged(func() {
		x.want(define(public2(0x11)), TPM_RC_VALUE.Param(2)) // TPM_HT_EXTERNAL_NV
		x.want(define(public2(0x02)), TPM_RC_VALUE.Param(2))
		x.want(define(b2(nil)), TPM_RC_SIZE.Param(2))
		x.want(define(b2(append(public2(TPM_HT_NV_INDEX)[2:], 0))), TPM_RC_SIZE.Param(2))
	})
	x.ok(define(public2(TPM_HT_NV_INDEX)))
	x.want(define(public2(TPM_HT_NV_INDEX)), TPM_RC_NV_DEFINED)
	got := x.ok(x.cmd(TPM_CC_NV_ReadPublic2, handles(pub.Index))).params
	old := x.ok(x.cmd(TPM_CC_NV_ReadPublic, handles(pub.Index))).params
	name := b2(x.nvName(x.nvFind(pub.Index)))
	if !bytes.Equal(got, join(public2(TPM_HT_NV_INDEX), name)) || !bytes.HasSuffix(old, name) {
		t.Errorf("%x\n%x", got, old)
	}
	x.ok(x.cmdS(TPM_CC_NV_Write, handles(pub.Index, pub.Index), pw("auth"), b2([]byte{1}), u16(0)))
}

// TestACTSetTimeout goes through the four states of a timer and its stop.
func TestACTSetTimeout(t *testing.T) {
	x := newTestTPM(t)
	h := TPM_RH_ACT_0 + 1
	set := func(seconds uint32) {
		t.Helper()
		x.ok(x.cmdS(TPM_CC_ACT_SetTimeout, handles(h), pw(""), u32(seconds)))
	}
	state := func() (remaining, attrs uint32) {
		r := x.ok(x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_ACT), u32(uint32(h)), u32(1))).reader()
		r.bytes(1 + 4 + 4 + 4)
		return r.u32(), r.u32()
	}
	for i, step := range []struct {
		set             int64 // -1: nothing, only wait
		wait            int64 // ms, after that
		remaining, attr uint32
	}{
		{0, 0, 0, 0},               // 3: zero to zero
		{5, 0, 5, 0},               // 1
		{-1, 1000, 4, 0},           // counts
		{9, 0, 9, 0},               // 2
		{0, 0, 0, 1},               // 4: signals
		{0, 0, 0, 1},               // 3: unchanged
		{2, 0, 2, 0},               // 1: clear
		{-1, 2000, 0, 1},           // runs out
		{actStop, 0, 0, 0},         // stop: clear, and not counting
		{-1, 5000, 0, 0},           //
		{1, 1000, 0, 1},            //
		{actStop, 0, 0, 0},         //
		{3, 0, 3, 0},               //
		{actStop, 0, 1<<32 - 1, 0}, // while counting it is a number like others
	} {
		if step.set >= 0 {
			set(uint32(step.set))
		}
		x.now += step.wait
		if remaining, attr := state(); remaining != step.remaining || attr != step.attr {
			t.Errorf("step %d: %d s, attributes %x; want %d, %x", i, remaining, attr, step.remaining, step.attr)
		}
	}
	x.sc.act[1].preserve = true
	set(1)
	if x.sc.act[1].preserve {
		t.Error("preserveSignaled is still SET")
	}
	x.want(x.cmdS(TPM_CC_ACT_SetTimeout, handles(TPM_RH_OWNER), pw(""), u32(1)), TPM_RC_VALUE.Handle(1))
}

// TestPolicyCapability compares properties of each kind.
func TestPolicyCapability(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	s, trial := x.startSession(TPM_SE_POLICY, symNull), x.startSession(TPM_SE_TRIAL, symNull)
	x.perm.ppCommands.put(TPM_CC_Clear, true)
	run := func(s Handle, operand []byte, offset, op uint16, capability, property uint32) response {
		return x.cmd(TPM_CC_PolicyCapability, handles(s), b2(operand), u16(offset), u16(op), u32(capability), u32(property))
	}
	for name, c := range map[string]struct {
		capability, property uint32
		offset               uint16
		operand              []byte
		exists               bool
	}{
		"algorithm":    {TPM_CAP_ALGS, uint32(TPM_ALG_SHA256), 2, u32(algHash), true},
		"no algorithm": {TPM_CAP_ALGS, uint32(TPM_ALG_SM4), 2, u32(algHash), false},
		"handle":       {TPM_CAP_HANDLES, uint32(key), 0, u32(uint32(key)), true},
		"no handle":    {TPM_CAP_HANDLES, uint32(key) + 1, 0, u32(uint32(key) + 1), false},
		"command":      {TPM_CAP_COMMANDS, uint32(TPM_CC_Sign), 2, u16(uint16(TPM_CC_Sign)), true},
		"no command":   {TPM_CAP_COMMANDS, uint32(TPM_CC_FieldUpgradeData), 2, nil, false},
		"audited":      {TPM_CAP_AUDIT_COMMANDS, uint32(TPM_CC_SetCommandCodeAuditStatus), 0, ccb(TPM_CC_SetCommandCodeAuditStatus), true},
		"not audited":  {TPM_CAP_AUDIT_COMMANDS, uint32(TPM_CC_Hash), 0, ccb(TPM_CC_Hash), false},
		"PP":           {TPM_CAP_PP_COMMANDS, uint32(TPM_CC_Clear), 0, ccb(TPM_CC_Clear), true},
		"property":     {TPM_CAP_TPM_PROPERTIES, TPM_PT_FIRMWARE_VERSION_1, 4, u32(uint32(tpmid.FirmwareVersion >> 32)), true},
		"no property":  {TPM_CAP_TPM_PROPERTIES, 0x1ff, 4, nil, false},
		"curve":        {TPM_CAP_ECC_CURVES, uint32(TPM_ECC_NIST_P384), 0, u16(uint16(TPM_ECC_NIST_P384)), true},
		"no curve":     {TPM_CAP_ECC_CURVES, uint32(TPM_ECC_BN_P638), 0, nil, false},
		"timer":        {TPM_CAP_ACT, uint32(TPM_RH_ACT_0), 8, u32(0), true},
		"policy of":    {TPM_CAP_AUTH_POLICIES, uint32(TPM_RH_OWNER), 0, u32(uint32(TPM_RH_OWNER)), true},
		"PCR property": {TPM_CAP_PCR_PROPERTIES, 0, 0, u32(0), true},
	} {
		x.ok(x.cmd(TPM_CC_PolicyRestart, handles(s)))
		r, not := run(s, c.operand, c.offset, TPM_EO_EQ, c.capability, c.property), run(trial, c.operand, c.offset, TPM_EO_EQ, c.capability, c.property)
		if (r.rc == TPM_RC_SUCCESS) != c.exists || !c.exists && r.rc != TPM_RC_POLICY || not.rc != TPM_RC_SUCCESS {
			t.Errorf("%s: %v, in a trial %v", name, r.rc, not.rc)
		}
		if c.exists {
			args := h256(c.operand, u16(c.offset), u16(TPM_EO_EQ), u32(c.capability), u32(c.property))
			if got, want := x.policyDigest(s), h256(make([]byte, 32), ccb(TPM_CC_PolicyCapability), args); !bytes.Equal(got, want) {
				t.Errorf("%s: digest %x, want %x", name, got, want)
			}
		}
		want := TPM_RC_SUCCESS
		if c.exists {
			want = TPM_RC_POLICY
		}
		x.want(run(s, c.operand, c.offset, TPM_EO_NEQ, c.capability, c.property), want)
	}
	x.unchanged(func() {
		x.want(run(s, nil, 0, TPM_EO_EQ, TPM_CAP_PCRS, 0), TPM_RC_VALUE.Param(4))
		x.want(run(s, nil, 0, TPM_EO_EQ, 99, 0), TPM_RC_VALUE.Param(4))
		x.want(run(s, nil, 0, TPM_EO_EQ, TPM_CAP_ACT, 0), TPM_RC_VALUE.Param(5))
		x.want(run(s, nil, 0, TPM_EO_EQ, TPM_CAP_HANDLES, 0x55000000), TPM_RC_VALUE.Param(5))
		x.want(run(s, make([]byte, 5), 4, TPM_EO_EQ, TPM_CAP_TPM_PROPERTIES, TPM_PT_FIRMWARE_VERSION_1), TPM_RC_RANGE)
		x.want(run(s, make([]byte, 65), 0, TPM_EO_EQ, TPM_CAP_ALGS, 1), TPM_RC_SIZE.Param(1))
		x.want(run(s, nil, 0, 12, TPM_CAP_ALGS, 1), TPM_RC_VALUE.Param(3))
	})
}

// TestSessionAuditAttested signs the digest of an audit session.
func TestSessionAuditAttested(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", akTemplate()).handle
	h := x.startSession(TPM_SE_HMAC, symNull)
	get := func(key, s Handle) response {
		return x.cmdS(TPM_CC_GetSessionAuditDigest, handles(TPM_RH_ENDORSEMENT, key, s), pw("", ""), b2([]byte("q")), noScheme)
	}
	x.unchanged(func() { x.want(get(key, h), TPM_RC_TYPE.Handle(3)) })
	r := x.ok(x.cmdS(TPM_CC_GetRandom, nil, area(sess(h, make([]byte, 16), sessAudit|sessContinue, nil)), u16(8)))
	cp := h256(ccb(TPM_CC_GetRandom), u16(8))
	want := h256(make([]byte, 32), cp, h256(u32(0), ccb(TPM_CC_GetRandom), r.params))
	for _, exclusive := range []bool{true, false} {
		a := x.readAttest(get(key, h))
		x.checkAttest(a, key, TPM_ST_ATTEST_SESSION_AUDIT, "q")
		if got, digest := a.rest.yesNo(), a.rest.digest(); got != exclusive || !bytes.Equal(digest, want) || a.rest.end() != TPM_RC_SUCCESS {
			t.Errorf("exclusive %v, digest %x; want %v, %x", got, digest, exclusive, want)
		}
	}
	storage := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	policy := x.startSession(TPM_SE_POLICY, symNull)
	x.unchanged(func() {
		x.want(get(storage, h), TPM_RC_KEY.Handle(2))
		x.want(get(key, policy), TPM_RC_VALUE.Handle(3))
	})
}

// TestECDAAAttestation: an anonymous signature hides signer and qualifying data in the structure
// and covers the data nonetheless (TPM20-P1 equation 63).
func TestECDAAAttestation(t *testing.T) {
	x := newTestTPM(t)
	s := scheme(TPM_ALG_ECDAA, TPM_ALG_SHA256)
	key := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", eccSigner(attrsSign|objRestricted, TPM_ECC_BN_P256, s)).handle
	g := tpmcrypto.GroupOf(TPM_ECC_BN_P256)
	r := x.ok(x.cmdS(TPM_CC_Commit, handles(key), pw(""), b2(join(u16(0), u16(0))), b2(nil), b2(nil))).reader()
	x.point(g, r)
	x.point(g, r)
	e := x.point(g, r)
	s.Count = r.u16()
	a := x.readAttest(x.cmdS(TPM_CC_Certify, handles(key, key), pw("", ""), b2([]byte("q")), schemeBytes(s)))
	if len(a.head.QualifiedSigner) != 0 || len(a.head.ExtraData) != 0 || a.head.FirmwareVersion != tpmid.FirmwareVersion {
		t.Errorf("%+v", a.head)
	}
	n, err := tpmcrypto.NewModulus(bigInt(g.Params().N))
	if err != nil {
		t.Fatal(err)
	}
	p := h256([]byte("q"), h256(a.doc))
	o := x.transient(key)
	q, _ := g.Point(o.pub.X, o.pub.Y)
	tq, _ := g.Mul(n.Bytes(n.Reduce(h256(a.sig.R, p))), q)
	left, _ := g.BaseMul(a.sig.S)
	if !left.Equal(g.Add(e, tq)) {
		t.Error("the signature does not hold")
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_Certify, handles(key, key), pw("", ""), b2(nil), schemeBytes(s)), TPM_RC_VALUE.Param(2))
		x.want(x.cmdS(TPM_CC_Certify, handles(key, key), pw("", ""), b2(nil), noScheme), TPM_RC_SCHEME.Param(2))
	})
}
