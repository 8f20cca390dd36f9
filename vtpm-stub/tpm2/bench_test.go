package tpm2

import "testing"

// benchCommand runs one command in process, as the numbers are taken.
func benchCommand(b *testing.B, cmd []byte) {
	x := newTestTPM(b)
	x.cfg.Logf = nil
	x.ok(x.parse(TPM_ST_NO_SESSIONS, TPM_CC_GetRandom, x.Execute(0, frame(TPM_ST_NO_SESSIONS, TPM_CC_GetRandom, u16(1)), nil)))
	b.ReportAllocs()
	for b.Loop() {
		rsp := x.Execute(0, cmd, x.buf[:])
		if rsp[9] != 0 {
			b.Fatalf("response % x", rsp)
		}
	}
}

func pcrReadCmd() []byte {
	return frame(TPM_ST_NO_SESSIONS, TPM_CC_PCR_Read, join(u32(1), u16(uint16(TPM_ALG_SHA256)), []byte{3, 1, 0, 0}))
}

func pcrExtendCmd(alg AlgID) []byte {
	return frame(TPM_ST_SESSIONS, TPM_CC_PCR_Extend,
		join(handles(16), pw(""), u32(1), u16(uint16(alg)), make([]byte, alg.DigestSize())))
}

func getRandomCmd(n uint16) []byte { return frame(TPM_ST_NO_SESSIONS, TPM_CC_GetRandom, u16(n)) }

func BenchmarkGetRandom(b *testing.B)       { benchCommand(b, getRandomCmd(16)) }
func BenchmarkGetRandom32(b *testing.B)     { benchCommand(b, getRandomCmd(32)) }
func BenchmarkPCRRead(b *testing.B)         { benchCommand(b, pcrReadCmd()) }
func BenchmarkPCRExtend(b *testing.B)       { benchCommand(b, pcrExtendCmd(TPM_ALG_SHA256)) }
func BenchmarkPCRExtendSHA1(b *testing.B)   { benchCommand(b, pcrExtendCmd(TPM_ALG_SHA1)) }
func BenchmarkPCRExtendSHA512(b *testing.B) { benchCommand(b, pcrExtendCmd(TPM_ALG_SHA512)) }

// TestNoAllocations holds that simple commands do not allocate.
func TestNoAllocations(t *testing.T) {
	x := newTestTPM(t)
	x.ok(x.cmd(TPM_CC_GetRandom, u16(64)))
	for name, cmd := range map[string][]byte{
		"GetRandom": getRandomCmd(32), "PCR_Read": pcrReadCmd(), "PCR_Extend": pcrExtendCmd(TPM_ALG_SHA256),
	} {
		x.Execute(0, cmd, x.buf[:]) // hashes are made at their first use
		if n := testing.AllocsPerRun(200, func() { x.Execute(0, cmd, x.buf[:]) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
