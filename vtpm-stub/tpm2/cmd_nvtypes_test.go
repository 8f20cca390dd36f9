package tpm2

import (
	"bytes"
	"encoding/binary"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// typedIndex defines an index of type nt with an empty auth; data size follows
// from the type.
func (x *testTPM) typedIndex(h Handle, nt uint8, more TPMA_NV) {
	x.t.Helper()
	size := 8
	if nt == TPM_NT_EXTEND {
		size = 32
	}
	a := TPMA_NV(nt)<<4 | nvAuthRead | nvAuthWrite | nvOwnerRead | nvOwnerWrite | nvNoDA | more
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), nvDefine(h, a, size)))
}

func (x *testTPM) nvOp(cc CC, auth, h Handle, params ...[]byte) response {
	return x.cmdS(cc, handles(auth, h), pw(""), params...)
}

func (x *testTPM) nvGet(h Handle) []byte {
	x.t.Helper()
	return x.ok(x.nvOp(TPM_CC_NV_Read, h, h, u16(uint16(len(x.nvFind(h).data))), u16(0))).reader().b2(maxNVBuffer)
}

func (x *testTPM) counter(h Handle) uint64 { return binary.BigEndian.Uint64(x.nvGet(h)) }

// TestNVCounter: a counter never goes back, not even by removing it, nor by a power cut.
func TestNVCounter(t *testing.T) {
	x := newTestTPM(t)
	x.typedIndex(testIndex, TPM_NT_COUNTER, 0)
	x.want(x.nvOp(TPM_CC_NV_Read, testIndex, testIndex, u16(8), u16(0)), TPM_RC_NV_UNINITIALIZED)
	for want := uint64(1); want <= 3; want++ {
		saves := x.saves
		x.ok(x.nvOp(TPM_CC_NV_Increment, testIndex, testIndex))
		if got := x.counter(testIndex); got != want || x.saves == saves {
			t.Errorf("counter %d, want %d, saved %d times", got, want, x.saves-saves)
		}
	}
	x.ok(x.nvOp(TPM_CC_NV_UndefineSpace, TPM_RH_OWNER, testIndex))
	x.typedIndex(testIndex, TPM_NT_COUNTER, 0)
	x.ok(x.nvOp(TPM_CC_NV_Increment, TPM_RH_OWNER, testIndex))
	if got := x.counter(testIndex); got != 4 {
		t.Errorf("counter after removal is %d, want 4", got)
	}
	x.reboot()
	x.start(TPM_SU_CLEAR)
	if got := x.counter(testIndex); got != 4 {
		t.Errorf("counter after a power cut is %d, want 4", got)
	}
}

// TestNVOrderlyCounter: the value after a power cut is past every one that was shown.
func TestNVOrderlyCounter(t *testing.T) {
	x := newTestTPM(t)
	x.typedIndex(testIndex, TPM_NT_COUNTER, nvOrderly)
	x.ok(x.nvOp(TPM_CC_NV_Increment, testIndex, testIndex))
	shown := x.counter(testIndex)
	for range maxOrderlyCount + 5 {
		x.ok(x.nvOp(TPM_CC_NV_Increment, testIndex, testIndex))
		now := x.counter(testIndex)
		if now != shown+1 {
			t.Fatalf("counter %d after %d", now, shown)
		}
		shown = now
	}
	saves := x.saves
	x.ok(x.nvOp(TPM_CC_NV_Increment, testIndex, testIndex))
	shown++
	if x.saves != saves {
		t.Error("an orderly counter is written each time")
	}
	x.reboot()
	x.start(TPM_SU_CLEAR)
	if got := x.counter(testIndex); got < shown {
		t.Errorf("counter went back from %d to %d", shown, got)
	}
	before := x.counter(testIndex)
	x.ok(x.nvOp(TPM_CC_NV_Increment, testIndex, testIndex))
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_CLEAR)))
	x.reboot()
	x.start(TPM_SU_CLEAR)
	if got := x.counter(testIndex); got != before+1 {
		t.Errorf("counter after an orderly shutdown is %d, want %d", got, before+1)
	}
}

func TestNVExtend(t *testing.T) {
	x := newTestTPM(t)
	x.typedIndex(testIndex, TPM_NT_EXTEND, 0)
	want := make([]byte, 32)
	for _, d := range [][]byte{[]byte("one"), nil, bytes.Repeat([]byte("x"), 1024)} {
		x.ok(x.nvOp(TPM_CC_NV_Extend, testIndex, testIndex, b2(d)))
		want = tpmcrypto.Sum(TPM_ALG_SHA256, want, d)
		if got := x.nvGet(testIndex); !bytes.Equal(got, want) {
			t.Errorf("after %d octets: %x, want %x", len(d), got, want)
		}
	}
	x.unchanged(func() {
		x.want(x.nvOp(TPM_CC_NV_Extend, testIndex, testIndex, b2(make([]byte, 1025))), TPM_RC_SIZE.Param(1))
	})
}

