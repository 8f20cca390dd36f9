package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

func TestPCRExtend(t *testing.T) {
	x := newTestTPM(t)
	d1, d256 := bytes.Repeat([]byte{1}, 20), bytes.Repeat([]byte{2}, 32)
	x.ok(x.cmdS(TPM_CC_PCR_Extend, handles(7), pw(""), u32(2),
		u16(uint16(TPM_ALG_SHA1)), d1, u16(uint16(TPM_ALG_SHA256)), d256))
	if got := x.readPCR(TPM_ALG_SHA1, 7); !bytes.Equal(got, tpmcrypto.Sum(TPM_ALG_SHA1, make([]byte, 20), d1)) {
		t.Errorf("SHA-1: %x", got)
	}
	if got := x.readPCR(TPM_ALG_SHA256, 7); !bytes.Equal(got, tpmcrypto.Sum(TPM_ALG_SHA256, make([]byte, 32), d256)) {
		t.Errorf("SHA-256: %x", got)
	}
	if got := x.readPCR(TPM_ALG_SHA384, 7); !bytes.Equal(got, make([]byte, 48)) {
		t.Errorf("SHA-384, not in the list: %x", got)
	}
	if x.sr.pcrCounter != 2 { // one for each bank
		t.Errorf("pcrUpdateCounter %d", x.sr.pcrCounter)
	}
	x.ok(x.cmdS(TPM_CC_PCR_Extend, handles(16), pw(""), u32(1), u16(4), d1)) // does not count
	x.unchanged(func() {
		x.ok(x.cmdS(TPM_CC_PCR_Extend, handles(TPM_RH_NULL), pw(""), u32(1), u16(4), d1))
		x.ok(x.cmdS(TPM_CC_PCR_Extend, handles(7), pw(""), u32(0)))
		x.want(x.cmdS(TPM_CC_PCR_Extend, handles(17), pw(""), u32(1), u16(4), d1), TPM_RC_LOCALITY)
		x.want(x.cmdS(TPM_CC_PCR_Extend, handles(7), pw(""), u32(1), u16(0x12), d256), TPM_RC_HASH.Param(1))
		x.want(x.cmdS(TPM_CC_PCR_Extend, handles(7), pw(""), u32(8)), TPM_RC_SIZE.Param(1))
		x.want(x.cmdS(TPM_CC_PCR_Extend, handles(7), pw(""), u32(1), u16(4), d1[:19]), TPM_RC_INSUFFICIENT.Param(1))
		x.want(x.cmdS(TPM_CC_PCR_Extend, handles(7), pw("x"), u32(1), u16(4), d1), TPM_RC_BAD_AUTH.Session(1))
	})
	if x.sr.pcrCounter != 2 { // one for each bank
		t.Errorf("pcrUpdateCounter %d", x.sr.pcrCounter)
	}
}

// TestPCRLocality is the PC Client table of who may extend and reset what.
func TestPCRLocality(t *testing.T) {
	extend := map[int]string{0: "01234", 15: "01234", 16: "01234", 17: "234", 18: "234", 19: "23", 20: "123", 21: "2", 22: "2", 23: "01234"}
	reset := map[int]string{0: "", 15: "", 16: "01234", 17: "4", 18: "4", 19: "4", 20: "24", 21: "24", 22: "24", 23: "01234"}
	try := func(x *testTPM, pcr int, cc CC, params []byte) (got string) {
		for loc := range uint8(7) {
			x.loc = loc
			switch r := x.cmdS(cc, handles(Handle(pcr)), pw(""), params); r.rc {
			case TPM_RC_SUCCESS:
				got += string('0' + rune(loc))
			case TPM_RC_LOCALITY:
			default:
				t.Errorf("PCR %d at locality %d: %v", pcr, loc, r.rc)
			}
		}
		return got
	}
	x := newTestTPM(t)
	for pcr, want := range extend {
		if got := try(x, pcr, TPM_CC_PCR_Extend, join(u32(1), u16(4), make([]byte, 20))); got != want {
			t.Errorf("PCR %d may be extended from %q, want %q", pcr, got, want)
		}
		if got := try(x, pcr, TPM_CC_PCR_Reset, nil); got != reset[pcr] {
			t.Errorf("PCR %d may be reset from %q, want %q", pcr, got, reset[pcr])
		}
	}
}

// TestPCRUpdateCounter: extending counts for each bank that was changed, a reset once for all.
func TestPCRUpdateCounter(t *testing.T) {
	x := newTestTPM(t, func(c *Config) { c.PCRBanks = []AlgID{TPM_ALG_SHA1, TPM_ALG_SHA256} })
	x.loc = 4
	d1, d256, d384 := make([]byte, 20), make([]byte, 32), make([]byte, 48)
	extend := func(pcr Handle, digests ...[]byte) {
		x.ok(x.cmdS(TPM_CC_PCR_Extend, handles(pcr), pw(""), u32(uint32(len(digests))), join(digests...)))
	}
	sha1, sha256 := join(u16(uint16(TPM_ALG_SHA1)), d1), join(u16(uint16(TPM_ALG_SHA256)), d256)
	sha384 := join(u16(uint16(TPM_ALG_SHA384)), d384)
	for _, tt := range []struct {
		name string
		do   func()
		n    uint32
	}{
		{"extend of two banks", func() { extend(10, sha1, sha256) }, 2},
		{"extend of one bank", func() { extend(10, sha256) }, 1},
		{"extend of a bank that is not allocated", func() { extend(10, sha384) }, 0},
		{"extend of a PCR that does not count", func() { extend(16, sha1, sha256) }, 0},
		{"event", func() { x.ok(x.cmdS(TPM_CC_PCR_Event, handles(10), pw(""), b2(d1))) }, 2},
		{"event for no PCR", func() { x.ok(x.cmdS(TPM_CC_PCR_Event, handles(TPM_RH_NULL), pw(""), b2(d1))) }, 0},
		{"event sequence", func() {
			h := x.ok(x.cmd(TPM_CC_HashSequenceStart, b2(nil), u16(uint16(TPM_ALG_NULL)))).handle
			x.ok(x.cmdS(TPM_CC_EventSequenceComplete, handles(10, h), pw("", ""), b2(nil)))
		}, 2},
		{"reset", func() { x.ok(x.cmdS(TPM_CC_PCR_Reset, handles(20), pw(""))) }, 1},
		{"D-RTM", func() { x.HashStart(); x.HashEnd() }, 1},
		{"courtesy of TPM 1.2", func() {
			if err := x.ExtendPCRs(0, 10, d1); err != nil {
				t.Error(err)
			}
		}, 2},
	} {
		before := x.sr.pcrCounter
		tt.do()
		if got := x.sr.pcrCounter - before; got != tt.n {
			t.Errorf("%s: counted %d, want %d", tt.name, got, tt.n)
		}
	}
}
