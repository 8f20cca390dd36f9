package tpm2

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// guess is a session whose key was made of a guess of bind's authValue, and what it is used for:
// it tells the guesser whether he was right, and has to be counted and locked for that.
type guess struct {
	x    *testTPM
	bind Handle
	role
}

// role is a way to use a session.
type role struct {
	kind   sessionKind
	second bool // after a password that authorizes
	try    func(c *client) response
}

// position is the number of the session in the command.
func (r role) position() int {
	if r.second {
		return 2
	}
	return 1
}

// start starts the session, with XOR as its cipher, and makes the key of value.
func (g guess) start(value string) *client {
	c := &client{x: g.x, caller: make([]byte, 16)}
	r := g.x.ok(g.x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, g.bind), b2(c.caller), b2(nil),
		[]byte{byte(g.kind)}, hx("000a 000b"), u16(uint16(TPM_ALG_SHA256))))
	c.h = r.handle
	c.nonceTPM = r.reader().b2(64)
	c.key = tpmcrypto.KDFa(TPM_ALG_SHA256, []byte(value), "ATH", c.nonceTPM, c.caller, 256)
	return c
}

// roles are the roles of a guessed session. Those that authorize do so for an index of the
// guesser's own, with a policy or authValue that he knows.
var roles = map[string]role{
	"audit":          {kind: TPM_SE_HMAC, try: func(c *client) response { return c.random(sessAudit) }},
	"encrypt":        {kind: TPM_SE_HMAC, try: func(c *client) response { return c.random(sessEncrypt) }},
	"decrypt":        {kind: TPM_SE_HMAC, try: (*client).stir},
	"policy encrypt": {kind: TPM_SE_POLICY, try: func(c *client) response { return c.random(sessEncrypt) }},
	"policy decrypt": {kind: TPM_SE_POLICY, try: (*client).stir},
	"trial encrypt":  {kind: TPM_SE_TRIAL, try: func(c *client) response { return c.random(sessEncrypt) }},
	"auth of another": {kind: TPM_SE_HMAC, try: func(c *client) response {
		return c.readOwn([]byte("own"))
	}},
	"policy of another": {kind: TPM_SE_POLICY, try: func(c *client) response {
		c.x.ok(c.x.cmd(TPM_CC_PolicyCommandCode, handles(c.h), u32(uint32(TPM_CC_NV_Read))))
		return c.readOwn(nil)
	}},
	"policy with the authValue of another": {kind: TPM_SE_POLICY, try: func(c *client) response {
		c.x.ok(c.x.cmd(TPM_CC_PolicyAuthValue, handles(c.h)))
		return c.readOwn([]byte("own"))
	}},
	"audit of a password": {kind: TPM_SE_HMAC, second: true, try: func(c *client) response {
		name := c.x.nvName(c.x.nvFind(ownIndex))
		params := join(u16(1), u16(0))
		a := c.area(TPM_CC_NV_Read, join(name, name), params, nil, sessContinue|sessAudit)
		both := join(pw("own")[4:], a[4:])
		return c.x.cmdS(TPM_CC_NV_Read, handles(ownIndex, ownIndex), join(u32(uint32(len(both))), both), params)
	}},
}

// ownIndex is the guesser's own, without DA protection; daIndex is what he is after.
const (
	ownIndex = testIndex
	daIndex  = testIndex + 1
)

func (c *client) random(attrs uint8) response {
	return c.x.cmdS(TPM_CC_GetRandom, nil, c.area(TPM_CC_GetRandom, nil, u16(8), nil, attrs|sessContinue), u16(8))
}

func (c *client) stir() response {
	data := b2([]byte("eight..."))
	return c.x.cmdS(TPM_CC_StirRandom, nil, c.area(TPM_CC_StirRandom, nil, data, nil, sessDecrypt|sessContinue), data)
}

func (c *client) readOwn(auth []byte) response {
	name := c.x.nvName(c.x.nvFind(ownIndex))
	params := join(u16(1), u16(0))
	return c.x.cmdS(TPM_CC_NV_Read, handles(ownIndex, ownIndex), c.area(TPM_CC_NV_Read, join(name, name), params, auth, sessContinue), params)
}

