package tpm2

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// checkResponse checks the form of a response, and that a command that failed
// changed nothing but the dictionary attack state.
func checkResponse(t *testing.T, x *testTPM, cmd, rsp, before []byte) {
	if len(rsp) < headerSize || binary.BigEndian.Uint32(rsp[2:]) != uint32(len(rsp)) || len(rsp) > maxResponseSize {
		t.Fatalf("malformed response % x to % x", rsp, cmd)
	}
	if x.Failed() {
		t.Fatalf("failure mode after % x", cmd)
	}
	rc := RC(binary.BigEndian.Uint32(rsp[6:]))
	if rc == TPM_RC_SUCCESS {
		return
	}
	if len(rsp) != headerSize {
		t.Fatalf("error response of %d octets", len(rsp))
	}
	if before == nil || rc.Base() == TPM_RC_AUTH_FAIL || x.daMoved {
		return
	}
	if !bytes.Equal(before, x.snapshot()) {
		t.Fatalf("%v, but the state changed: % x", rc, cmd)
	}
}

// FuzzCommand feeds one raw command to a TPM with something in every part of
// its state.
func FuzzCommand(f *testing.F) {
	for _, c := range seedCommands(f) {
		f.Add(uint8(0), c)
	}
	f.Fuzz(func(t *testing.T, loc uint8, cmd []byte) {
		x := fullTPM(quiet{t})
		before := x.snapshot()
		rsp := x.Execute(loc, cmd, x.buf[:])
		checkResponse(t, x, cmd, rsp, before)
	})
}

// quiet is a testing.TB that does not log: fuzzing makes millions of lines.
type quiet struct{ *testing.T }

func (quiet) Logf(string, ...any) {}

