package tpm2

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// Responses that are larger than the transport takes are an error, and change nothing; the
// sizes that are reported follow the transport.
func TestSmallTransport(t *testing.T) {
	for _, size := range []int{2200, 2808, 3968} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			x := newTestTPM(t, func(c *Config) { c.MaxCommand = size })
			for _, p := range []uint32{TPM_PT_MAX_COMMAND_SIZE, TPM_PT_MAX_RESPONSE_SIZE, TPM_PT_MAX_OBJECT_CONTEXT} {
				want := uint32(size)
				if p == TPM_PT_MAX_OBJECT_CONTEXT {
					want = min(maxContextSize, want-contextOverhead)
				}
				if got := x.property(p); got != want {
					t.Errorf("property %x is %d, want %d", p, got, want)
				}
			}
			x.largeCommands(size)
			if x.Failed() {
				t.Error("failure mode")
			}
		})
	}
}

// property reads one TPM property.
func (x *testTPM) property(p uint32) uint32 {
	x.t.Helper()
	r := x.ok(x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_TPM_PROPERTIES), u32(p), u32(1))).reader()
	r.u8()
	r.u32()
	if n, got := r.u32(), r.u32(); n != 1 || got != p {
		x.t.Fatalf("property %x: %d of %x", p, n, got)
	}
	return r.u32()
}

// largeCommands runs those whose responses are the largest: each fits or is TPM_RC_SIZE.
func (x *testTPM) largeCommands(size int) {
	x.t.Helper()
	var refused []string
	try := func(name string, run func() response) response {
		x.t.Helper()
		objects := x.objectCount()
		r := run()
		switch {
		case r.rc == TPM_RC_SUCCESS && len(r.raw) > size:
			x.t.Errorf("%s: %d octets", name, len(r.raw))
		case r.rc == TPM_RC_SIZE, r.rc == TPM_RC_SIZE.Param(3):
			refused = append(refused, name)
			if n := x.objectCount(); n != objects {
				x.t.Errorf("%s: %d objects, before there were %d", name, n, objects)
			}
		case r.rc != TPM_RC_SUCCESS:
			x.t.Errorf("%s: %v", name, r.rc)
		}
		return r
	}
	x.defineIndex(testIndex, "", 0, 1024)
	x.ok(x.writeIndex(testIndex, "", bytes.Repeat([]byte{5}, 1024)))
	key := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", mldsaTemplate(set65, attrsSign, false)).handle
	try("NV_Certify", func() response {
		return x.cmdS(TPM_CC_NV_Certify, handles(key, testIndex, testIndex), area(sess(TPM_RS_PW, nil, 0, nil), sess(TPM_RS_PW, nil, 0, nil)), b2(nil), noScheme, u16(640), u16(0))
	})
	seq := x.ok(x.cmd(TPM_CC_SignSequenceStart, handles(key), b2(nil), b2(nil))).handle
	done := try("SignSequenceComplete", func() response {
		return x.cmdS(TPM_CC_SignSequenceComplete, handles(seq, key), area(sess(TPM_RS_PW, nil, 0, nil), sess(TPM_RS_PW, nil, 0, nil)), b2([]byte("text")))
	})
	if done.rc != TPM_RC_SUCCESS {
		x.drop(seq) // it is still there
	}
	try("ContextSave", func() response { return x.cmd(TPM_CC_ContextSave, handles(key)) })
	policy := make([]byte, 64)
	large := mldsaTemplate(set65, attrsSign, false)
	large.NameAlg, large.AuthPolicy = TPM_ALG_SHA512, policy
	try("CreatePrimary", func() response {
		return x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), createParams("", nil, large))
	})
	want := map[int][]string{
		2200: {"NV_Certify", "SignSequenceComplete", "CreatePrimary"},
		2808: {"NV_Certify", "SignSequenceComplete"},
		3968: {"NV_Certify"}, // 4,088 octets
	}[size]
	if !slices.Equal(refused, want) {
		x.t.Errorf("too large: %v, want %v", refused, want)
	}
}

func (x *testTPM) objectCount() (n int) {
	for _, o := range x.ram.objects {
		if o != nil {
			n++
		}
	}
	return n
}
