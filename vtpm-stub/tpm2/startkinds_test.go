package tpm2

import (
	"bytes"
	"fmt"
	"testing"
)

// starts are the sequences of Shutdown and Startup (TPM20-P3 section 9.3.1).
var starts = [...]struct {
	name     string
	shutdown int // -1: none
	startup  uint16
}{
	{"disorderly reset", -1, TPM_SU_CLEAR},
	{"orderly reset", TPM_SU_CLEAR, TPM_SU_CLEAR},
	{"restart", TPM_SU_STATE, TPM_SU_CLEAR},
	{"resume", TPM_SU_STATE, TPM_SU_STATE},
}

// What a start makes of a value, beside naming the new one.
const (
	kept    = "kept"
	changed = "changed" // to something else
	more    = "one more"
)

// startItem is one line of the lists of TPM20-P3 section 9.3.1, or of a clause that they follow.
type startItem struct {
	name   string
	change func(x *testTPM)     // away from the initial state
	is     func(x *testTPM) any // what is looked at
	want   [len(starts)]any     // in the order of starts
}

// all is the same after each start.
func all(v any) [len(starts)]any { return [...]any{v, v, v, v} }

// clears is what TPM Reset and Restart make of State Clear data.
func clears(v any) [len(starts)]any { return [...]any{v, v, v, kept} }

// resets is what TPM Reset makes of State Reset data.
func resets(v any) [len(starts)]any { return [...]any{v, v, kept, kept} }

const nvBits = nvWritten | nvWriteLocked | nvReadLocked

// indexItem is an index with attributes and some of nvBits, and what becomes of them.
func indexItem(name string, nt uint8, attrs, bits TPMA_NV, want [len(starts)]any) startItem {
	size := 8
	if nt == TPM_NT_EXTEND {
		size = 32
	}
	a := nvAuthRead | nvAuthWrite | nvNoDA | TPMA_NV(nt)<<4 | attrs
	return startItem{"index: " + name, func(x *testTPM) {
		x.nvAdd(&nvIndex{pub: TPMS_NV_PUBLIC{Index: testIndex, NameAlg: TPM_ALG_SHA256, DataSize: uint16(size), Attributes: a | bits},
			data: bytes.Repeat([]byte{0x12}, size)})
	}, func(x *testTPM) any { return x.nvFind(testIndex).pub.Attributes & nvBits }, want}
}

// dataItem is indexItem for the data of a written index.
func dataItem(name string, nt uint8, attrs TPMA_NV, want [len(starts)]any) startItem {
	it := indexItem(name, nt, attrs, nvWritten, want)
	it.name = "data of " + it.name
	it.is = func(x *testTPM) any { return fmt.Sprintf("%x", x.nvFind(testIndex).data) }
	return it
}

// pcrItem is a PCR of the SHA-256 bank, which was extended.
func pcrItem(n int, want [len(starts)]any) startItem {
	return startItem{fmt.Sprintf("PCR %d", n),
		func(x *testTPM) { x.pcrExtend(bankIndex(TPM_ALG_SHA256), n, make([]byte, 32)) },
		func(x *testTPM) any { return fmt.Sprintf("%x", x.readPCR(TPM_ALG_SHA256, n)[:1]) }, want}
}

// contextItem is whether the saved context of an object can be loaded after the start.
func contextItem(name string, attrs TPMA_OBJECT, want [len(starts)]any) startItem {
	var c TPMS_CONTEXT
	return startItem{name, func(x *testTPM) {
		h := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrs)).handle
		c = x.saveContext(h)
	}, func(x *testTPM) any {
		r := x.loadContext(c)
		if r.rc == TPM_RC_SUCCESS {
			x.flushObject(r.handle)
		}
		return r.rc == TPM_RC_SUCCESS
	}, want}
}

