package tpm2

import (
	"bytes"
	"testing"
)

// TestPCRReset; TestPCRLocality has the localities.
func TestPCRReset(t *testing.T) {
	x := newTestTPM(t)
	x.ok(x.cmdS(TPM_CC_PCR_Extend, handles(23), pw(""), u32(1), u16(4), make([]byte, 20)))
	x.ok(x.cmdS(TPM_CC_PCR_Reset, handles(23), pw("")))
	if got := x.readPCR(TPM_ALG_SHA1, 23); !bytes.Equal(got, make([]byte, 20)) {
		t.Errorf("PCR 23: %x", got)
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_PCR_Reset, handles(0), pw("")), TPM_RC_LOCALITY)
		x.want(x.cmdS(TPM_CC_PCR_Reset, handles(TPM_RH_NULL), pw("")), TPM_RC_VALUE.Handle(1))
		x.want(x.cmdS(TPM_CC_PCR_Reset, handles(23), pw(""), []byte{1}), TPM_RC_SIZE)
	})
}

// TestHashEvents: H-CRTM before Startup and D-RTM after it.
func TestHashEvents(t *testing.T) {
	x := newRawTPM(t)
	event := func() {
		x.HashStart()
		x.HashData([]byte("ker"))
		x.HashData([]byte("nel"))
		x.HashEnd()
	}
	event()
	if !x.Established() {
		t.Error("the established bit is not set")
	}
	if rc := x.start(TPM_SU_CLEAR); rc != TPM_RC_SUCCESS {
		t.Fatal(rc)
	}
	digest := x.hash.Sum(TPM_ALG_SHA256, nil, []byte("kernel"))
	zero := make([]byte, 32)
	four := append(make([]byte, 31), 4)
	if got, want := x.readPCR(TPM_ALG_SHA256, 0), x.hash.Sum(TPM_ALG_SHA256, nil, four, digest); !bytes.Equal(got, want) {
		t.Errorf("PCR 0 after H-CRTM: %x, want %x", got, want)
	}
	if got := x.readPCR(TPM_ALG_SHA256, 17); !bytes.Equal(got, bytes.Repeat([]byte{0xFF}, 32)) {
		t.Errorf("PCR 17 before D-RTM: %x", got)
	}
	restarts := x.sr.restartCount
	event()
	if got := x.sr.restartCount; got != restarts+1 {
		t.Errorf("restartCount %d after D-RTM, was %d", got, restarts)
	}
	if got, want := x.readPCR(TPM_ALG_SHA256, 17), x.hash.Sum(TPM_ALG_SHA256, nil, zero, digest); !bytes.Equal(got, want) {
		t.Errorf("PCR 17 after D-RTM: %x, want %x", got, want)
	}
	if got := x.readPCR(TPM_ALG_SHA256, 22); !bytes.Equal(got, zero) {
		t.Errorf("PCR 22 after D-RTM: %x", got)
	}
	if x.ResetEstablished(2) != TPM_RC_LOCALITY || !x.Established() {
		t.Error("locality 2 may clear the established bit")
	}
	if x.ResetEstablished(3) != TPM_RC_SUCCESS || x.Established() {
		t.Error("locality 3 may not clear the established bit")
	}
	x.HashEnd() // without Start: nothing
	x.HashData([]byte("x"))
}

// TestExtendPCRs is the way of TPM 1.2 software: all banks, zero-padded.
func TestExtendPCRs(t *testing.T) {
	x := newTestTPM(t)
	d := bytes.Repeat([]byte{9}, 20)
	if err := x.ExtendPCRs(0, 10, d); err != nil {
		t.Fatal(err)
	}
	padded := append(bytes.Clone(d), make([]byte, 12)...)
	if got, want := x.ReadPCR(TPM_ALG_SHA256, 10), x.hash.Sum(TPM_ALG_SHA256, nil, make([]byte, 32), padded); !bytes.Equal(got, want) {
		t.Errorf("SHA-256: %x, want %x", got, want)
	}
	if got, want := x.ReadPCR(TPM_ALG_SHA1, 10), x.hash.Sum(TPM_ALG_SHA1, nil, make([]byte, 20), d); !bytes.Equal(got, want) {
		t.Errorf("SHA-1: %x, want %x", got, want)
	}
	for _, tt := range []struct {
		loc uint8
		n   int
		d   []byte
		rc  error
	}{{0, -1, d, TPM_RC_VALUE}, {0, 24, d, TPM_RC_VALUE}, {0, 1, make([]byte, 65), TPM_RC_VALUE}, {0, 17, d, TPM_RC_LOCALITY}, {5, 0, d, TPM_RC_LOCALITY}} {
		if err := x.ExtendPCRs(tt.loc, tt.n, tt.d); err != tt.rc {
			t.Errorf("PCR %d at locality %d: %v, want %v", tt.n, tt.loc, err, tt.rc)
		}
	}
	for _, bank := range []AlgID{TPM_ALG_SHA3_256, TPM_ALG_NULL} {
		if x.ReadPCR(bank, 0) != nil {
			t.Errorf("bank 0x%x has a PCR 0", bank)
		}
	}
	if x.ReadPCR(TPM_ALG_SHA1, 24) != nil || x.ReadPCR(TPM_ALG_SHA1, -1) != nil {
		t.Error("PCR out of range")
	}
	raw := newRawTPM(t)
	if raw.ReadPCR(TPM_ALG_SHA1, 0) != nil || raw.ExtendPCRs(0, 0, d) != error(TPM_RC_INITIALIZE) {
		t.Error("PCR can be used before Startup")
	}
}
