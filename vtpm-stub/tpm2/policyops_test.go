package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

func h256(parts ...[]byte) []byte { return tpmcrypto.Sum(TPM_ALG_SHA256, parts...) }

func ccb(cc CC) []byte { return u32(uint32(cc)) }

func (x *testTPM) policyDigest(s Handle) []byte {
	x.t.Helper()
	return x.ok(x.cmd(TPM_CC_PolicyGetDigest, handles(s))).reader().b2(maxDigest)
}

// TestPolicyDigests computes each command's digest by the specification's formula, in a
// trial and in a real session.
func TestPolicyDigests(t *testing.T) {
	zero := make([]byte, 32)
	some := bytes.Repeat([]byte{7}, 32)
	name := append(u16(uint16(TPM_ALG_SHA256)), some...)
	sel := TPML_PCR_SELECTION{Count: 1}
	sel.Sel[0] = TPMS_PCR_SELECTION{TPM_ALG_SHA256, 3, [3]byte{3}}
	pcrs := marshal(100, func(w *writer) { w.pcrSelection(&sel) })
	noPCR := h256(zero, zero)
	for _, c := range []struct {
		cc     CC
		params []byte
		want   []byte
		trial  bool // only a trial session can do it
	}{
		{TPM_CC_PolicyAuthValue, nil, h256(zero, ccb(TPM_CC_PolicyAuthValue)), false},
		{TPM_CC_PolicyPassword, nil, h256(zero, ccb(TPM_CC_PolicyAuthValue)), false},
		{TPM_CC_PolicyPhysicalPresence, nil, h256(zero, ccb(TPM_CC_PolicyPhysicalPresence)), false},
		{TPM_CC_PolicyCommandCode, ccb(TPM_CC_NV_Read), h256(zero, ccb(TPM_CC_PolicyCommandCode), ccb(TPM_CC_NV_Read)), false},
		{TPM_CC_PolicyLocality, []byte{5}, h256(zero, ccb(TPM_CC_PolicyLocality), []byte{5}), false},
		{TPM_CC_PolicyCpHash, b2(some), h256(zero, ccb(TPM_CC_PolicyCpHash), some), false},
		{TPM_CC_PolicyNameHash, b2(some), h256(zero, ccb(TPM_CC_PolicyNameHash), some), false},
		{TPM_CC_PolicyTemplate, b2(some), h256(zero, ccb(TPM_CC_PolicyTemplate), some), false},
		{TPM_CC_PolicyParameters, b2(some), h256(zero, ccb(TPM_CC_PolicyParameters), some), false},
		{TPM_CC_PolicyNvWritten, []byte{1}, h256(zero, ccb(TPM_CC_PolicyNvWritten), []byte{1}), false},
		{TPM_CC_PolicyDuplicationSelect, join(b2(name), b2(name), []byte{1}), h256(zero, ccb(TPM_CC_PolicyDuplicationSelect), name, name, []byte{1}), false},
		{TPM_CC_PolicyDuplicationSelect, join(b2(name), b2(name), []byte{0}), h256(zero, ccb(TPM_CC_PolicyDuplicationSelect), name, []byte{0}), false},
		{TPM_CC_PolicyPCR, join(b2(nil), pcrs), h256(zero, ccb(TPM_CC_PolicyPCR), pcrs, noPCR), false},
		{TPM_CC_PolicyPCR, join(b2(noPCR), pcrs), h256(zero, ccb(TPM_CC_PolicyPCR), pcrs, noPCR), false},
		{TPM_CC_PolicyPCR, join(b2(some), pcrs), h256(zero, ccb(TPM_CC_PolicyPCR), pcrs, some), true},
		{TPM_CC_PolicyTransportSPDM, join(b2(nil), b2(nil)), h256(zero, ccb(TPM_CC_PolicyTransportSPDM)), false},
		{TPM_CC_PolicyTransportSPDM, join(b2(name), b2(nil)),
			h256(zero, ccb(TPM_CC_PolicyTransportSPDM), h256(b2(name), b2(nil))), false},
		{TPM_CC_PolicyTransportSPDM, join(b2(nil), b2(name)),
			h256(zero, ccb(TPM_CC_PolicyTransportSPDM), h256(b2(nil), b2(name))), false},
		{TPM_CC_PolicyOR, join(u32(2), b2(some), b2(zero)), h256(zero, ccb(TPM_CC_PolicyOR), some, zero), false},
		{TPM_CC_PolicyOR, join(u32(2), b2(some), b2(some)), h256(zero, ccb(TPM_CC_PolicyOR), some, some), true},
		{TPM_CC_PolicyCounterTimer, join(b2(u64(0)), u16(0), u16(TPM_EO_UNSIGNED_GE)),
			h256(zero, ccb(TPM_CC_PolicyCounterTimer), h256(u64(0), u16(0), u16(TPM_EO_UNSIGNED_GE))), false},
		{TPM_CC_PolicyCounterTimer, join(b2(u64(1<<60)), u16(0), u16(TPM_EO_UNSIGNED_GT)),
			h256(zero, ccb(TPM_CC_PolicyCounterTimer), h256(u64(1<<60), u16(0), u16(TPM_EO_UNSIGNED_GT))), true},
		{TPM_CC_PolicyAuthorize, join(b2(some), b2([]byte("ref")), b2(name), u16(uint16(TPM_ST_VERIFIED)), rh(TPM_RH_NULL), b2(nil)),
			h256(h256(zero, ccb(TPM_CC_PolicyAuthorize), name), []byte("ref")), true},
	} {
		for _, kind := range []sessionKind{TPM_SE_TRIAL, TPM_SE_POLICY} {
			x := newTestTPM(t)
			s := x.startSession(kind, symNull)
			if kind == TPM_SE_POLICY && c.trial {
				x.unchanged(func() {
					if r := x.cmd(c.cc, handles(s), c.params); r.rc == TPM_RC_SUCCESS {
						t.Errorf("0x%x holds in a real session", c.cc)
					}
				})
				continue
			}
			x.ok(x.cmd(c.cc, handles(s), c.params))
			if got := x.policyDigest(s); !bytes.Equal(got, c.want) {
				t.Errorf("0x%x, session kind %d: %x, want %x", c.cc, kind, got, c.want)
			}
			x.ok(x.cmd(TPM_CC_PolicyRestart, handles(s)))
			if got := x.policyDigest(s); !bytes.Equal(got, zero) {
				t.Errorf("0x%x: %x after PolicyRestart", c.cc, got)
			}
		}
	}
}

