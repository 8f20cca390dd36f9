package tpm2

import (
	"bytes"
	"testing"
)

func TestNVDefineSpace(t *testing.T) {
	x := newTestTPM(t)
	nt := func(n uint8) TPMA_NV { return TPMA_NV(n) << 4 }
	rw := nvOwnerRead | nvOwnerWrite
	bad := func(p TPMS_NV_PUBLIC) []byte {
		return join(b2(nil), marshal(200, func(w *writer) { w.nvPublic2B(&p) }))
	}
	sha := AlgID(TPM_ALG_SHA256)
	tests := []struct {
		name   string
		auth   Handle
		params []byte
		rc     RC
	}{
		{"written", TPM_RH_OWNER, nvDefine(testIndex, rw|nvWritten, 8), TPM_RC_ATTRIBUTES.Param(2)},
		{"read-locked", TPM_RH_OWNER, nvDefine(testIndex, rw|nvReadLocked, 8), TPM_RC_ATTRIBUTES.Param(2)},
		{"write-locked", TPM_RH_OWNER, nvDefine(testIndex, rw|nvWriteLocked, 8), TPM_RC_ATTRIBUTES.Param(2)},
		{"nobody reads", TPM_RH_OWNER, nvDefine(testIndex, nvOwnerWrite, 8), TPM_RC_ATTRIBUTES.Param(2)},
		{"nobody writes", TPM_RH_OWNER, nvDefine(testIndex, nvOwnerRead, 8), TPM_RC_ATTRIBUTES.Param(2)},
		{"platform's by owner", TPM_RH_OWNER, nvDefine(testIndex, rw|nvPlatformCreate, 8), TPM_RC_ATTRIBUTES.Param(2)},
		{"owner's by platform", TPM_RH_PLATFORM, nvDefine(testIndex, rw, 8), TPM_RC_ATTRIBUTES.Param(2)},
		{"policy delete by owner", TPM_RH_OWNER, nvDefine(testIndex, rw|nvPolicyDelete, 8), TPM_RC_ATTRIBUTES.Param(2)},
		{"unknown type", TPM_RH_OWNER, nvDefine(testIndex, rw|nt(3), 8), TPM_RC_ATTRIBUTES.Param(2)},
		{"reserved bit", TPM_RH_OWNER, nvDefine(testIndex, rw|1<<8, 8), TPM_RC_RESERVED_BITS.Param(2)},
		{"PIN fail with DA", TPM_RH_OWNER, nvDefine(testIndex, rw|nt(TPM_NT_PIN_FAIL), 8), TPM_RC_ATTRIBUTES.Param(2)},
		{"PIN pass written by its auth", TPM_RH_OWNER, nvDefine(testIndex, rw|nvAuthWrite|nt(TPM_NT_PIN_PASS), 8), TPM_RC_ATTRIBUTES.Param(2)},
		{"PIN pass of 7", TPM_RH_OWNER, nvDefine(testIndex, rw|nt(TPM_NT_PIN_PASS), 7), TPM_RC_SIZE.Param(2)},
		{"too large", TPM_RH_OWNER, nvDefine(testIndex, rw, maxNVIndex+1), TPM_RC_SIZE.Param(2)},
		{"writeall too large", TPM_RH_OWNER, nvDefine(testIndex, rw|nvWriteAll, maxNVBuffer+1), TPM_RC_SIZE.Param(2)},
		{"auth too long", TPM_RH_OWNER, nvDefineAuth(string(bytes.Repeat([]byte{1}, 33)), testIndex, rw, 8), TPM_RC_SIZE.Param(1)},
		{"not an index", TPM_RH_OWNER, bad(TPMS_NV_PUBLIC{Index: 0x81000000, NameAlg: sha, Attributes: rw}), TPM_RC_VALUE.Param(2)},
		{"hash", TPM_RH_OWNER, bad(TPMS_NV_PUBLIC{Index: testIndex, NameAlg: TPM_ALG_NULL, Attributes: rw}), TPM_RC_HASH.Param(2)},
		{"policy of another size", TPM_RH_OWNER, bad(TPMS_NV_PUBLIC{Index: testIndex, NameAlg: sha, Attributes: rw, AuthPolicy: make([]byte, 20)}), TPM_RC_SIZE.Param(2)},
		{"empty public", TPM_RH_OWNER, join(b2(nil), b2(nil)), TPM_RC_SIZE.Param(2)},
		{"public with more", TPM_RH_OWNER, join(b2(nil), b2(make([]byte, 60))), TPM_RC_VALUE.Param(2)},
	}
	for _, tt := range tests {
		x.unchanged(func() {
			if r := x.cmdS(TPM_CC_NV_DefineSpace, handles(tt.auth), pw(""), tt.params); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	saves := x.saves
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), nvDefine(testIndex, rw, 8)))
	if x.saves != saves+1 {
		t.Error("not saved")
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), nvDefine(testIndex, rw, 8)), TPM_RC_NV_DEFINED)
	})
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_PLATFORM), pw(""), nvDefine(testIndex+1, rw|nvPlatformCreate, 0)))
}

