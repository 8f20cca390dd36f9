package tpm2

import (
	"encoding/binary"
	"testing"
)

// capList reads a whole capability in steps of count and returns the entries.
func (x *testTPM) capList(capability, from, count uint32, size int, next func(entry []byte) uint32) (list [][]byte) {
	x.t.Helper()
	for range 1000 {
		r := x.ok(x.cmd(TPM_CC_GetCapability, u32(capability), u32(from), u32(count))).reader()
		more := r.yesNo()
		if r.u32() != capability {
			x.t.Fatal("another capability was returned")
		}
		n := int(r.u32())
		for range n {
			list = append(list, append([]byte(nil), r.bytes(size)...))
		}
		if r.end() != TPM_RC_SUCCESS || uint32(n) > count {
			x.t.Fatalf("malformed list of %d", n)
		}
		if !more {
			return list
		}
		from = next(list[len(list)-1])
	}
	x.t.Fatal("endless list")
	return nil
}

func first4(e []byte) uint32 { return binary.BigEndian.Uint32(e) + 1 }

// TestGetCapabilityLists reads each list in steps of one and at once, and
// compares.
func TestGetCapabilityLists(t *testing.T) {
	x := fullTPM(t)
	x.perm.ppCommands.put(TPM_CC_Shutdown, true)
	alg := func(e []byte) uint32 { return uint32(binary.BigEndian.Uint16(e)) + 1 }
	cca := func(e []byte) uint32 { return binary.BigEndian.Uint32(e)&0x2000FFFF + 1 } // vendor commands come last
	for _, tt := range []struct {
		name             string
		capability, from uint32
		size             int
		next             func([]byte) uint32
		n                int // 0: any, but some
	}{
		{"algorithms", TPM_CAP_ALGS, 0, 6, alg, len(formerProfile().algorithms())},
		{"commands", TPM_CAP_COMMANDS, 0, 4, cca, len(x.commandList())},
		{"PP commands", TPM_CAP_PP_COMMANDS, 0, 4, first4, 1},
		{"fixed properties", TPM_CAP_TPM_PROPERTIES, TPM_PT_FAMILY_INDICATOR, 8, first4, 0},
		{"variable properties", TPM_CAP_TPM_PROPERTIES, TPM_PT_PERMANENT, 8, first4, 0},
		{"PCR properties", TPM_CAP_PCR_PROPERTIES, 0, 8, first4, 15},
		{"curves", TPM_CAP_ECC_CURVES, 0, 2, alg, len(formerProfile().eccCurves())},
		{"PCR handles", TPM_CAP_HANDLES, 0, 4, first4, numPCR},
		{"indices", TPM_CAP_HANDLES, 0x01000000, 4, first4, 2},
		{"loaded sessions", TPM_CAP_HANDLES, 0x02000000, 4, first4, 2},
		{"permanent handles", TPM_CAP_HANDLES, 0x40000000, 4, first4, 0},
		{"transient objects", TPM_CAP_HANDLES, 0x80000000, 4, first4, 2},
		{"persistent objects", TPM_CAP_HANDLES, 0x81000000, 4, first4, 1},
	} {
		all := x.capList(tt.capability, tt.from, 1000, tt.size, tt.next)
		one := x.capList(tt.capability, tt.from, 1, tt.size, tt.next)
		if len(all) != len(one) || tt.n != 0 && len(all) != tt.n || len(all) == 0 {
			t.Errorf("%s: %d at once, %d in steps, want %d", tt.name, len(all), len(one), tt.n)
		}
		for i := 1; i < len(all); i++ {
			if tt.next(all[i]) <= tt.next(all[i-1]) {
				t.Errorf("%s: entry %d is not in order", tt.name, i)
			}
		}
	}
	// Nothing is asked for: nothing, but more.
	r := x.ok(x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_ALGS), u32(0), u32(0))).reader()
	if !r.yesNo() || r.u32() != TPM_CAP_ALGS || r.u32() != 0 || r.end() != TPM_RC_SUCCESS {
		t.Error("count 0")
	}
}