// TestPolicyErrors: first commands set the scene, the last one must fail.
func TestPolicyErrors(t *testing.T) {
	some, other := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	type cmd struct {
		cc     CC
		params []byte
	}
	badSel := join(u32(1), u16(uint16(TPM_ALG_SHA256)), []byte{2, 0, 0})
	for name, c := range map[string]struct {
		before []cmd
		last   cmd
		rc     RC
	}{
		"OR without a match":     {nil, cmd{TPM_CC_PolicyOR, join(u32(2), b2(some), b2(other))}, TPM_RC_VALUE.Param(1)},
		"OR of one":              {nil, cmd{TPM_CC_PolicyOR, join(u32(1), b2(some))}, TPM_RC_SIZE.Param(1)},
		"OR of nine":             {nil, cmd{TPM_CC_PolicyOR, join(u32(9), bytes.Repeat(b2(some), 9))}, TPM_RC_SIZE.Param(1)},
		"other PCR digest":       {nil, cmd{TPM_CC_PolicyPCR, join(b2(some), u32(0))}, TPM_RC_VALUE.Param(1)},
		"PCR selection size":     {nil, cmd{TPM_CC_PolicyPCR, join(b2(nil), badSel)}, TPM_RC_VALUE.Param(2)},
		"no locality":            {nil, cmd{TPM_CC_PolicyLocality, []byte{0}}, TPM_RC_RANGE.Param(1)},
		"disjoint localities":    {[]cmd{{TPM_CC_PolicyLocality, []byte{1}}}, cmd{TPM_CC_PolicyLocality, []byte{2}}, TPM_RC_RANGE.Param(1)},
		"extended locality":      {[]cmd{{TPM_CC_PolicyLocality, []byte{1}}}, cmd{TPM_CC_PolicyLocality, []byte{40}}, TPM_RC_RANGE.Param(1)},
		"two command codes":      {[]cmd{{TPM_CC_PolicyCommandCode, ccb(TPM_CC_NV_Read)}}, cmd{TPM_CC_PolicyCommandCode, ccb(TPM_CC_NV_Write)}, TPM_RC_VALUE.Param(1)},
		"unknown command":        {nil, cmd{TPM_CC_PolicyCommandCode, u32(0x7fff)}, TPM_RC_POLICY_CC.Param(1)},
		"short cpHash":           {nil, cmd{TPM_CC_PolicyCpHash, b2(some[:20])}, TPM_RC_SIZE.Param(1)},
		"second cpHash":          {[]cmd{{TPM_CC_PolicyCpHash, b2(some)}}, cmd{TPM_CC_PolicyCpHash, b2(other)}, TPM_RC_CPHASH},
		"cpHash after nameHash":  {[]cmd{{TPM_CC_PolicyNameHash, b2(some)}}, cmd{TPM_CC_PolicyCpHash, b2(some)}, TPM_RC_CPHASH},
		"nameHash after cpHash":  {[]cmd{{TPM_CC_PolicyCpHash, b2(some)}}, cmd{TPM_CC_PolicyNameHash, b2(some)}, TPM_RC_CPHASH},
		"short nameHash":         {nil, cmd{TPM_CC_PolicyNameHash, b2(nil)}, TPM_RC_SIZE.Param(1)},
		"second template":        {[]cmd{{TPM_CC_PolicyTemplate, b2(some)}}, cmd{TPM_CC_PolicyTemplate, b2(other)}, TPM_RC_VALUE.Param(1)},
		"template after cpHash":  {[]cmd{{TPM_CC_PolicyCpHash, b2(some)}}, cmd{TPM_CC_PolicyTemplate, b2(some)}, TPM_RC_CPHASH},
		"short template":         {nil, cmd{TPM_CC_PolicyTemplate, b2(some[:1])}, TPM_RC_SIZE.Param(1)},
		"duplication, bound":     {[]cmd{{TPM_CC_PolicyCpHash, b2(some)}}, cmd{TPM_CC_PolicyDuplicationSelect, join(b2(some), b2(some), []byte{0})}, TPM_RC_CPHASH},
		"duplication, other CC":  {[]cmd{{TPM_CC_PolicyCommandCode, ccb(TPM_CC_NV_Read)}}, cmd{TPM_CC_PolicyDuplicationSelect, join(b2(some), b2(some), []byte{0})}, TPM_RC_COMMAND_CODE},
		"written and not":        {[]cmd{{TPM_CC_PolicyNvWritten, []byte{1}}}, cmd{TPM_CC_PolicyNvWritten, []byte{0}}, TPM_RC_VALUE.Param(1)},
		"time not reached":       {nil, cmd{TPM_CC_PolicyCounterTimer, join(b2(u64(1<<60)), u16(0), u16(TPM_EO_UNSIGNED_GT))}, TPM_RC_POLICY},
		"time info overflow":     {nil, cmd{TPM_CC_PolicyCounterTimer, join(b2(u64(0)), u16(20), u16(TPM_EO_EQ))}, TPM_RC_RANGE},
		"time info offset":       {nil, cmd{TPM_CC_PolicyCounterTimer, join(b2(nil), u16(26), u16(TPM_EO_EQ))}, TPM_RC_VALUE.Param(2)},
		"time info operation":    {nil, cmd{TPM_CC_PolicyCounterTimer, join(b2(nil), u16(0), u16(12))}, TPM_RC_VALUE.Param(3)},
		"authorize another":      {nil, cmd{TPM_CC_PolicyAuthorize, join(b2(some), b2(nil), b2(append([]byte{0, 11}, some...)), u16(uint16(TPM_ST_VERIFIED)), rh(TPM_RH_OWNER), b2(some))}, TPM_RC_VALUE.Param(1)},
		"authorize, bad ticket":  {nil, cmd{TPM_CC_PolicyAuthorize, join(b2(make([]byte, 32)), b2(nil), b2(append([]byte{0, 11}, some...)), u16(uint16(TPM_ST_VERIFIED)), rh(TPM_RH_OWNER), b2(some))}, TPM_RC_VALUE.Param(4)},
		"authorize, no hash":     {nil, cmd{TPM_CC_PolicyAuthorize, join(b2(nil), b2(nil), b2(append([]byte{0, 6}, some...)), u16(uint16(TPM_ST_VERIFIED)), rh(TPM_RH_NULL), b2(nil))}, TPM_RC_HASH.Param(3)},
		"authorize, short Name":  {nil, cmd{TPM_CC_PolicyAuthorize, join(b2(nil), b2(nil), b2(append([]byte{0, 11}, some[:8]...)), u16(uint16(TPM_ST_VERIFIED)), rh(TPM_RH_NULL), b2(nil))}, TPM_RC_SIZE.Param(3)},
		"authorize, other tag":   {nil, cmd{TPM_CC_PolicyAuthorize, join(b2(nil), b2(nil), b2(append([]byte{0, 11}, some...)), u16(uint16(TPM_ST_CREATION)), rh(TPM_RH_NULL), b2(nil))}, TPM_RC_TAG.Param(4)},
		"ticket of ours, forged": {nil, cmd{TPM_CC_PolicyTicket, join(b2(u64(0)), b2(nil), b2(nil), b2(some), u16(uint16(TPM_ST_AUTH_SECRET)), rh(TPM_RH_OWNER), b2(some))}, TPM_RC_TICKET.Param(5)},
		"ticket, short timeout":  {nil, cmd{TPM_CC_PolicyTicket, join(b2(u32(0)), b2(nil), b2(nil), b2(some), u16(uint16(TPM_ST_AUTH_SECRET)), rh(TPM_RH_OWNER), b2(some))}, TPM_RC_SIZE.Param(1)},
		"more parameters":        {nil, cmd{TPM_CC_PolicyAuthValue, []byte{0}}, TPM_RC_SIZE},
	} {
		x := newTestTPM(t)
		s := x.startSession(TPM_SE_POLICY, symNull)
		for _, b := range c.before {
			x.ok(x.cmd(b.cc, handles(s), b.params))
		}
		x.unchanged(func() {
			if r := x.cmd(c.last.cc, handles(s), c.last.params); r.rc != c.rc {
				t.Errorf("%s: %v, want %v", name, r.rc, c.rc)
			}
		})
	}
}

