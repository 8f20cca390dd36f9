package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// Capped PCRs are 0 to 15, in each bank, by the digest of the error value; the
// rest keeps its first value, and a reset gives all of them theirs again.
func TestCapPCRs(t *testing.T) {
	x := newTestTPM(t)
	first := func(bank AlgID, n int) []byte { return bytes.Clone(x.ReadPCR(bank, n)) }
	before := map[AlgID][][]byte{}
	banks := []AlgID{TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512}
	for _, bank := range banks {
		for n := range numPCR {
			before[bank] = append(before[bank], first(bank, n))
		}
	}
	if err := x.CapPCRs(); err != nil {
		t.Fatal(err)
	}
	for _, bank := range banks {
		hash := func(parts ...[]byte) []byte {
			h, err := tpmcrypto.NewHashSequence(bank)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = h.Write(join(parts...)) // never fails
			return h.Sum(nil)
		}
		for n := range numPCR {
			want := before[bank][n]
			if n < 16 {
				want = hash(want, hash([]byte{1, 0, 0, 0}))
			}
			if got := x.ReadPCR(bank, n); !bytes.Equal(got, want) {
				t.Errorf("bank %#x, PCR %d is %x, want %x", uint16(bank), n, got, want)
			}
		}
	}
	x.PowerOn()
	if err := x.CapPCRs(); err != TPM_RC_INITIALIZE {
		t.Errorf("before Startup: %v", err)
	}
	if rc := x.start(TPM_SU_CLEAR); rc != TPM_RC_SUCCESS {
		t.Fatal(rc)
	}
	if got := x.ReadPCR(TPM_ALG_SHA256, 3); !bytes.Equal(got, before[TPM_ALG_SHA256][3]) {
		t.Errorf("after a reset: %x", got)
	}
}