// seedCommands returns well-formed commands for the fuzzers.
func seedCommands(f testing.TB) [][]byte {
	tpl := eccTemplate(attrsStorage)
	create := createParams("auth", nil, tpl)
	list := [][]byte{
		frame(TPM_ST_NO_SESSIONS, TPM_CC_Startup, u16(0)),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_Shutdown, u16(1)),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_SelfTest, []byte{1}),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_GetCapability, join(u32(TPM_CAP_HANDLES), u32(0x01000000), u32(99))),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_GetTestResult, nil),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_ReadPublic, handles(TRANSIENT_FIRST)),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_FlushContext, handles(TRANSIENT_FIRST)),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_NV_ReadPublic, handles(testIndex)),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_StartAuthSession, join(handles(TPM_RH_NULL, TPM_RH_NULL), b2(make([]byte, 16)), b2(nil), []byte{1}, symAES128, u16(11))),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_StirRandom, b2([]byte("noise"))),
		frame(TPM_ST_SESSIONS, TPM_CC_CreatePrimary, join(handles(TPM_RH_NULL), pw(""), create)),
		frame(TPM_ST_SESSIONS, TPM_CC_NV_DefineSpace, join(handles(TPM_RH_OWNER), pw("o"), nvDefine(testIndex+5, nvOwnerRead|nvOwnerWrite, 9))),
		frame(TPM_ST_SESSIONS, TPM_CC_NV_UndefineSpace, join(handles(TPM_RH_OWNER, testIndex), pw("o"))),
		frame(TPM_ST_SESSIONS, TPM_CC_NV_Write, join(handles(testIndex, testIndex), pw("pass"), b2([]byte("x")), u16(3))),
		frame(TPM_ST_SESSIONS, TPM_CC_NV_Read, join(handles(testIndex, testIndex), pw("pass"), u16(8), u16(0))),
		frame(TPM_ST_SESSIONS, TPM_CC_PCR_Event, join(handles(1), pw(""), b2([]byte("event")))),
		frame(TPM_ST_SESSIONS, TPM_CC_PCR_Reset, join(handles(16), pw(""))),
		frame(TPM_ST_SESSIONS, TPM_CC_GetRandom, join(area(sess(HMAC_SESSION_FIRST, make([]byte, 16), sessEncrypt, nil)), u16(9))),
		frame(TPM_ST_SESSIONS, TPM_CC_Create, join(handles(TRANSIENT_FIRST), pw("auth"), createParams("", nil, eccTemplate(attrsSign)))),
		frame(TPM_ST_SESSIONS, TPM_CC_CreateLoaded, join(handles(TRANSIENT_FIRST), pw("auth"), loadedParams("", []byte("data"), sealedTemplate(nil)))),
		frame(TPM_ST_SESSIONS, TPM_CC_ObjectChangeAuth, join(handles(TRANSIENT_FIRST, TRANSIENT_FIRST), pw("auth"), b2([]byte("new")))),
		frame(TPM_ST_SESSIONS, TPM_CC_EvictControl, join(handles(TPM_RH_OWNER, TRANSIENT_FIRST), pw("o"), u32(0x81000002))),
		frame(TPM_ST_SESSIONS, TPM_CC_ActivateCredential, join(handles(TRANSIENT_FIRST, TRANSIENT_FIRST), pw("auth", "auth"), b2(make([]byte, 68)), b2(make([]byte, 68)))),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_MakeCredential, join(handles(TRANSIENT_FIRST), b2(make([]byte, 32)), b2(make([]byte, 34)))),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_ContextSave, handles(TRANSIENT_FIRST)),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_ContextLoad, join(u64(1), handles(savedObject, TPM_RH_OWNER), b2(make([]byte, 300)))),
		frame(TPM_ST_SESSIONS, TPM_CC_Rewrap, join(handles(TPM_RH_NULL, TRANSIENT_FIRST), pw(""), b2(make([]byte, 100)), b2(make([]byte, 34)), b2(nil))),
		frame(TPM_ST_SESSIONS, TPM_CC_CreatePrimary, join(handles(TPM_RH_NULL), pw(""), createParams("", nil, mldsaTemplate(set44, attrsSign, true)))),
		frame(TPM_ST_SESSIONS, TPM_CC_CreateLoaded, join(handles(TRANSIENT_FIRST), pw("auth"), loadedParams("", nil, hashMLDSATemplate(set65, attrsSign, TPM_ALG_SHA256)))),
		frame(TPM_ST_SESSIONS, TPM_CC_CreatePrimary, join(handles(TPM_RH_OWNER), pw("o"), createParams("", nil, mlkemTemplate(set768, attrsStorage)))),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_Encapsulate, handles(TRANSIENT_FIRST+2)),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_SignSequenceStart, join(handles(TRANSIENT_FIRST+2), b2([]byte("a")), b2([]byte("context")))),
		frame(TPM_ST_SESSIONS, TPM_CC_SignSequenceComplete, join(handles(TRANSIENT_FIRST+3, TRANSIENT_FIRST+2), pw("a", ""), b2([]byte("message")))),
		frame(TPM_ST_SESSIONS, TPM_CC_SignDigest, join(handles(TRANSIENT_FIRST+2), pw(""), b2(nil), b2(make([]byte, 64)), nullTicket(TPM_ST_HASHCHECK))),
		frame(TPM_ST_NO_SESSIONS, TPM_CC_VerifyDigestSignature, join(handles(TRANSIENT_FIRST+2), b2(nil), b2(make([]byte, 64)), sigBytes(TPMT_SIGNATURE{Alg: TPM_ALG_MLDSA, R: make([]byte, 2420)}))),
		frame(TPM_ST_SESSIONS, TPM_CC_Quote, join(handles(TRANSIENT_FIRST+2), pw(""), b2(nil), u16(uint16(TPM_ALG_NULL)), selectPCR(TPM_ALG_SHA256, 0))),
		pcrReadCmd(), pcrExtendCmd(TPM_ALG_SHA256), getRandomCmd(32),
	}
	return list
}

// FuzzSequence runs a sequence of commands that are mostly well-formed, on
// state that lives on: the input picks command, handles, sessions and gives
// the parameters.
func FuzzSequence(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7})
	f.Add(bytes.Repeat([]byte{7, 0, 0, 4, 1, 2, 3, 4}, 20))
	for i, c := range seedCommands(f) {
		f.Add(append([]byte{byte(i), 0, 1, byte(len(c) - headerSize)}, c[headerSize:]...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		x := fullTPM(quiet{t})
		p := program{x: x, in: in}
		for steps := 0; len(p.in) > 0 && steps < 200; steps++ {
			p.step(t)
		}
	})
}

// program makes commands of fuzz input.
type program struct {
	x  *testTPM
	in []byte
}

func (p *program) take() byte {
	if len(p.in) == 0 {
		return 0
	}
	b := p.in[0]
	p.in = p.in[1:]
	return b
}

func (p *program) takeN(n int) []byte {
	n = min(n, len(p.in))
	b := p.in[:n]
	p.in = p.in[n:]
	return b
}

// step runs one command, or turns the power off and on.
func (p *program) step(t *testing.T) {
	x := p.x
	op := p.take()
	switch op {
	case 0xFF:
		x.reboot()
		x.start(uint16(p.take() & 1))
		x.start(TPM_SU_CLEAR)
		return
	case 0xFE:
		x.now += int64(p.take()) << 14
		return
	}
	list := x.commandList()
	d := list[int(op)%len(list)]
	body, tag := p.body(d)
	cmd := frame(tag, d.cc, body)
	x.daMoved = false
	x.tick()
	tries := x.perm.failedTries
	before := x.snapshot()
	rsp := x.Execute(p.take()&3, cmd, x.buf[:])
	x.daMoved = x.perm.failedTries != tries
	checkResponse(t, x, cmd, rsp, before)
}

