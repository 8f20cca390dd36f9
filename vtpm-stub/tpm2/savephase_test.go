package tpm2

import (
	"bytes"
	"errors"
	"testing"
)

// phase is a moment in which a TPM is saved and goes on elsewhere, and what is asked of it there:
// it must answer like the one that stayed.
type phase struct {
	name   string
	before func(x *testTPM)            // from a TPM that was just powered on
	after  func(x *testTPM) []response // no answer may hold random octets
}

// on starts the TPM first.
func on(f func(x *testTPM)) func(x *testTPM) {
	return func(x *testTPM) {
		x.ok(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)))
		f(x)
	}
}

// suspended is a TPM that was in use, suspended and powered on.
func suspended(x *testTPM) {
	x.ok(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)))
	x.ok(x.extendSHA256(3))
	x.ok(x.cmdS(TPM_CC_ACT_SetTimeout, handles(TPM_RH_ACT_0+1), pw(""), u32(60)))
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	x.reboot()
}

func (x *testTPM) extendSHA256(n Handle) response {
	return x.cmdS(TPM_CC_PCR_Extend, handles(n), pw(""), u32(1), u16(uint16(TPM_ALG_SHA256)), make([]byte, 32))
}

func (x *testTPM) startCmd(su uint16) response { return x.cmd(TPM_CC_Startup, u16(su)) }

// state asks for what most phases are about: PCR of each kind, timers, clock, capabilities.
func state(x *testTPM) []response {
	var l []response
	for _, n := range []int{0, 3, 17, 23} {
		l = append(l, x.cmd(TPM_CC_PCR_Read, u32(2), pcrSel(TPM_ALG_SHA256, n), pcrSel(TPM_ALG_SHA1, n)))
	}
	return append(l, x.timers(), x.cmd(TPM_CC_ReadClock), x.cmd(TPM_CC_GetTestResult),
		x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_TPM_PROPERTIES), u32(0x200), u32(100)),
		x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_HANDLES), u32(0x80000000), u32(100)))
}

func (x *testTPM) timers() response {
	return x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_ACT), u32(uint32(TPM_RH_ACT_0)), u32(100))
}

// thenState is a start and state.
func thenState(su uint16) func(x *testTPM) []response {
	return func(x *testTPM) []response { return append([]response{x.startCmd(su)}, state(x)...) }
}

// hashSequence leaves the first half of a message in a sequence object.
func hashSequence(alg AlgID) func(x *testTPM) {
	return on(func(x *testTPM) {
		h := x.ok(x.cmd(TPM_CC_HashSequenceStart, b2([]byte("a")), u16(uint16(alg)))).handle
		x.ok(x.cmdS(TPM_CC_SequenceUpdate, handles(h), pw("a"), b2([]byte("half"))))
	})
}

func hashHalf(x *testTPM) { x.HashStart(); x.HashData([]byte("half")) }

// endHash ends an event, and starts the TPM if that is still to do.
func endHash(x *testTPM) []response {
	x.HashData([]byte("rest"))
	x.HashEnd()
	return append([]response{x.startCmd(TPM_SU_CLEAR)}, state(x)...)
}

