package tpm2

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// fullTPM returns a TPM with something in every part of its state.
func fullTPM(t testing.TB) *testTPM {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "pass", nvNoDA, 40)
	x.ok(x.writeIndex(testIndex, "pass", []byte("contents")))
	x.defineIndex(testIndex+1, "", nvNoDA|nvOrderly|TPMA_NV(TPM_NT_ORDINARY), 2048)
	x.ok(x.writeIndex(testIndex+1, "", []byte("orderly")))
	k := x.createPrimaryKey(TPM_RH_OWNER, "auth", eccTemplate(attrsStorage))
	x.addPersistent(x.transient(k.handle), 0x81000001)
	x.createPrimaryKey(TPM_RH_NULL, "", eccTemplate(attrsSign))
	x.startSession(TPM_SE_HMAC, symAES128)
	s := x.session(x.startSession(TPM_SE_POLICY, symNull))
	s.policy.commandCode = TPM_CC_NV_Read
	s.policy.binding, s.policy.timeout = bindCpHash, 77
	s.policy.hash.set(make([]byte, 32))
	x.ok(x.cmdS(TPM_CC_PCR_Extend, handles(5), pw(""), u32(1), u16(uint16(TPM_ALG_SHA384)), make([]byte, 48)))
	x.owner.auth, x.perm.lockoutAuth = []byte("o"), []byte("l")
	x.endorsement.policy = policyAuth{TPM_ALG_SHA256, make([]byte, 32)}
	x.sr.auditDigest = make([]byte, 32)
	x.sc.act[3] = act{deadline: 99_000, preserve: true, set: true, policy: policyAuth{alg: TPM_ALG_NULL}}
	x.touch()
	if err := x.flush(); err != nil {
		t.Fatal(err)
	}
	return x
}

// TestPermanentRoundTrip: restoring and saving again gives the same octets,
// with each kind of shutdown.
func TestPermanentRoundTrip(t *testing.T) {
	for _, su := range []int{-1, TPM_SU_CLEAR, TPM_SU_STATE} {
		x := fullTPM(t)
		if su >= 0 {
			x.ok(x.cmd(TPM_CC_Shutdown, u16(uint16(su))))
		}
		first := bytes.Clone(x.blob)
		x.reboot()
		again, err := x.encodePermanent()
		if err != nil || !bytes.Equal(first, again) {
			t.Errorf("shutdown %d: state changed in a round trip (%d, %d octets): %v", su, len(first), len(again), err)
		}
		want := RC(TPM_RC_SUCCESS)
		if su != TPM_SU_STATE {
			want = TPM_RC_VALUE.Param(1)
		}
		if rc := x.start(TPM_SU_STATE); rc != want {
			t.Errorf("shutdown %d: Startup(STATE): %v", su, rc)
		}
		if x.persistent(0x81000001) == nil || string(x.nvFind(testIndex).data[:8]) != "contents" {
			t.Error("objects or indices are lost")
		}
	}
}

// TestVolatileRoundTrip: a TPM moved elsewhere goes on as if nothing happened.
func TestVolatileRoundTrip(t *testing.T) {
	x := fullTPM(t)
	before := x.snapshot()
	v, err := x.SaveVolatile()
	if err != nil {
		t.Fatal(err)
	}
	clock := x.clockNow()
	x.now += 5_000_000 // a pause is not time of the TPM
	x.reboot()
	if err := x.LoadVolatile(v); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, x.snapshot()) {
		t.Error("state changed in a round trip")
	}
	if x.clockNow() != clock {
		t.Errorf("Clock %d, was %d", x.clockNow(), clock)
	}
	x.ok(x.cmd(TPM_CC_ReadPublic, handles(TRANSIENT_FIRST)))
	x.ok(x.cmdS(TPM_CC_GetRandom, nil, area(sess(HMAC_SESSION_FIRST, make([]byte, 16), sessEncrypt, nil)), u16(8)))
}