// TestNVSpace fills NV: at least 64 KiB of data fit, then TPM_RC_NV_SPACE.
func TestNVSpace(t *testing.T) {
	x := newTestTPM(t)
	data := 0
	for h := Handle(NV_INDEX_FIRST); ; h++ {
		r := x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), nvDefine(h, nvOwnerRead|nvOwnerWrite, maxNVIndex))
		if r.rc == TPM_RC_NV_SPACE {
			break
		}
		x.ok(r)
		data += maxNVIndex
	}
	if data < 64*1024 {
		t.Errorf("only %d octets fit", data)
	}
	x.reboot()
	x.start(TPM_SU_CLEAR)
	if len(x.perm.nv)*maxNVIndex != data {
		t.Errorf("%d indices after a restart", len(x.perm.nv))
	}
}

func TestNVUndefineSpace(t *testing.T) {
	x := newTestTPM(t)
	rw := nvOwnerRead | nvOwnerWrite
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), nvDefine(testIndex, rw, 8)))
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_PLATFORM), pw(""), nvDefine(testIndex+1, rw|nvPlatformCreate, 8)))
	x.nvFind(testIndex + 1).pub.Attributes |= nvPolicyDelete
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_NV_UndefineSpace, handles(TPM_RH_PLATFORM, testIndex+1), pw("")), TPM_RC_ATTRIBUTES.Handle(2))
	})
	x.nvFind(testIndex + 1).pub.Attributes &^= nvPolicyDelete
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_NV_UndefineSpace, handles(TPM_RH_OWNER, testIndex+1), pw("")), TPM_RC_NV_AUTHORIZATION)
		x.want(x.cmdS(TPM_CC_NV_UndefineSpace, handles(TPM_RH_OWNER, testIndex+2), pw("")), TPM_RC_HANDLE.Handle(2))
	})
	x.ok(x.cmdS(TPM_CC_NV_UndefineSpace, handles(TPM_RH_PLATFORM, testIndex+1), pw("")))
	x.ok(x.cmdS(TPM_CC_NV_UndefineSpace, handles(TPM_RH_PLATFORM, testIndex), pw(""))) // the platform may remove the owner's
	x.want(x.cmd(TPM_CC_NV_ReadPublic, handles(testIndex)), TPM_RC_HANDLE.Handle(1))
	// The owner's indices are out of reach while the storage hierarchy is off.
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), nvDefine(testIndex, rw, 8)))
	x.owner.enabled = false
	x.want(x.cmdS(TPM_CC_NV_UndefineSpace, handles(TPM_RH_PLATFORM, testIndex), pw("")), TPM_RC_HANDLE.Handle(2))
}

