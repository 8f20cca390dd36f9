package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

func TestPCREvent(t *testing.T) {
	x := newTestTPM(t)
	event := []byte("an event")
	for _, h := range []Handle{9, TPM_RH_NULL} {
		before := x.readPCR(TPM_ALG_SHA512, 9)
		r := x.ok(x.cmdS(TPM_CC_PCR_Event, handles(h), pw(""), b2(event))).reader()
		var l TPML_DIGEST_VALUES
		r.digestValues(&l)
		if r.end() != TPM_RC_SUCCESS || l.Count != 4 {
			t.Fatalf("%d digests", l.Count)
		}
		for i, d := range l.Digests[:l.Count] {
			if d.Hash != hashAlgs[i] || !bytes.Equal(d.Digest, tpmcrypto.Sum(d.Hash, event)) {
				t.Errorf("digest %d: 0x%x %x", i, d.Hash, d.Digest)
			}
		}
		want := before
		if h != TPM_RH_NULL {
			want = tpmcrypto.Sum(TPM_ALG_SHA512, before, tpmcrypto.Sum(TPM_ALG_SHA512, event))
		}
		if got := x.readPCR(TPM_ALG_SHA512, 9); !bytes.Equal(got, want) {
			t.Errorf("handle 0x%x: PCR is %x", h, got)
		}
	}
	if x.sr.pcrCounter != 4 { // one for each bank
		t.Errorf("pcrUpdateCounter %d", x.sr.pcrCounter)
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_PCR_Event, handles(9), pw(""), b2(make([]byte, 1025))), TPM_RC_SIZE.Param(1))
		x.want(x.cmdS(TPM_CC_PCR_Event, handles(18), pw(""), b2(nil)), TPM_RC_LOCALITY)
	})
}