// TestSequencesSaved: running hashes, HMACs and CMACs go on after a move.
func TestSequencesSaved(t *testing.T) {
	x := newTestTPM(t)
	hash := func() *tpmcrypto.Sequence {
		s, err := tpmcrypto.NewHashSequence(TPM_ALG_SHA3_256)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	mac, err := tpmcrypto.NewHMACSequence(TPM_ALG_SHA256, []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 16)
	block, err := tpmcrypto.NewBlock(TPM_ALG_AES, key)
	if err != nil {
		t.Fatal(err)
	}
	cmac, err := tpmcrypto.NewCMAC(block)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*sequence{
		{kind: seqHash, auth: []byte("a"), hashes: []*tpmcrypto.Sequence{hash()}},
		{kind: seqHMAC, hashes: []*tpmcrypto.Sequence{mac}},
		{kind: seqCMAC, cmac: cmac, cmacOf: TPM_ALG_AES, cmacK: key},
	} {
		x.addObject(&object{hierarchy: TPM_RH_NULL, seq: s})
	}
	feed := func(data string) (sums [3][]byte) {
		for i := range sums {
			s := x.ram.objects[i].seq
			if s.kind == seqCMAC {
				_, _ = s.cmac.Write([]byte(data))
				sums[i] = s.cmac.Sum(nil)
				continue
			}
			_, _ = s.hashes[0].Write([]byte(data))
			sums[i] = s.hashes[0].Sum(nil)
		}
		return sums
	}
	feed("the first part, longer than one block of a cipher")
	v, err := x.SaveVolatile()
	if err != nil {
		t.Fatal(err)
	}
	want := feed("rest")
	x.reboot()
	if err := x.LoadVolatile(v); err != nil {
		t.Fatal(err)
	}
	for i, got := range feed("rest") {
		if !bytes.Equal(got, want[i]) {
			t.Errorf("sequence %d: %x, want %x", i, got, want[i])
		}
	}
}

// TestVolatileSequenceUnsound: a sequence without the running digests of its kind
// is refused when it is loaded, not found out when a command uses it.
func TestVolatileSequenceUnsound(t *testing.T) {
	hash := func(a AlgID) *tpmcrypto.Sequence {
		s, err := tpmcrypto.NewHashSequence(a)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var banks []*tpmcrypto.Sequence
	for _, a := range hashAlgs {
		banks = append(banks, hash(a))
	}
	swapped := slices.Clone(banks)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	for name, c := range map[string]struct {
		s  sequence
		ok bool
	}{
		"hash":  {sequence{kind: seqHash, hashes: banks[:1]}, true},
		"event": {sequence{kind: seqEvent, hashes: banks}, true},
		"sign": {sequence{kind: seqSign, hashes: banks[1:2],
			scheme: TPMT_SCHEME{Scheme: TPM_ALG_ECDSA, Hash: hashAlgs[1]}}, true},
		"verify without its ticket": {sequence{kind: seqVerify, hashes: banks[1:2],
			scheme: TPMT_SCHEME{Scheme: TPM_ALG_ECDSA, Hash: hashAlgs[1]}}, false},
		"hash without a digest": {sequence{kind: seqHash}, false},
		"hash with two digests": {sequence{kind: seqHash, hashes: banks[:2]}, false},
		"event without a bank":  {sequence{kind: seqEvent, hashes: banks[1:]}, false},
		"event with none":       {sequence{kind: seqEvent}, false},
		"event, other order":    {sequence{kind: seqEvent, hashes: swapped}, false},
		"sign without a digest": {sequence{kind: seqSign}, false},
		"ML-DSA with a hash": {sequence{kind: seqSign, hashes: banks[:1],
			scheme: TPMT_SCHEME{Scheme: TPM_ALG_MLDSA}}, false},
		"no kind":      {sequence{hashes: banks[:1]}, false},
		"unknown kind": {sequence{kind: seqVerify + 1, hashes: banks[:1]}, false},
	} {
		x := newTestTPM(t)
		x.addObject(&object{hierarchy: TPM_RH_NULL, seq: &c.s})
		v, err := x.SaveVolatile()
		if err != nil {
			t.Fatal(err)
		}
		x.reboot()
		if err := x.LoadVolatile(v); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVolatileOfOther: volatile state belongs to one permanent state.
func TestVolatileOfOther(t *testing.T) {
	x := fullTPM(t)
	v, err := x.SaveVolatile()
	if err != nil {
		t.Fatal(err)
	}
	x.reboot()
	x.start(TPM_SU_CLEAR) // another resetCount
	if err := x.LoadVolatile(v); !errors.Is(err, ErrState) {
		t.Errorf("LoadVolatile: %v", err)
	}
	if x.Started() {
		t.Error("half a state was loaded")
	}
}

// TestDamagedState: every cut and the header's fields are noticed, and no
// flipped bit does worse than an error.
func TestDamagedState(t *testing.T) {
	x := fullTPM(t)
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	blob := bytes.Clone(x.blob)
	cfg := x.testConfig("damaged")
	for n := range blob {
		if _, err := Restore(cfg, blob[:n]); !errors.Is(err, ErrState) {
			t.Fatalf("cut to %d octets: %v", n, err)
		}
	}
	if _, err := Restore(cfg, append(bytes.Clone(blob), 0)); !errors.Is(err, ErrState) {
		t.Errorf("one octet more: %v", err)
	}
	for i := range blob {
		bad := bytes.Clone(blob)
		bad[i] ^= 0x81
		if n, err := Restore(cfg, bad); err == nil {
			if _, err := n.encodePermanent(); err != nil {
				t.Errorf("octet %d flipped: restored but not saved: %v", i, err)
			}
		}
	}
	for _, tt := range []struct {
		off  int
		v    byte
		want error
	}{{0, 'Y', ErrState}, {4, kindVolatile, ErrWrongKind}, {5, 1, ErrState}, {7, 0, ErrState}, {7, 200, ErrNewState}, {11, 0xFF, ErrState}, {15, 1, ErrState}} {
		bad := bytes.Clone(blob)
		bad[tt.off] = tt.v
		if _, err := Restore(cfg, bad); !errors.Is(err, tt.want) {
			t.Errorf("octet %d = %d: %v, want %v", tt.off, tt.v, err, tt.want)
		}
	}
}

// TestNothingWritten: commands that change nothing permanent cause no write.
func TestNothingWritten(t *testing.T) {
	x := fullTPM(t)
	saves := x.saves
	x.ok(x.cmd(TPM_CC_GetRandom, u16(8)))
	x.ok(x.cmdS(TPM_CC_PCR_Extend, handles(5), pw(""), u32(1), u16(uint16(TPM_ALG_SHA1)), make([]byte, 20)))
	x.ok(x.writeIndex(testIndex, "pass", []byte("contents")))
	x.ok(x.writeIndex(testIndex+1, "", []byte("ORDERLY")))
	x.startSession(TPM_SE_HMAC, symNull)
	if x.saves != saves {
		t.Errorf("%d writes", x.saves-saves)
	}
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_CLEAR)))
	if x.saves != saves+1 {
		t.Errorf("Shutdown: %d writes", x.saves-saves)
	}
	// Shutdown is nullified by the first change of what it saved, once.
	x.ok(x.cmd(TPM_CC_GetRandom, u16(8)))
	if x.saves != saves+1 || x.perm.orderly != orderlyClear {
		t.Error("GetRandom nullifies Shutdown")
	}
	x.ok(x.writeIndex(testIndex+1, "", []byte("again")))
	x.ok(x.writeIndex(testIndex+1, "", []byte("Again")))
	if x.saves != saves+2 || x.perm.orderly != orderlyNone {
		t.Errorf("change after Shutdown: %d writes, orderly %d", x.saves-saves, x.perm.orderly)
	}
}

// TestClockSaved: Clock reaches NV at its interval, not before.
func TestClockSaved(t *testing.T) {
	x := newTestTPM(t)
	saves := x.saves
	x.now += clockUpdateMS - 1
	x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
	if x.saves != saves || x.perm.clockSafe != true {
		t.Error("saved too early")
	}
	x.now++
	x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
	if x.saves != saves+1 || x.perm.clock != clockUpdateMS {
		t.Errorf("%d saves, clock %d", x.saves-saves, x.perm.clock)
	}
	x.now += 1000
	x.reboot() // power cut: Clock goes back to the saved value, and is not safe
	x.start(TPM_SU_CLEAR)
	if i := x.clockInfo(); i.Clock != clockUpdateMS || i.Safe {
		t.Errorf("after a power cut: %+v", i)
	}
	x.now += 1000
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_CLEAR)))
	x.reboot()
	x.start(TPM_SU_CLEAR)
	if i := x.clockInfo(); i.Clock != clockUpdateMS+1000 || i.Safe {
		t.Errorf("after a shutdown: %+v", i)
	}
	x.now += clockUpdateMS
	x.ok(x.cmd(TPM_CC_GetRandom, u16(1)))
	if i := x.clockInfo(); !i.Safe {
		t.Errorf("after an update: %+v", i)
	}
}