// guessLab has the index of the guesser, with the policy of the role, a DA protected index and
// lockoutAuth, both with the authValue "secret".
func guessLab(t *testing.T, role string) *testTPM {
	x := newTestTPM(t)
	step := join(u32(uint32(TPM_CC_PolicyCommandCode)), u32(uint32(TPM_CC_NV_Read)))
	if role == "policy with the authValue of another" {
		step = u32(uint32(TPM_CC_PolicyAuthValue))
	}
	p := TPMS_NV_PUBLIC{Index: ownIndex, NameAlg: TPM_ALG_SHA256, DataSize: 8,
		Attributes: nvNoDA | nvAuthRead | nvAuthWrite | nvPolicyRead,
		AuthPolicy: tpmcrypto.Sum(TPM_ALG_SHA256, make([]byte, 32), step)}
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), b2([]byte("own")), marshal(100, func(w *writer) { w.nvPublic2B(&p) })))
	x.ok(x.writeIndex(ownIndex, "own", []byte("known...")))
	x.defineIndex(daIndex, "secret", 0, 8)
	x.ok(x.cmdS(TPM_CC_HierarchyChangeAuth, handles(TPM_RH_LOCKOUT), pw(""), b2([]byte("secret"))))
	return x
}

// ask makes a session of the guess and uses it.
func (g guess) ask(value string) RC {
	c := g.start(value)
	defer g.x.flushSession(c.h)
	return g.try(c).rc
}

// TestBoundGuess: a wrong guess in any role is a failed try, durable when it is answered; and in
// lockout no guess is answered, a right one neither. It ends with the lockout.
func TestBoundGuess(t *testing.T) {
	for role, r := range roles {
		for _, bind := range []Handle{daIndex, TPM_RH_LOCKOUT} {
			t.Run(fmt.Sprintf("%s, bound to 0x%x", role, bind), func(t *testing.T) {
				x := guessLab(t, role)
				g := guess{x: x, bind: bind, role: r}
				if rc := g.ask("secret"); rc != TPM_RC_SUCCESS {
					t.Fatalf("right guess: %v", rc)
				}
				tries := defaultMaxTries
				if bind == TPM_RH_LOCKOUT {
					tries = 1
				}
				for i := range tries {
					saves := x.saves
					if rc := g.ask("guess"); rc != TPM_RC_AUTH_FAIL.Session(r.position()) {
						t.Errorf("guess %d: %v", i+1, rc)
					}
					if x.saves != saves+1 {
						t.Errorf("guess %d: written %d times", i+1, x.saves-saves)
					}
				}
				saves := x.saves
				for _, value := range []string{"guess", "secret"} {
					if rc := g.ask(value); rc != TPM_RC_LOCKOUT {
						t.Errorf("%q in lockout: %v", value, rc)
					}
				}
				if x.saves != saves {
					t.Error("written in lockout")
				}
				x.now += 1000 * int64(defaultMaxTries*defaultRecoveryTime+defaultLockoutRecovery)
				if rc := g.ask("secret"); rc != TPM_RC_SUCCESS {
					t.Errorf("right guess after the lockout: %v", rc)
				}
			})
		}
	}
}

// TestBoundGuessOther: sessions bound to what has no DA protection, and what the lockout is not
// about, go on in it.
func TestBoundGuessOther(t *testing.T) {
	x := guessLab(t, "auth of another")
	role := roles["encrypt"]
	ask := func(bind Handle, value string) RC { return guess{x: x, bind: bind, role: role}.ask(value) }
	for range defaultMaxTries {
		ask(daIndex, "guess")
	}
	for bind, value := range map[Handle]string{ownIndex: "own", TPM_RH_OWNER: "", TPM_RH_LOCKOUT: "secret"} {
		if rc := ask(bind, value); rc != TPM_RC_SUCCESS {
			t.Errorf("bound to 0x%x in lockout: %v", bind, rc)
		}
	}
	x.ok(x.cmdS(TPM_CC_DictionaryAttackLockReset, handles(TPM_RH_LOCKOUT), pw("secret")))
	ask(TPM_RH_LOCKOUT, "guess")
	if rc := ask(daIndex, "secret"); rc != TPM_RC_SUCCESS {
		t.Errorf("bound to an index while lockoutAuth is blocked: %v", rc)
	}
}