func TestPolicyPCRChanged(t *testing.T) {
	x := newTestTPM(t)
	s := x.startSession(TPM_SE_POLICY, symNull)
	x.ok(x.cmd(TPM_CC_PolicyPCR, handles(s), b2(nil), u32(0)))
	x.ok(x.cmdS(TPM_CC_PCR_Event, handles(1), pw(""), b2(nil)))
	x.want(x.cmd(TPM_CC_PolicyPCR, handles(s), b2(nil), u32(0)), TPM_RC_PCR_CHANGED)
}

func TestPolicyNV(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "pass", nvNoDA, 8)
	s, trial := x.startSession(TPM_SE_POLICY, symNull), x.startSession(TPM_SE_TRIAL, symNull)
	nv := func(s Handle, auth string, operand []byte, offset, op uint16) response {
		return x.cmdS(TPM_CC_PolicyNV, handles(testIndex, testIndex, s), pw(auth), b2(operand), u16(offset), u16(op))
	}
	x.want(nv(s, "pass", []byte{1}, 0, TPM_EO_EQ), TPM_RC_NV_UNINITIALIZED)
	x.ok(nv(trial, "pass", []byte{1}, 0, TPM_EO_EQ))
	x.ok(x.writeIndex(testIndex, "pass", hx("8001020304050607")))
	for _, c := range []struct {
		operand string
		offset  uint16
		op      uint16
		holds   bool
	}{
		{"80010203", 0, TPM_EO_EQ, true}, {"01020304", 1, TPM_EO_EQ, true}, {"80010204", 0, TPM_EO_EQ, false},
		{"00", 0, TPM_EO_NEQ, true}, {"80", 0, TPM_EO_NEQ, false},
		{"7f", 0, TPM_EO_UNSIGNED_GT, true}, {"7f", 0, TPM_EO_SIGNED_GT, false}, {"7f", 0, TPM_EO_SIGNED_LT, true}, {"7f", 0, TPM_EO_UNSIGNED_LT, false},
		{"8001", 0, TPM_EO_UNSIGNED_GE, true}, {"8002", 0, TPM_EO_UNSIGNED_GE, false}, {"8002", 0, TPM_EO_UNSIGNED_LE, true},
		{"8001", 0, TPM_EO_SIGNED_GE, true}, {"8001", 0, TPM_EO_SIGNED_LE, true}, {"8000", 0, TPM_EO_SIGNED_LE, false},
		{"04", 4, TPM_EO_BITSET, true}, {"05", 4, TPM_EO_BITSET, false}, {"03", 4, TPM_EO_BITCLEAR, true}, {"05", 4, TPM_EO_BITCLEAR, false},
		{"", 8, TPM_EO_EQ, true},
	} {
		want := TPM_RC_POLICY
		if c.holds {
			want = TPM_RC_SUCCESS
		}
		if r := nv(s, "pass", hx(c.operand), c.offset, c.op); r.rc != want {
			t.Errorf("%s at %d, operation %d: %v, want %v", c.operand, c.offset, c.op, r.rc, want)
		}
	}
	x.unchanged(func() {
		x.want(nv(s, "pass", hx("00"), 8, TPM_EO_EQ), TPM_RC_NV_RANGE)
		x.want(nv(s, "wrong", hx("80"), 0, TPM_EO_EQ), TPM_RC_BAD_AUTH.Session(1))
		x.want(nv(s, "pass", hx("80"), 0, 99), TPM_RC_VALUE.Param(3))
	})
	x.ok(x.cmd(TPM_CC_PolicyRestart, handles(s)))
	x.ok(nv(s, "pass", hx("80"), 0, TPM_EO_EQ))
	want := h256(make([]byte, 32), ccb(TPM_CC_PolicyNV), h256(hx("80"), u16(0), u16(TPM_EO_EQ)), x.nvName(x.nvFind(testIndex)))
	if got := x.policyDigest(s); !bytes.Equal(got, want) {
		t.Errorf("digest %x, want %x", got, want)
	}
}