var phases = []phase{
	{"powered on", func(*testTPM) {}, thenState(TPM_SU_CLEAR)},
	{"powered on at once again", func(x *testTPM) { x.reboot(); x.PowerOn() }, thenState(TPM_SU_CLEAR)},
	{"powered on after a suspension, to resume", suspended, thenState(TPM_SU_STATE)},
	{"powered on after a suspension, to restart", suspended, thenState(TPM_SU_CLEAR)},
	{"after a TPM Reset", on(func(x *testTPM) { x.ok(x.extendSHA256(3)) }), state},
	{"after a TPM Restart", func(x *testTPM) { suspended(x); x.ok(x.startCmd(TPM_SU_CLEAR)) }, state},
	{"after a TPM Resume", func(x *testTPM) { suspended(x); x.ok(x.startCmd(TPM_SU_STATE)) }, state},
	{"after Shutdown(STATE), still running", on(func(x *testTPM) { x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE))) }), func(x *testTPM) []response {
		l := append([]response{x.startCmd(TPM_SU_STATE)}, state(x)...)
		x.PowerOn()
		return append(l, thenState(TPM_SU_STATE)(x)...)
	}},
	{"in an H-CRTM event", hashHalf, endHash},
	{"after an H-CRTM event", func(x *testTPM) { hashHalf(x); x.HashEnd() }, thenState(TPM_SU_CLEAR)},
	{"in a D-RTM event", on(hashHalf), endHash},
	{"in self test", on(func(x *testTPM) {
		x.ok(x.cmd(TPM_CC_IncrementalSelfTest, u32(1), u16(uint16(TPM_ALG_SHA256))))
	}), func(x *testTPM) []response {
		return []response{x.cmd(TPM_CC_IncrementalSelfTest, u32(0)), x.cmd(TPM_CC_GetTestResult),
			x.cmd(TPM_CC_SelfTest, []byte{0}), x.cmd(TPM_CC_GetTestResult)}
	}},
	{"in failure mode", on(func(x *testTPM) { x.keepFail = true; x.fail(TPM_RC_FAILURE, "for the test") }), func(x *testTPM) []response {
		l := []response{x.cmd(TPM_CC_GetTestResult), x.cmd(TPM_CC_GetRandom, u16(1)), x.startCmd(TPM_SU_CLEAR),
			x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_TPM_PROPERTIES), u32(0x100), u32(100))}
		x.PowerOn()
		return append(l, x.startCmd(TPM_SU_CLEAR))
	}},
	{"in failure mode before Startup", func(x *testTPM) { x.keepFail = true; x.fail(TPM_RC_NV_UNAVAILABLE, "for the test") }, func(x *testTPM) []response {
		return []response{x.cmd(TPM_CC_GetTestResult), x.startCmd(TPM_SU_CLEAR)}
	}},
	{"in a hash sequence", hashSequence(TPM_ALG_SHA256), func(x *testTPM) []response {
		return append(state(x), x.cmdS(TPM_CC_SequenceComplete, handles(TRANSIENT_FIRST), pw("a"), b2([]byte("rest")), u32(uint32(TPM_RH_NULL))))
	}},
	{"in an event sequence", hashSequence(TPM_ALG_NULL), func(x *testTPM) []response {
		r := x.cmdS(TPM_CC_EventSequenceComplete, handles(3, TRANSIENT_FIRST), pw("", "a"), b2([]byte("rest")))
		return append(state(x), r)
	}},
	{"with a timer that runs", on(func(x *testTPM) {
		x.ok(x.cmdS(TPM_CC_ACT_SetTimeout, handles(TPM_RH_ACT_0), pw(""), u32(10)))
		x.now += 3500
	}), func(x *testTPM) []response {
		l := []response{x.timers()}
		x.now += 6499
		l = append(l, x.timers())
		x.now++
		return append(l, x.timers())
	}},
	{"with a timer that has signaled", on(func(x *testTPM) {
		x.ok(x.cmdS(TPM_CC_ACT_SetTimeout, handles(TPM_RH_ACT_0), pw(""), u32(10)))
		x.now += 10_000
		x.ok(x.timers())
	}), state},
	{"with a timer of before a suspension", func(x *testTPM) { suspended(x); x.ok(x.startCmd(TPM_SU_STATE)) }, func(x *testTPM) []response {
		l := []response{x.timers(), x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE))} // now it is halved
		x.PowerOn()
		return append(l, thenState(TPM_SU_STATE)(x)...)
	}},
	{"with other PCR banks from the next start on", on(func(x *testTPM) {
		x.ok(x.cmdS(TPM_CC_PCR_Allocate, handles(TPM_RH_PLATFORM), pw(""), u32(2), pcrSel(TPM_ALG_SHA256), pcrSel(TPM_ALG_SHA3_256, 0, 1, 2, 3, 4)))
	}), func(x *testTPM) []response {
		return append(state(x), x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	}},
	{"with PCR banks allocated as they were", on(func(x *testTPM) {
		x.ok(x.cmdS(TPM_CC_PCR_Allocate, handles(TPM_RH_PLATFORM), pw(""), u32(0)))
	}), func(x *testTPM) []response { return []response{x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE))} }},
	{"with orderly indices that were not saved", on(func(x *testTPM) {
		x.typedIndex(testIndex, TPM_NT_COUNTER, nvOrderly)
		x.typedIndex(testIndex+1, TPM_NT_ORDINARY, nvOrderly|nvReadStClear)
		x.typedIndex(testIndex+2, TPM_NT_BITS, nvOrderly)
		for range 5 {
			x.ok(x.nvOp(TPM_CC_NV_Increment, testIndex, testIndex))
		}
		for _, data := range []string{"first...", "second.."} {
			x.ok(x.nvOp(TPM_CC_NV_Write, testIndex+1, testIndex+1, b2([]byte(data)), u16(0)))
		}
		x.ok(x.nvOp(TPM_CC_NV_ReadLock, testIndex+1, testIndex+1))
	}), func(x *testTPM) []response {
		l := []response{x.nvOp(TPM_CC_NV_Increment, testIndex, testIndex), x.nvOp(TPM_CC_NV_SetBits, testIndex+2, testIndex+2, u64(1))}
		for h := range Handle(3) {
			l = append(l, x.nvOp(TPM_CC_NV_Read, testIndex+h, testIndex+h, u16(8), u16(0)), x.cmd(TPM_CC_NV_ReadPublic, handles(testIndex+h)))
		}
		return l
	}},
	{"in lockout", on(func(x *testTPM) {
		x.defineIndex(testIndex, "pass", 0, 4)
		for range defaultMaxTries {
			x.writeIndex(testIndex, "wrong", []byte{1})
		}
		x.now += 1000*defaultRecoveryTime - 2000
	}), func(x *testTPM) []response {
		l := []response{x.writeIndex(testIndex, "pass", []byte{1})}
		x.now += 2000
		return append(l, x.writeIndex(testIndex, "pass", []byte{1}))
	}},
	{"in Read-Only mode", on(func(x *testTPM) {
		x.ok(x.cmdS(TPM_CC_ReadOnlyControl, handles(TPM_RH_PLATFORM), pw(""), []byte{1}))
	}), func(x *testTPM) []response {
		return append(state(x), x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), nvDefine(testIndex, nvOwnerRead|nvOwnerWrite, 8)))
	}},
}