// body returns handles that exist, sessions that they need and parameters.
func (p *program) body(d *command) ([]byte, ST) {
	var body []byte
	for range d.handles {
		body = append(body, u32(uint32(p.pickHandle()))...)
	}
	tag := TPM_ST_NO_SESSIONS
	if roles := d.roles(); roles > 0 {
		tag = TPM_ST_SESSIONS
		auths := []string{"", "pass", "auth", "o", "l"}
		var use []string
		for range roles {
			use = append(use, auths[int(p.take())%len(auths)])
		}
		body = append(body, pw(use...)...)
	} else if b := p.take(); b&1 != 0 && d.flags&fNoSessions == 0 {
		tag = TPM_ST_SESSIONS
		body = append(body, area(sess(HMAC_SESSION_FIRST+Handle(b>>6), make([]byte, 16), b&0xE1, nil))...)
	}
	return append(body, p.takeN(int(p.take()))...), tag
}

func (p *program) pickHandle() Handle {
	b := p.take()
	fixed := []Handle{TPM_RH_OWNER, TPM_RH_NULL, TPM_RH_PLATFORM, TPM_RH_ENDORSEMENT, TPM_RH_LOCKOUT,
		testIndex, testIndex + 1, 0x81000001, 16, 0, HMAC_SESSION_FIRST, POLICY_SESSION_FIRST + 1, TPM_RH_ACT_0}
	if b < 0x80 {
		return fixed[int(b)%len(fixed)]
	}
	return TRANSIENT_FIRST + Handle(b%(maxObjects+1))
}

// FuzzRestore restores arbitrary permanent state; what is accepted must be
// usable and save to something that restores to the same.
func FuzzRestore(f *testing.F) {
	x := fullTPM(f)
	f.Add(bytes.Clone(x.blob[stateHeader:]))
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	f.Add(bytes.Clone(x.blob[stateHeader:]))
	f.Add(newRawTPM(f).blob[stateHeader:])
	f.Fuzz(func(t *testing.T, body []byte) {
		blob := withHeader(kindPermanent, body)
		x := &testTPM{t: quiet{t}, now: 5}
		n, err := Restore(x.testConfig("fuzz"), blob)
		if err != nil {
			return
		}
		x.TPM, x.keepFail = n, true
		x.blob = nil
		x.touch()
		if err := x.flush(); err != nil {
			t.Fatal(err)
		}
		out := x.blob
		x.reboot()
		again, err := x.encodePermanent()
		if err != nil || !bytes.Equal(out, again) {
			t.Fatalf("saved again, the state differs: %v", err)
		}
		x.start(TPM_SU_STATE)
		x.start(TPM_SU_CLEAR)
		for _, c := range seedCommands(f)[1:] {
			x.Execute(0, c, x.buf[:])
		}
	})
}

// withHeader makes a saved state of a mutated body; TestDamagedState has what
// the header is checked for.
func withHeader(kind byte, body []byte) []byte {
	return join([]byte("XVT2"), []byte{kind, 0}, u16(stateVersion), u32(uint32(stateHeader+len(body))), u32(0), body)
}

// FuzzVolatile loads arbitrary volatile state, of a TPM that works and of one in failure mode; what
// is accepted can be saved and loaded again.
func FuzzVolatile(f *testing.F) {
	x := fullTPM(f)
	permanent := bytes.Clone(x.blob)
	for _, change := range []func(){func() {}, x.HashStart, func() { x.fail(TPM_RC_FAILURE, "for the test") }} {
		change()
		v, err := x.SaveVolatile()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(x.Failed(), v[stateHeader:])
	}
	f.Fuzz(func(t *testing.T, failed bool, body []byte) {
		kind := byte(kindVolatile)
		if failed {
			kind = kindFailed
		}
		x := &testTPM{t: quiet{t}, now: 5, keepFail: true}
		n, err := Restore(x.testConfig("fuzz"), permanent)
		if err != nil {
			t.Fatal(err)
		}
		x.TPM = n
		if x.LoadVolatile(withHeader(kind, body)) != nil {
			return
		}
		v, err := x.SaveVolatile()
		if err != nil {
			t.Fatal(err)
		}
		if err := x.LoadVolatile(v); err != nil || x.Failed() != failed {
			t.Fatalf("loaded again: %v, failed %v", err, x.Failed())
		}
		for _, c := range seedCommands(f) {
			x.Execute(0, c, x.buf[:])
		}
	})
}