func TestGetCapability(t *testing.T) {
	x := newTestTPM(t)
	r := x.ok(x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_PCRS), u32(0), u32(1))).reader()
	var l TPML_PCR_SELECTION
	if r.yesNo() || r.u32() != TPM_CAP_PCRS {
		t.Error("PCR banks")
	}
	r.pcrSelection(&l)
	if l.Count != len(defaultBanks) || l.Sel[0].Bits != [3]byte{0xFF, 0xFF, 0xFF} || r.end() != TPM_RC_SUCCESS {
		t.Errorf("PCR banks: %+v", l)
	}
	for _, tt := range []struct {
		name string
		args []byte
		rc   RC
	}{
		{"unknown", join(u32(0x0B), u32(0), u32(1)), TPM_RC_VALUE.Param(1)},
		{"vendor", join(u32(0x100), u32(0), u32(1)), TPM_RC_VALUE.Param(1)},
		{"PCR banks from 1", join(u32(TPM_CAP_PCRS), u32(1), u32(1)), TPM_RC_VALUE.Param(2)},
		{"handles of no type", join(u32(TPM_CAP_HANDLES), u32(0x50000000), u32(1)), TPM_RC_HANDLE.Param(2)},
		{"policies of objects", join(u32(TPM_CAP_AUTH_POLICIES), u32(0x80000000), u32(1)), TPM_RC_VALUE.Param(2)},
		{"ACT of owner", join(u32(TPM_CAP_ACT), u32(0x40000001), u32(1)), TPM_RC_VALUE.Param(2)},
		{"short", join(u32(TPM_CAP_PCRS), u32(0), []byte{0}), TPM_RC_INSUFFICIENT.Param(3)},
		{"long", join(u32(TPM_CAP_PCRS), u32(0), u32(1), []byte{0}), TPM_RC_SIZE},
	} {
		if r := x.cmd(TPM_CC_GetCapability, tt.args); r.rc != tt.rc {
			t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
		}
	}
}

// TestPropertyGroup: an answer has properties of one group of 256 only, and there is no more
// after the last of the group.
func TestPropertyGroup(t *testing.T) {
	x := newTestTPM(t)
	for _, tt := range []struct{ from, count, first, last uint32 }{
		{TPM_PT_ML_PARAMETER_SETS, 2, TPM_PT_ML_PARAMETER_SETS, TPM_PT_ML_PARAMETER_SETS},
		{0x100, 1000, TPM_PT_FAMILY_INDICATOR, TPM_PT_ML_PARAMETER_SETS},
		{0x200, 1000, TPM_PT_PERMANENT, TPM_PT_AUDIT_COUNTER_1},
		{0x1FF, 1000, 0, 0},
		{0, 1000, 0, 0},
		{0x300, 1000, 0, 0},
		{0xFFFFFFFF, 1000, 0, 0},
	} {
		r := x.ok(x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_TPM_PROPERTIES), u32(tt.from), u32(tt.count))).reader()
		more, _, n := r.yesNo(), r.u32(), r.u32()
		var first, last uint32
		for i := range n {
			last = r.u32()
			r.u32()
			if i == 0 {
				first = last
			}
		}
		if more || first != tt.first || last != tt.last || r.end() != TPM_RC_SUCCESS {
			t.Errorf("from 0x%x: %d properties, 0x%x to 0x%x, more %v; want 0x%x to 0x%x", tt.from, n, first, last, more, tt.first, tt.last)
		}
	}
}

// TestProperties reads properties that follow the state.
func TestProperties(t *testing.T) {
	x := fullTPM(t)
	x.owner.auth, x.endorsement.auth = []byte("o"), nil
	want := map[uint32]uint32{
		TPM_PT_FAMILY_INDICATOR: 0x322E3000, TPM_PT_PCR_COUNT: 24, TPM_PT_MAX_COMMAND_SIZE: 4096,
		TPM_PT_TOTAL_COMMANDS: uint32(len(x.commandList())), TPM_PT_HR_NV_INDEX: 2, TPM_PT_HR_LOADED: 2,
		TPM_PT_HR_ACTIVE_AVAIL: maxActiveSessions - 2, TPM_PT_HR_TRANSIENT_AVAIL: maxObjects - 2,
		TPM_PT_HR_PERSISTENT: 1, TPM_PT_MAX_AUTH_FAIL: defaultMaxTries, TPM_PT_LOCKOUT_INTERVAL: defaultRecoveryTime,
		TPM_PT_PERMANENT: 1<<0 | 1<<2 | 1<<10, TPM_PT_STARTUP_CLEAR: 0xF | 1<<31,
	}
	for p, w := range want {
		r := x.ok(x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_TPM_PROPERTIES), u32(p), u32(1))).reader()
		r.u8()
		r.u32()
		if n, got, v := r.u32(), r.u32(), r.u32(); n != 1 || got != p || v != w {
			t.Errorf("property 0x%x: 0x%x = 0x%x, want 0x%x", p, got, v, w)
		}
	}
}

// TestCapPolicies: a hierarchy's policy is told with its hash.
func TestCapPolicies(t *testing.T) {
	x := fullTPM(t)
	r := x.ok(x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_AUTH_POLICIES), u32(uint32(TPM_RH_ENDORSEMENT)), u32(1))).reader()
	more, _, n, h, alg := r.yesNo(), r.u32(), r.u32(), r.handle(), r.alg()
	if !more || n != 1 || h != TPM_RH_ENDORSEMENT || alg != TPM_ALG_SHA256 || len(r.bytes(32)) != 32 || r.end() != TPM_RC_SUCCESS {
		t.Errorf("%d policies, first 0x%x with 0x%x", n, h, alg)
	}
}