// TestPhases saves and restores a TPM in each phase, in a process that has only its two states
// and after a pause that is not time of the TPM, twice over, and compares what it answers with what
// the TPM answers that stayed.
func TestPhases(t *testing.T) {
	for _, p := range phases {
		t.Run(p.name, func(t *testing.T) {
			x := newRawTPM(t)
			p.before(x)
			y := x.moved()
			y = y.moved()
			want, got := p.after(x), p.after(y)
			if len(want) != len(got) || len(want) == 0 {
				t.Fatalf("%d answers, want %d", len(got), len(want))
			}
			for i := range want {
				if !bytes.Equal(want[i].raw, got[i].raw) {
					t.Errorf("answer %d:\n%x, want\n%x", i, got[i].raw, want[i].raw)
				}
			}
		})
	}
}

// moved returns the TPM as it is elsewhere.
func (x *testTPM) moved() *testTPM {
	x.t.Helper()
	v, err := x.SaveVolatile()
	if err != nil {
		x.t.Fatal(err)
	}
	y := &testTPM{t: x.t, now: x.now + 77_000, blob: bytes.Clone(x.blob), keepFail: x.keepFail}
	y.reboot()
	if err := y.LoadVolatile(v); err != nil {
		x.t.Fatal(err)
	}
	again, err := y.SaveVolatile()
	if err != nil || !bytes.Equal(v, again) {
		x.t.Errorf("volatile state differs when it is saved again: %v", err)
	}
	if x.Failed() {
		return y
	}
	mine, err := x.encodePermanent()
	if err != nil {
		x.t.Fatal(err)
	}
	mine = bytes.Clone(mine)
	if its, err := y.encodePermanent(); err != nil || !bytes.Equal(mine, its) {
		x.t.Errorf("permanent state differs: %v", err)
	}
	return y
}

