package tpm2

import (
	"bytes"
	"testing"
)

func TestGetRandom(t *testing.T) {
	x := newTestTPM(t)
	seen := map[string]bool{}
	for _, n := range []uint16{0, 1, 16, 63, 64, 65, 1000, 65535} {
		r := x.ok(x.cmd(TPM_CC_GetRandom, u16(n))).reader()
		b := r.b2(maxDigest)
		if r.end() != TPM_RC_SUCCESS || len(b) != int(min(n, maxDigest)) {
			t.Errorf("%d asked, %d returned", n, len(b))
		}
		if len(b) >= 16 && (seen[string(b)] || bytes.Equal(b, make([]byte, len(b)))) {
			t.Error("repeated or zero")
		}
		seen[string(b)] = true
	}
	x.want(x.cmd(TPM_CC_GetRandom), TPM_RC_INSUFFICIENT.Param(1))
	x.want(x.cmd(TPM_CC_GetRandom, u32(1)), TPM_RC_SIZE)
}

// TestPool: octets that were handed out are wiped, and a pool is never used
// twice.
func TestPool(t *testing.T) {
	x := newTestTPM(t)
	out := make([]byte, 3*len(x.pool)+17)
	x.random(out)
	for i := range out[:len(out)-8] {
		if bytes.Count(out, out[i:i+8]) != 1 {
			t.Fatal("repeated octets")
		}
	}
	if !bytes.Equal(x.pool[:x.poolLeft], make([]byte, x.poolLeft)) {
		t.Error("octets that were handed out are still in the pool")
	}
}

// TestEntropyFails: without entropy at a reseed the TPM stops.
func TestEntropyFails(t *testing.T) {
	x := newTestTPM(t)
	x.keepFail = true
	x.cfg.Entropy = bytes.NewReader(nil)
	x.want(x.cmd(TPM_CC_StirRandom, b2([]byte("x"))), TPM_RC_FAILURE)
	x.want(x.cmd(TPM_CC_GetRandom, u16(4)), TPM_RC_FAILURE)
}