// TestBoundGuessOfTwo: a session bound to one thing that authorizes lockoutAuth guesses both.
func TestBoundGuessOfTwo(t *testing.T) {
	x := guessLab(t, "auth of another")
	c := guess{x: x, bind: daIndex, role: role{kind: TPM_SE_HMAC}}.start("guess")
	a := c.area(TPM_CC_DictionaryAttackLockReset, handles(TPM_RH_LOCKOUT), nil, []byte("secret"), sessContinue)
	x.want(x.cmdS(TPM_CC_DictionaryAttackLockReset, handles(TPM_RH_LOCKOUT), a), TPM_RC_AUTH_FAIL.Session(1))
	if x.perm.failedTries != 1 || !x.perm.lockoutAuthBad {
		t.Errorf("failedTries %d, lockoutAuth blocked %v", x.perm.failedTries, x.perm.lockoutAuthBad)
	}
}

// TestPasswordPolicyGuess: a policy session with TPM2_PolicyPassword does not prove its key, so that
// it neither encrypts nor decrypts under one made of a DA protected authValue. It may under
// another, and it may authorize.
func TestPasswordPolicyGuess(t *testing.T) {
	x := guessLab(t, "policy with the authValue of another")
	for _, tt := range []struct {
		bind  Handle
		attrs uint8
		want  RC
	}{
		{daIndex, sessEncrypt, TPM_RC_ATTRIBUTES.Session(1)},
		{TPM_RH_LOCKOUT, sessEncrypt, TPM_RC_ATTRIBUTES.Session(1)},
		{daIndex, 0, TPM_RC_SUCCESS},
		{ownIndex, sessEncrypt, TPM_RC_SUCCESS},
	} {
		c := guess{x: x, bind: tt.bind, role: role{kind: TPM_SE_POLICY}}.start("guess")
		x.ok(x.cmd(TPM_CC_PolicyPassword, handles(c.h)))
		r := x.cmdS(TPM_CC_NV_Read, handles(ownIndex, ownIndex), area(sess(c.h, c.caller, tt.attrs|sessContinue, []byte("own"))), u16(1), u16(0))
		if r.rc != tt.want {
			t.Errorf("bound to 0x%x, attributes 0x%x: %v, want %v", tt.bind, tt.attrs, r.rc, tt.want)
		}
		x.flushSession(c.h)
	}
	if x.perm.failedTries != 0 || x.perm.lockoutAuthBad {
		t.Error("a try was counted")
	}
}

// TestPolicyKeyInLockout: the authValue of what a policy session authorizes is in the key of
// encrypted parameters, needed by the policy or not; in lockout that is refused too.
func TestPolicyKeyInLockout(t *testing.T) {
	x := guessLab(t, "policy of another")
	x.nvFind(ownIndex).pub.Attributes &^= nvNoDA
	x.nvFind(ownIndex).nameOK = false
	x.perm.failedTries = x.perm.maxTries
	read := func(attrs uint8) RC {
		c := guess{x: x, bind: TPM_RH_NULL, role: role{kind: TPM_SE_POLICY}}.start("")
		defer x.flushSession(c.h)
		x.ok(x.cmd(TPM_CC_PolicyCommandCode, handles(c.h), u32(uint32(TPM_CC_NV_Read))))
		return x.cmdS(TPM_CC_NV_Read, handles(ownIndex, ownIndex), area(sess(c.h, c.caller, attrs|sessContinue, nil)), u16(1), u16(0)).rc
	}
	if rc := read(0); rc != TPM_RC_SUCCESS {
		t.Errorf("without encryption: %v", rc)
	}
	if rc := read(sessEncrypt); rc != TPM_RC_LOCKOUT {
		t.Errorf("with encryption: %v", rc)
	}
	x.nvFind(ownIndex).auth = nil // nothing to be guessed
	if rc := read(sessEncrypt); rc != TPM_RC_SUCCESS {
		t.Errorf("with encryption and an empty authValue: %v", rc)
	}
}