var startItems = []startItem{
	// On any Startup.
	{"phEnable", func(x *testTPM) { x.platform.enabled = false }, func(x *testTPM) any { return x.platform.enabled }, all(true)},
	{"transient contexts", func(x *testTPM) {
		x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage))
		x.startSession(TPM_SE_HMAC, symNull)
		x.ok(x.cmd(TPM_CC_HashSequenceStart, b2(nil), u16(uint16(TPM_ALG_SHA256))))
	}, func(x *testTPM) any {
		n, _ := x.loadedSessions()
		for _, o := range x.ram.objects {
			if o != nil {
				n++
			}
		}
		return n
	}, all(0)},
	{"lockoutAuth with lockoutRecovery 0", func(x *testTPM) { x.perm.lockoutRecovery, x.perm.lockoutAuthBad = 0, true },
		func(x *testTPM) any { return x.perm.lockoutAuthBad }, all(false)},
	{"lockoutAuth with a lockoutRecovery", func(x *testTPM) { x.perm.lockoutAuthBad = true },
		func(x *testTPM) any { return x.perm.lockoutAuthBad }, all(kept)},

	// The lists of TPM Reset, Restart and Resume.
	{"platformAuth", func(x *testTPM) { x.platform.auth = []byte("p") }, func(x *testTPM) any { return string(x.platform.auth) }, clears("")},
	{"platformPolicy", func(x *testTPM) { x.platform.policy = policyAuth{TPM_ALG_SHA256, make([]byte, 32)} },
		func(x *testTPM) any { return x.platform.policy.alg }, clears(TPM_ALG_NULL)},
	{"nullProof and nullSeed", func(*testTPM) {}, func(x *testTPM) any { return fmt.Sprintf("%x%x", x.null.proof, x.null.seed) }, resets(changed)},
	indexItem("write-locked", TPM_NT_ORDINARY, 0, nvWritten|nvWriteLocked, clears(nvWritten)),
	indexItem("WRITEDEFINE, written", TPM_NT_ORDINARY, nvWriteDefine, nvWritten|nvWriteLocked, all(kept)),
	indexItem("WRITEDEFINE, not written", TPM_NT_ORDINARY, nvWriteDefine, nvWriteLocked, clears(TPMA_NV(0))),
	indexItem("WRITEDEFINE and ORDERLY", TPM_NT_ORDINARY, nvWriteDefine|nvOrderly, nvWritten|nvWriteLocked, resets(TPMA_NV(0))),
	indexItem("WRITEDEFINE and CLEAR_STCLEAR", TPM_NT_ORDINARY, nvWriteDefine|nvClearStClear, nvWritten|nvWriteLocked, clears(TPMA_NV(0))),
	indexItem("ORDERLY", TPM_NT_ORDINARY, nvOrderly, nvWritten, resets(TPMA_NV(0))),
	indexItem("ORDERLY bits", TPM_NT_BITS, nvOrderly, nvWritten, resets(TPMA_NV(0))),
	indexItem("ORDERLY extend", TPM_NT_EXTEND, nvOrderly, nvWritten, resets(TPMA_NV(0))),
	indexItem("ORDERLY PIN fail", TPM_NT_PIN_FAIL, nvOrderly, nvWritten, resets(TPMA_NV(0))),
	indexItem("ORDERLY and CLEAR_STCLEAR", TPM_NT_ORDINARY, nvOrderly|nvClearStClear, nvWritten, clears(TPMA_NV(0))),
	indexItem("ORDERLY counter", TPM_NT_COUNTER, nvOrderly, nvWritten, all(kept)),
	indexItem("CLEAR_STCLEAR", TPM_NT_ORDINARY, nvClearStClear, nvWritten, clears(TPMA_NV(0))),
	indexItem("READ_STCLEAR", TPM_NT_ORDINARY, nvReadStClear, nvWritten|nvReadLocked, clears(nvWritten)),
	indexItem("plain", TPM_NT_ORDINARY, 0, nvWritten, all(kept)),
	dataItem("plain", TPM_NT_ORDINARY, 0, all(kept)),
	dataItem("ORDERLY", TPM_NT_ORDINARY, nvOrderly, resets("ffffffffffffffff")),
	dataItem("ORDERLY bits", TPM_NT_BITS, nvOrderly, resets("0000000000000000")),
	dataItem("CLEAR_STCLEAR", TPM_NT_ORDINARY, nvClearStClear, clears("ffffffffffffffff")),
	dataItem("ORDERLY counter", TPM_NT_COUNTER, nvOrderly, [...]any{"12121212121212ff", kept, kept, kept}),
	dataItem("counter", TPM_NT_COUNTER, 0, all(kept)),
	{"saved sessions", func(x *testTPM) { x.saveContext(x.startSession(TPM_SE_HMAC, symNull)) },
		func(x *testTPM) any { _, n := x.loadedSessions(); return n }, resets(0)},
	{"session context counter", func(x *testTPM) { x.sr.contextCounter = 9 }, func(x *testTPM) any { return x.sr.contextCounter }, resets(uint64(1))},
	{"object context counter", func(x *testTPM) { x.sr.objectCounter = 9 }, func(x *testTPM) any { return x.sr.objectCounter }, resets(uint64(1))},
	contextItem("context encryption key", attrsStorage, [...]any{false, false, true, true}),
	contextItem("context of an stClear object", attrsStorage|objStClear, [...]any{false, false, false, true}),
	{"restartCount", func(x *testTPM) { x.sr.restartCount = 5 }, func(x *testTPM) any { return x.clockInfo().RestartCount }, [...]any{uint32(0), uint32(0), more, more}},
	{"resetCount", func(*testTPM) {}, func(x *testTPM) any { return x.clockInfo().ResetCount }, resets(more)},
	{"pcrUpdateCounter", func(x *testTPM) { x.sr.pcrCounter = 9 }, func(x *testTPM) any { return x.sr.pcrCounter }, resets(uint32(0))},
	{"phEnableNV", func(x *testTPM) { x.sc.phEnableNV = false }, func(x *testTPM) any { return x.sc.phEnableNV }, clears(true)},
	{"shEnable", func(x *testTPM) { x.owner.enabled = false }, func(x *testTPM) any { return x.owner.enabled }, clears(true)},
	{"ehEnable", func(x *testTPM) { x.endorsement.enabled = false }, func(x *testTPM) any { return x.endorsement.enabled }, clears(true)},
	pcrItem(0, clears("00")),
	pcrItem(15, clears("00")),
	pcrItem(16, all("00")),
	pcrItem(17, all("ff")),
	pcrItem(22, all("ff")),
	pcrItem(23, all("00")),
	{"ACT timeout, set since Startup", func(x *testTPM) { x.sc.act[1].deadline, x.sc.act[1].set = x.msTime()+8000, true },
		func(x *testTPM) any { return x.actRemaining(&x.sc.act[1]) }, clears(uint32(0))},
	{"ACT timeout, not set since Startup", func(x *testTPM) { x.sc.act[1].deadline = x.msTime() + 8000 },
		func(x *testTPM) any { return x.actRemaining(&x.sc.act[1]) }, clears(uint32(0))},
	{"ACT signaled", func(x *testTPM) { x.sc.act[1].signaled = true }, func(x *testTPM) any { return x.sc.act[1].signaled }, clears(false)},
	{"ACT signaled, preserved before", func(x *testTPM) { x.sc.act[1].signaled, x.sc.act[1].preserve = true, true },
		func(x *testTPM) any { return x.sc.act[1].signaled }, clears(false)},
	{"ACT preserveSignaled", func(x *testTPM) { x.sc.act[1].signaled = true }, func(x *testTPM) any { return x.sc.act[1].preserve }, [...]any{false, false, false, true}},
	{"ACT authPolicy", func(x *testTPM) { x.sc.act[1].policy = policyAuth{TPM_ALG_SHA256, make([]byte, 32)} },
		func(x *testTPM) any { return x.sc.act[1].policy.alg }, clears(TPM_ALG_NULL)},

	// What other clauses have: Shutdown (9.4), PCR auth, Read-Only mode, Clock, commits.
	{"command audit digest", func(x *testTPM) { x.sr.auditDigest = make([]byte, 32) }, func(x *testTPM) any { return len(x.sr.auditDigest) }, resets(0)},
	{"command audit counter", func(x *testTPM) { x.perm.auditCounter = 4 }, func(x *testTPM) any { return x.perm.auditCounter }, all(kept)},
	{"PCR auth value", func(x *testTPM) { x.sc.pcrAuth = []byte("a") }, func(x *testTPM) any { return string(x.sc.pcrAuth) }, clears("")},
	{"Read-Only mode", func(x *testTPM) { x.sc.readOnly = true }, func(x *testTPM) any { return x.sc.readOnly }, clears(false)},
	{"commit nonce", func(*testTPM) {}, func(x *testTPM) any { return fmt.Sprintf("%x", x.sr.commitNonce) }, resets(changed)},
	{"safe", func(*testTPM) {}, func(x *testTPM) any { return x.clockInfo().Safe }, [...]any{false, kept, kept, kept}},
	{"timeEpoch", func(*testTPM) {}, func(x *testTPM) any { return x.perm.timeEpoch }, all(changed)},
	{"failedTries", func(x *testTPM) { x.perm.failedTries = 2 }, func(x *testTPM) any { return x.perm.failedTries }, all(kept)},
	{"ownerAuth", func(x *testTPM) { x.owner.auth = []byte("o") }, func(x *testTPM) any { return string(x.owner.auth) }, all(kept)},
}