func TestPolicyAuthorizeNV(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "", nvNoDA, 40)
	s := x.startSession(TPM_SE_POLICY, symNull)
	x.ok(x.cmd(TPM_CC_PolicyAuthValue, handles(s)))
	run := func() response {
		return x.cmdS(TPM_CC_PolicyAuthorizeNV, handles(testIndex, testIndex, s), pw(""))
	}
	x.want(run(), TPM_RC_NV_UNINITIALIZED)
	for _, c := range []struct {
		data []byte
		rc   RC
	}{
		{join(u16(6), make([]byte, 38)), TPM_RC_HASH},
		{join(u16(uint16(TPM_ALG_SHA512)), make([]byte, 38)), TPM_RC_INSUFFICIENT},
		{join(u16(uint16(TPM_ALG_SHA1)), make([]byte, 38)), TPM_RC_HASH},
		{join(u16(uint16(TPM_ALG_SHA256)), make([]byte, 38)), TPM_RC_VALUE},
	} {
		x.ok(x.writeIndex(testIndex, "", c.data))
		x.unchanged(func() { x.want(run(), c.rc) })
	}
	x.ok(x.writeIndex(testIndex, "", join(u16(uint16(TPM_ALG_SHA256)), x.policyDigest(s))))
	x.ok(run())
	want := h256(make([]byte, 32), ccb(TPM_CC_PolicyAuthorizeNV), x.nvName(x.nvFind(testIndex)))
	if got := x.policyDigest(s); !bytes.Equal(got, want) {
		t.Errorf("digest %x, want %x", got, want)
	}
}

