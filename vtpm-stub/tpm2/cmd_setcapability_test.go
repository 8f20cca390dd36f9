package tpm2

import "testing"

func TestSetCapability(t *testing.T) {
	x := newTestTPM(t)
	set := func(data []byte) response {
		return x.cmdS(TPM_CC_SetCapability, handles(TPM_RH_OWNER), pw(""), b2(data))
	}
	x.unchanged(func() {
		x.want(set(u32(uint32(TPM_CAP_TPM_PROPERTIES))), TPM_RC_VALUE.Param(1))
		x.want(set(join(u32(uint32(TPM_CAP_VENDOR_PROPERTY)), make([]byte, 100))), TPM_RC_VALUE.Param(1))
		x.want(set([]byte{0, 0, 1}), TPM_RC_INSUFFICIENT.Param(1))
		x.want(x.cmdS(TPM_CC_SetCapability, handles(TPM_RH_OWNER), pw(""), u16(9)), TPM_RC_INSUFFICIENT.Param(1))
		x.want(x.cmdS(TPM_CC_SetCapability, handles(TPM_RH_OWNER), pw("wrong"), b2(u32(0))), TPM_RC_BAD_AUTH.Session(1))
		x.want(x.cmdS(TPM_CC_SetCapability, handles(0x80000000), pw(""), b2(u32(0))), TPM_RC_VALUE.Handle(1))
	})
}

func TestVendorTCGTest(t *testing.T) {
	x := newTestTPM(t)
	for _, data := range [][]byte{nil, []byte("dispatch"), make([]byte, maxDigest+2)} {
		if got := x.ok(x.cmd(TPM_CC_Vendor_TCG_Test, nil, b2(data))).reader().b2(maxDigest + 2); string(got) != string(data) {
			t.Errorf("%d octets came back as %x", len(data), got)
		}
	}
	x.want(x.cmd(TPM_CC_Vendor_TCG_Test, nil, b2(make([]byte, maxDigest+3))), TPM_RC_SIZE.Param(1))
}
