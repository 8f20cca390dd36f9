package tpm2

import (
	"bytes"
	"testing"
)

// pcrSel marshals one selection.
func pcrSel(alg AlgID, bits ...int) []byte {
	s := TPMS_PCR_SELECTION{Hash: alg}
	for _, b := range bits {
		s.set(b)
	}
	return join(u16(uint16(alg)), []byte{pcrSelectBytes}, s.Bits[:])
}

// readPCR reads one PCR through the command.
func (x *testTPM) readPCR(alg AlgID, n int) []byte {
	x.t.Helper()
	r := x.ok(x.cmd(TPM_CC_PCR_Read, u32(1), pcrSel(alg, n))).reader()
	r.u32()
	var l TPML_PCR_SELECTION
	r.pcrSelection(&l)
	if r.u32() != 1 {
		x.t.Fatalf("PCR %d of bank 0x%x is not there", n, alg)
	}
	return r.b2(maxDigest)
}

func TestPCRRead(t *testing.T) {
	x := newTestTPM(t)
	all := make([]int, numPCR)
	for i := range all {
		all[i] = i
	}
	// Two banks, 48 PCR: the first eight are returned, and said to be so.
	r := x.ok(x.cmd(TPM_CC_PCR_Read, u32(2), pcrSel(TPM_ALG_SHA1, 5, 17), pcrSel(TPM_ALG_SHA256, all...))).reader()
	r.u32()
	var l TPML_PCR_SELECTION
	r.pcrSelection(&l)
	if l.Count != 2 || l.Sel[0].Bits != [3]byte{0x20, 0, 2} || l.Sel[1].Bits != [3]byte{0x3F} {
		t.Errorf("pcrSelectionOut %+v", l)
	}
	if n := r.u32(); n != 8 {
		t.Fatalf("%d values", n)
	}
	want := [][]byte{make([]byte, 20), bytes.Repeat([]byte{0xFF}, 20)}
	for range 6 {
		want = append(want, make([]byte, 32))
	}
	for i, w := range want {
		if v := r.b2(maxDigest); !bytes.Equal(v, w) {
			t.Errorf("value %d: % x", i, v)
		}
	}
	if r.end() != TPM_RC_SUCCESS {
		t.Error("octets left over")
	}
	// A bank that is not allocated has no values.
	r = x.ok(x.cmd(TPM_CC_PCR_Read, u32(1), pcrSel(TPM_ALG_SHA3_256, 0, 1))).reader()
	r.u32()
	r.pcrSelection(&l)
	if l.Sel[0].Bits != [3]byte{} || r.u32() != 0 || r.end() != TPM_RC_SUCCESS {
		t.Error("values of a bank that is not allocated")
	}
	for name, tt := range map[string]struct {
		params []byte
		rc     RC
	}{
		"hash":       {join(u32(1), u16(0x12), []byte{3, 0, 0, 0}), TPM_RC_HASH.Param(1)},
		"null hash":  {join(u32(1), u16(0x10), []byte{3, 0, 0, 0}), TPM_RC_HASH.Param(1)},
		"select 2":   {join(u32(1), u16(4), []byte{2, 0, 0}), TPM_RC_VALUE.Param(1)},
		"select 4":   {join(u32(1), u16(4), []byte{4, 0, 0, 0, 0}), TPM_RC_VALUE.Param(1)},
		"count":      {u32(numHashes + 1), TPM_RC_SIZE.Param(1)},
		"count 2^32": {u32(0xFFFFFFFF), TPM_RC_SIZE.Param(1)},
		"short":      {join(u32(1), u16(4), []byte{3, 0, 0}), TPM_RC_INSUFFICIENT.Param(1)},
	} {
		if r := x.cmd(TPM_CC_PCR_Read, tt.params); r.rc != tt.rc {
			t.Errorf("%s: %v, want %v", name, r.rc, tt.rc)
		}
	}
}
