package tpm2

import (
	"bytes"
	"errors"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

func TestInitPCR(t *testing.T) {
	x := newTestTPM(t)
	value := bytes.Repeat([]byte{0xA5}, 64)
	for n := range numPCR {
		for b, bank := range hashAlgs[:4] {
			if err := x.InitPCR(bank, n, value[:bank.DigestSize()]); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(x.pcrValue(b, n), value[:bank.DigestSize()]) {
				t.Errorf("PCR %d of bank %#x: %x", n, uint16(bank), x.pcrValue(b, n))
			}
		}
	}
	x.unchanged(func() {
		for _, c := range []struct {
			bank tpmcrypto.Alg
			n    int
			size int
			want error
		}{
			{TPM_ALG_SHA256, -1, 32, TPM_RC_VALUE}, {TPM_ALG_SHA256, numPCR, 32, TPM_RC_VALUE}, {TPM_ALG_SHA256, 0, 31, TPM_RC_VALUE},
			{TPM_ALG_SHA256, 0, 0, TPM_RC_VALUE}, {TPM_ALG_AES, 0, 32, TPM_RC_VALUE},
			{TPM_ALG_SHA3_256, 0, 32, nil}, // not allocated in a new TPM
		} {
			if err := x.InitPCR(c.bank, c.n, value[:c.size]); !errors.Is(err, c.want) {
				t.Errorf("bank %#x PCR %d, %d octets: %v", uint16(c.bank), c.n, c.size, err)
			}
		}
	})
	if err := newRawTPM(t).InitPCR(TPM_ALG_SHA256, 0, value[:32]); err != TPM_RC_INITIALIZE {
		t.Errorf("before Startup: %v", err)
	}
}

// A value given after Shutdown(STATE) makes that void: a resume would bring
// the old values back.
func TestInitPCRAfterShutdown(t *testing.T) {
	x := newTestTPM(t)
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	if err := x.InitPCR(TPM_ALG_SHA256, 3, bytes.Repeat([]byte{1}, 32)); err != nil {
		t.Fatal(err)
	}
	x.reboot()
	x.want(x.cmd(TPM_CC_Startup, u16(TPM_SU_STATE)), TPM_RC_VALUE.Param(1))
}