// TestPersistFails: the change is not told, and nothing permanent changes any
// more.
func TestPersistFails(t *testing.T) {
	x := fullTPM(t)
	x.keepFail = true
	old := bytes.Clone(x.blob)
	x.saveErr = errTest
	x.want(x.writeIndex(testIndex, "pass", []byte("new")), TPM_RC_FAILURE)
	x.saveErr = nil
	x.want(x.writeIndex(testIndex, "pass", []byte("new")), TPM_RC_FAILURE)
	x.want(x.cmdS(TPM_CC_NV_Read, handles(TPM_RH_OWNER, testIndex), pw(""), u16(3), u16(0)), TPM_RC_FAILURE)
	if !bytes.Equal(x.blob, old) {
		t.Error("state was written after a failure")
	}
}

// TestNewFails: New reports what it could not save.
func TestNewFails(t *testing.T) {
	x := &testTPM{t: t, saveErr: errTest}
	if _, err := New(x.testConfig("x")); !errors.Is(err, errTest) {
		t.Error(err)
	}
	if _, err := New(Config{}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	cfg := x.testConfig("x")
	cfg.Entropy = bytes.NewReader(make([]byte, 100))
	if _, err := New(cfg); err == nil {
		t.Error("an exhausted entropy source was accepted")
	}
}