// TestPolicySecretTicket: a ticket stands for the authorization until it expires.
func TestPolicySecretTicket(t *testing.T) {
	x := newTestTPM(t)
	x.ok(x.hierOp(TPM_CC_HierarchyChangeAuth, TPM_RH_OWNER, "", b2([]byte("own"))))
	secret := func(s Handle, auth string, nonce, cpHash []byte, seconds int32) response {
		return x.cmdS(TPM_CC_PolicySecret, handles(TPM_RH_OWNER, s), pw(auth), b2(nonce), b2(cpHash), b2([]byte("ref")), u32(uint32(seconds)))
	}
	some := bytes.Repeat([]byte{7}, 32)
	s := x.startSession(TPM_SE_POLICY, symNull)
	nonce := bytes.Clone(x.session(s).nonceTPM.bytes())
	x.unchanged(func() {
		x.want(secret(s, "wrong", nil, nil, 0), TPM_RC_BAD_AUTH.Session(1))
		x.want(secret(s, "own", some[:16], nil, 0), TPM_RC_NONCE.Param(1))
		x.want(secret(s, "own", nil, some[:9], 0), TPM_RC_SIZE.Param(2))
	})
	want := h256(h256(make([]byte, 32), ccb(TPM_CC_PolicySecret), rh(TPM_RH_OWNER)), []byte("ref"))
	r := x.ok(secret(s, "own", nonce, some, -60)).reader()
	timeout, ticket := bytes.Clone(r.b2(8)), r.ticket(TPM_ST_AUTH_SECRET)
	ticket.Digest = bytes.Clone(ticket.Digest)
	if got := x.policyDigest(s); !bytes.Equal(got, want) || len(timeout) != 8 || ticket.Hierarchy != TPM_RH_OWNER {
		t.Fatalf("digest %x, timeout %x, ticket %+v", got, timeout, ticket)
	}
	use := func(s Handle, cpHash, ref []byte) response {
		return x.cmd(TPM_CC_PolicyTicket, handles(s), b2(timeout), b2(cpHash), b2(ref), b2(rh(TPM_RH_OWNER)),
			marshal(100, func(w *writer) { w.ticket(&ticket) }))
	}
	s2 := x.startSession(TPM_SE_POLICY, symNull)
	x.unchanged(func() {
		x.want(use(s2, nil, []byte("ref")), TPM_RC_TICKET.Param(5)) // the ticket is for one command
		x.want(use(s2, some, []byte("other")), TPM_RC_TICKET.Param(5))
		x.want(use(x.startSession(TPM_SE_TRIAL, symNull), some, []byte("ref")), TPM_RC_ATTRIBUTES.Handle(1))
		x.ok(x.cmd(TPM_CC_FlushContext, rh(x.lastSession())))
	})
	x.ok(use(s2, some, []byte("ref")))
	if got := x.policyDigest(s2); !bytes.Equal(got, want) {
		t.Errorf("digest by ticket %x, want %x", got, want)
	}
	if p := &x.session(s2).policy; p.timeout == 0 || p.binding != bindCpHash {
		t.Errorf("session %+v", p)
	}
	x.now += 61_000
	s3 := x.startSession(TPM_SE_POLICY, symNull)
	x.want(use(s3, some, []byte("ref")), TPM_RC_EXPIRED.Param(1))
	// Without a negative expiration there is no ticket.
	r = x.ok(secret(s3, "own", nil, nil, 0)).reader()
	if b := r.b2(8); len(b) != 0 || r.ticket(TPM_ST_AUTH_SECRET).Hierarchy != TPM_RH_NULL {
		t.Error("a ticket that nobody asked for")
	}
}

// lastSession returns the handle of the policy session in the highest slot.
func (x *testTPM) lastSession() (h Handle) {
	for i := range x.ram.sessions {
		if s := x.ram.sessions[i].s; s != nil {
			h = s.handle
		}
	}
	return h
}