// TestStartLists goes through the lists of TPM20-P3 section 9.3.1 item by item, in a TPM that
// keeps its memory over _TPM_Init and in one that was restored from what was saved.
func TestStartLists(t *testing.T) {
	for _, it := range startItems {
		for i, s := range starts {
			for _, restored := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, restored %v", it.name, s.name, restored), func(t *testing.T) {
					x := newTestTPM(t)
					it.change(x)
					x.touch()
					if err := x.flush(); err != nil {
						t.Fatal(err)
					}
					before := it.is(x)
					if s.shutdown >= 0 {
						x.ok(x.cmd(TPM_CC_Shutdown, u16(uint16(s.shutdown))))
					}
					x.powerCycle(restored)
					if rc := x.start(s.startup); rc != TPM_RC_SUCCESS {
						t.Fatalf("Startup: %v", rc)
					}
					checkStart(t, it.name, before, it.is(x), it.want[i])
				})
			}
		}
	}
}

// powerCycle is _TPM_Init, in the same memory or in a new process.
func (x *testTPM) powerCycle(restored bool) {
	x.t.Helper()
	x.now += 500
	if restored {
		x.reboot()
		return
	}
	x.PowerOn()
}

func checkStart(t *testing.T, name string, before, got, want any) {
	t.Helper()
	ok := got == want
	switch want {
	case kept:
		ok = got == before
		if name == "ACT timeout, not set since Startup" {
			ok = got == before.(uint32)/2 // P1 43.2
		}
	case changed:
		ok = got != before
	case more:
		ok = got == before.(uint32)+1
	}
	if !ok {
		t.Errorf("%v, was %v, want %v", got, before, want)
	}
}