func TestNVSetBits(t *testing.T) {
	x := newTestTPM(t)
	x.typedIndex(testIndex, TPM_NT_BITS, 0)
	x.ok(x.nvOp(TPM_CC_NV_SetBits, testIndex, testIndex, u64(0))) // this writes the index
	x.ok(x.nvOp(TPM_CC_NV_SetBits, testIndex, testIndex, u64(5)))
	x.ok(x.nvOp(TPM_CC_NV_SetBits, testIndex, testIndex, u64(1<<63)))
	if got := x.counter(testIndex); got != 1<<63|5 {
		t.Errorf("bits %x", got)
	}
	x.unchanged(func() { x.ok(x.nvOp(TPM_CC_NV_SetBits, testIndex, testIndex, u64(4))) })
}

// TestNVTypes runs each command on each type of index: only the right ones work.
func TestNVTypes(t *testing.T) {
	x := newTestTPM(t)
	types := []uint8{0, TPM_NT_COUNTER, TPM_NT_BITS, TPM_NT_EXTEND}
	for i, nt := range types {
		h := testIndex + Handle(i)
		x.typedIndex(h, nt, 0)
		for cc, c := range map[CC]struct {
			nt     uint8
			params []byte
		}{TPM_CC_NV_Increment: {TPM_NT_COUNTER, nil}, TPM_CC_NV_SetBits: {TPM_NT_BITS, u64(1)}, TPM_CC_NV_Extend: {TPM_NT_EXTEND, b2(nil)}, TPM_CC_NV_Write: {0, join(b2([]byte{1}), u16(0))}} {
			if nt == c.nt {
				x.ok(x.nvOp(cc, h, h, c.params))
				continue
			}
			x.unchanged(func() { x.want(x.nvOp(cc, h, h, c.params), TPM_RC_ATTRIBUTES.Handle(2)) })
		}
	}
}

func TestNVLocks(t *testing.T) {
	x := newTestTPM(t)
	write := func(h Handle) response {
		return x.nvOp(TPM_CC_NV_Write, h, h, b2([]byte{1, 2, 3, 4, 5, 6, 7, 8}), u16(0))
	}
	const plain, stclear, define, global = testIndex, testIndex + 1, testIndex + 2, testIndex + 3
	x.typedIndex(plain, 0, 0)
	x.typedIndex(stclear, 0, nvWriteStClear|nvReadStClear)
	x.typedIndex(define, 0, nvWriteDefine)
	x.typedIndex(global, 0, nvGlobalLock)
	for _, h := range []Handle{stclear, define, global} {
		x.ok(write(h))
	}
	x.unchanged(func() {
		x.want(x.nvOp(TPM_CC_NV_WriteLock, plain, plain), TPM_RC_ATTRIBUTES.Handle(2))
		x.want(x.nvOp(TPM_CC_NV_ReadLock, plain, plain), TPM_RC_ATTRIBUTES.Handle(2))
		x.want(x.nvOp(TPM_CC_NV_WriteLock, stclear, define), TPM_RC_NV_AUTHORIZATION)
	})
	x.ok(x.nvOp(TPM_CC_NV_WriteLock, stclear, stclear))
	x.ok(x.nvOp(TPM_CC_NV_WriteLock, define, define))
	x.ok(x.nvOp(TPM_CC_NV_ReadLock, stclear, stclear))
	x.ok(x.cmdS(TPM_CC_NV_GlobalWriteLock, handles(TPM_RH_OWNER), pw("")))
	x.unchanged(func() {
		for _, h := range []Handle{stclear, define, global} {
			x.want(write(h), TPM_RC_NV_LOCKED)
		}
		x.want(x.nvOp(TPM_CC_NV_Read, stclear, stclear, u16(8), u16(0)), TPM_RC_NV_LOCKED)
		x.ok(x.nvOp(TPM_CC_NV_WriteLock, define, define)) // locked already: no error
		x.ok(x.nvOp(TPM_CC_NV_ReadLock, stclear, stclear))
	})
	x.ok(write(plain))
	x.reboot()
	x.start(TPM_SU_CLEAR)
	x.ok(write(stclear))
	x.ok(x.nvOp(TPM_CC_NV_Read, stclear, stclear, u16(8), u16(0)))
	x.want(write(define), TPM_RC_NV_LOCKED) // WRITEDEFINE outlives a reset
}