func TestNVWriteRead(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "", nvNoDA|nvOwnerWrite, 16)
	own := handles(testIndex, testIndex)
	read := func(size, offset uint16) response {
		return x.cmdS(TPM_CC_NV_Read, own, pw(""), u16(size), u16(offset))
	}
	x.unchanged(func() { x.want(read(0, 0), TPM_RC_NV_UNINITIALIZED) })
	before := x.nvName(x.nvFind(testIndex))
	before = bytes.Clone(before)
	x.ok(x.cmdS(TPM_CC_NV_Write, own, pw(""), b2([]byte("abc")), u16(4)))
	if bytes.Equal(before, x.nvName(x.nvFind(testIndex))) {
		t.Error("the Name does not follow TPMA_NV_WRITTEN")
	}
	x.unchanged(func() {
		r := x.ok(read(16, 0)).reader()
		if got := r.b2(16); !bytes.Equal(got, []byte("\xff\xff\xff\xffabc\xff\xff\xff\xff\xff\xff\xff\xff\xff")) {
			t.Errorf("read %q", got)
		}
		x.want(read(17, 0), TPM_RC_NV_RANGE)
		x.want(read(1, 16), TPM_RC_NV_RANGE)
		x.ok(read(0, 16))
		x.want(read(0xFFFF, 0xFFFF), TPM_RC_VALUE.Param(1))
		x.want(read(16, 0xFFFF), TPM_RC_NV_RANGE)
		x.want(x.cmdS(TPM_CC_NV_Write, own, pw(""), b2(make([]byte, 17)), u16(0)), TPM_RC_NV_RANGE)
		x.want(x.cmdS(TPM_CC_NV_Write, own, pw(""), b2([]byte{1}), u16(16)), TPM_RC_NV_RANGE)
		x.want(x.cmdS(TPM_CC_NV_Write, own, pw(""), b2(make([]byte, 1025)), u16(0)), TPM_RC_SIZE.Param(1))
		x.want(x.cmdS(TPM_CC_NV_Write, handles(TPM_RH_PLATFORM, testIndex), pw(""), b2([]byte{1}), u16(0)), TPM_RC_NV_AUTHORIZATION)
		x.want(x.cmdS(TPM_CC_NV_Read, handles(TPM_RH_PLATFORM, testIndex), pw(""), u16(1), u16(0)), TPM_RC_NV_AUTHORIZATION)
	})
	x.defineIndex(testIndex+1, "", nvNoDA, 16)
	x.unchanged(func() { // another index authorizes nothing
		x.want(x.cmdS(TPM_CC_NV_Write, handles(testIndex+1, testIndex), pw(""), b2([]byte{1}), u16(0)), TPM_RC_NV_AUTHORIZATION)
		x.want(x.cmdS(TPM_CC_NV_Read, handles(testIndex+1, testIndex), pw(""), u16(1), u16(0)), TPM_RC_NV_AUTHORIZATION)
	})
	x.ok(x.cmdS(TPM_CC_NV_Write, handles(TPM_RH_OWNER, testIndex), pw(""), b2([]byte{1}), u16(0)))
	x.nvSetAttrs(x.nvFind(testIndex), nvWriteLocked|nvReadLocked, 0)
	if err := x.flush(); err != nil {
		t.Fatal(err)
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_NV_Write, own, pw(""), b2([]byte{1}), u16(0)), TPM_RC_NV_LOCKED)
		x.want(read(1, 0), TPM_RC_NV_LOCKED)
	})
}

// TestNVAuthAttributes: AUTHREAD and AUTHWRITE say what the index' own auth is
// good for.
func TestNVAuthAttributes(t *testing.T) {
	x := newTestTPM(t)
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), nvDefine(testIndex, nvOwnerRead|nvOwnerWrite|nvNoDA, 8)))
	own := handles(testIndex, testIndex)
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_NV_Write, own, pw(""), b2([]byte{1}), u16(0)), TPM_RC_AUTH_UNAVAILABLE)
		x.want(x.cmdS(TPM_CC_NV_Read, own, pw(""), u16(1), u16(0)), TPM_RC_AUTH_UNAVAILABLE)
	})
}

// TestNVWriteAll: TPMA_NV_WRITEALL allows whole writes only.
func TestNVWriteAll(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "", nvNoDA|nvWriteAll, 4)
	x.unchanged(func() { x.want(x.writeIndex(testIndex, "", []byte{1, 2, 3}), TPM_RC_NV_RANGE) })
	x.ok(x.writeIndex(testIndex, "", []byte{1, 2, 3, 4}))
}

func TestNVReadPublic(t *testing.T) {
	x := newTestTPM(t)
	x.defineIndex(testIndex, "", nvNoDA, 4)
	r := x.ok(x.cmd(TPM_CC_NV_ReadPublic, handles(testIndex))).reader()
	p, name := r.nvPublic2B(), r.name()
	if r.end() != TPM_RC_SUCCESS || p.Index != testIndex || p.DataSize != 4 || p.Attributes.has(nvWritten) {
		t.Errorf("public area %+v", p)
	}
	want := x.hashName(TPM_ALG_SHA256, marshal(100, func(w *writer) { w.nvPublic(&p) }))
	if !bytes.Equal(name, want) {
		t.Errorf("Name %x, want %x", name, want)
	}
	x.want(x.cmd(TPM_CC_NV_ReadPublic, handles(testIndex), []byte{0}), TPM_RC_SIZE)
	x.sc.phEnableNV = false // of no concern to the owner's index
	x.ok(x.cmd(TPM_CC_NV_ReadPublic, handles(testIndex)))
}