// TestSuspendedTimer: what is left of a timer that nobody sets is halved by each suspension, in
// what is saved and not in the timer that goes on.
func TestSuspendedTimer(t *testing.T) {
	for _, restored := range []bool{false, true} {
		x := newTestTPM(t)
		x.ok(x.cmdS(TPM_CC_ACT_SetTimeout, handles(TPM_RH_ACT_0), pw(""), u32(80)))
		left := func() uint32 { return x.actRemaining(&x.sc.act[0]) }
		for _, want := range []uint32{80, 40, 20} {
			before := left()
			x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
			if left() != before {
				t.Errorf("Shutdown changes the timer that goes on to %d s", left())
			}
			x.powerCycle(restored)
			x.start(TPM_SU_STATE)
			if left() != want {
				t.Errorf("restored %v: %d s left, want %d", restored, left(), want)
			}
		}
	}
}

// TestFirstWriteAfterReset: data that an index had before it lost WRITTEN are not to be had back by
// writing a part of it, nor from a state that an older program left them in.
func TestFirstWriteAfterReset(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "", nvNoDA, 8)
	copy(x.nvFind(testIndex).data, "residue!")
	x.ok(x.writeIndex(testIndex, "", []byte("new")))
	if got := x.nvGet(testIndex); string(got) != "new\xff\xff\xff\xff\xff" {
		t.Errorf("read %q", got)
	}
}

// TestStartupInEvent: an event sequence that Startup interrupts has no effect.
func TestStartupInEvent(t *testing.T) {
	x := newRawTPM(t)
	x.HashStart()
	x.HashData([]byte("half"))
	x.start(TPM_SU_CLEAR)
	x.unchanged(func() {
		x.HashData([]byte("more"))
		x.HashEnd()
	})
	if got := x.readPCR(TPM_ALG_SHA256, 0); !bytes.Equal(got, make([]byte, 32)) {
		t.Errorf("PCR 0 is %x", got)
	}
}