// TestPhaseUnsaved: a TPM that failed because its state could not be saved goes on elsewhere as
// one in failure mode, and from the last saved state at the next start.
func TestPhaseUnsaved(t *testing.T) {
	x := newRawTPM(t)
	x.keepFail, x.saveErr = true, errTest
	x.want(x.startCmd(TPM_SU_CLEAR), TPM_RC_FAILURE) // resetCount in memory is not the saved one
	y := x.moved()
	y.want(y.cmd(TPM_CC_GetRandom, u16(1)), TPM_RC_FAILURE)
	y.PowerOn()
	y.ok(y.startCmd(TPM_SU_CLEAR))
}

// TestVolatileRefused: volatile state that is of another run, or damaged, leaves the TPM as after
// power on: a suspended one resumes with what it had.
func TestVolatileRefused(t *testing.T) {
	x := newRawTPM(t)
	off, err := x.SaveVolatile()
	if err != nil {
		t.Fatal(err)
	}
	suspended(x)
	before, err := x.SaveVolatile()
	if err != nil {
		t.Fatal(err)
	}
	x.ok(x.startCmd(TPM_SU_STATE))
	x.defineIndex(testIndex, "", nvNoDA|nvOrderly, 8)
	x.ok(x.writeIndex(testIndex, "", []byte("orderly.")))
	running, err := x.SaveVolatile()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the same resetCount, and the same indices
		x.ok(x.extendSHA256(3))
		x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
		x.reboot()
		x.ok(x.startCmd(TPM_SU_STATE))
	}
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	want := x.readPCR(TPM_ALG_SHA256, 3)
	x.reboot()
	suspendedTPM := bytes.Clone(x.blob)
	check := func(name string, v []byte, wantErr error) {
		t.Helper()
		x.blob = bytes.Clone(suspendedTPM)
		x.reboot()
		if err := x.LoadVolatile(v); !errors.Is(err, wantErr) {
			t.Errorf("%s: %v, want %v", name, err, wantErr)
		}
		x.ok(x.startCmd(TPM_SU_STATE))
		if got := x.readPCR(TPM_ALG_SHA256, 3); !bytes.Equal(got, want) {
			t.Errorf("%s: PCR 3 is %x, want %x", name, got, want)
		}
		if got := x.nvGet(testIndex); string(got) != "orderly." {
			t.Errorf("%s: the index holds %q", name, got)
		}
	}
	check("before the first Startup", off, ErrStale)
	check("before an earlier Startup", before, ErrStale)
	check("of an earlier resume", running, ErrStale)
	for n := stateHeader; n < len(running); n += 97 {
		bad := bytes.Clone(running[:n])
		copy(bad[8:], u32(uint32(n)))
		check("cut", bad, ErrState)
	}
	// As of the right run, with one octet more or another index.
	for name, change := range map[string]func(){
		"no orderly index": func() { x.nvDrop(func(*nvIndex) bool { return true }) },
		"an index more":    func() { x.defineIndex(testIndex+1, "", nvNoDA|nvOrderly, 8) },
		"another index instead": func() {
			x.nvDrop(func(*nvIndex) bool { return true })
			x.defineIndex(testIndex+1, "", nvNoDA|nvOrderly, 8)
		},
		"an index of another kind": func() {
			x.nvDrop(func(*nvIndex) bool { return true })
			x.defineIndex(testIndex, "", nvNoDA|nvOrderly|nvReadStClear, 8)
		},
		"an index of another size": func() {
			x.nvDrop(func(*nvIndex) bool { return true })
			x.defineIndex(testIndex, "", nvNoDA|nvOrderly, 9)
		},
	} {
		x.blob = bytes.Clone(suspendedTPM)
		x.reboot()
		x.ok(x.startCmd(TPM_SU_STATE))
		v, err := x.SaveVolatile()
		if err != nil {
			t.Fatal(err)
		}
		change()
		if err := x.flush(); err != nil {
			t.Fatal(err)
		}
		x.reboot()
		if err := x.LoadVolatile(v); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