// TestPINKey: a policy that does without the PIN does not get parameters encrypted with it, but
// for who writes the index. Another session may encrypt.
func TestPINKey(t *testing.T) {
	x := newTestTPM(t)
	step := func(cc CC) []byte {
		return tpmcrypto.Sum(TPM_ALG_SHA256, make([]byte, 32), u32(uint32(TPM_CC_PolicyCommandCode)), u32(uint32(cc)))
	}
	for i, tt := range []struct {
		cc     CC
		pin    string
		attrs  uint8
		params []byte
		want   RC
	}{
		{TPM_CC_NV_Read, "1234", 0, join(u16(8), u16(0)), TPM_RC_SUCCESS},
		{TPM_CC_NV_Read, "1234", sessEncrypt, join(u16(8), u16(0)), TPM_RC_ATTRIBUTES.Session(1)},
		{TPM_CC_NV_Read, "", sessEncrypt, join(u16(8), u16(0)), TPM_RC_SUCCESS},
		{TPM_CC_NV_Write, "1234", sessDecrypt, join(b2(make([]byte, 8)), u16(0)), TPM_RC_SUCCESS},
	} {
		h := testIndex + Handle(i)
		p := TPMS_NV_PUBLIC{Index: h, NameAlg: TPM_ALG_SHA256, DataSize: 8, AuthPolicy: step(tt.cc),
			Attributes: nvNoDA | nvAuthRead | nvOwnerWrite | nvPolicyRead | nvPolicyWrite | TPMA_NV(TPM_NT_PIN_FAIL)<<4}
		x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), b2([]byte(tt.pin)), marshal(100, func(w *writer) { w.nvPublic2B(&p) })))
		x.ok(x.cmdS(TPM_CC_NV_Write, handles(TPM_RH_OWNER, h), pw(""), b2(join(u32(0), u32(2))), u16(0)))
		c := guess{x: x, bind: TPM_RH_NULL, role: role{kind: TPM_SE_POLICY}}.start("")
		x.ok(x.cmd(TPM_CC_PolicyCommandCode, handles(c.h), u32(uint32(tt.cc))))
		r := x.cmdS(tt.cc, handles(h, h), area(sess(c.h, c.caller, tt.attrs|sessContinue, nil)), tt.params)
		if r.rc != tt.want {
			t.Errorf("row %d: %v, want %v", i, r.rc, tt.want)
		}
		x.flushSession(c.h)
	}
}

// TestBoundGuessClient is TestBoundGuess with the sessions of go-tpm: a key of the user with DA
// protection, encrypted and audited random numbers.
func TestBoundGuessClient(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_OWNER, "secret", eccTemplate(attrsStorage&^objNoDA)).handle
	name := tpm2.TPM2BName{Buffer: x.transient(key).name}
	ask := func(value string, use tpm2.AuthOption) error {
		s := tpm2.HMAC(tpm2.TPMAlgSHA256, 16, tpm2.Bound(tpm2.TPMHandle(key), name, []byte(value)), use)
		_, err := tpm2.GetRandom{BytesRequested: 16}.Execute(x, s)
		for h := range Handle(maxActiveSessions) {
			x.flushSession(HMAC_SESSION_FIRST + h)
		}
		return err
	}
	for _, use := range []tpm2.AuthOption{tpm2.Audit(), tpm2.AESEncryption(128, tpm2.EncryptOut)} {
		x.perm.failedTries = 0
		if err := ask("secret", use); err != nil {
			t.Errorf("right guess: %v", err)
		}
		for range defaultMaxTries {
			if err := ask("guess", use); !errors.Is(err, tpm2.TPMRCAuthFail) {
				t.Errorf("wrong guess: %v", err)
			}
		}
		for _, value := range []string{"guess", "secret"} {
			if err := ask(value, use); !errors.Is(err, tpm2.TPMRCLockout) {
				t.Errorf("%q in lockout: %v", value, err)
			}
		}
	}
}
