package tpm2

import "testing"

// benchCommand runs one command in process, as the numbers are taken.
func benchCommand(b *testing.B, cmd []byte) {
	x := newTestTPM(b)
	x.cfg.Logf = nil
	x.ok(x.parse(TPM_ST_NO_SESSIONS, TPM_CC_GetRandom, x.Execute(0, frame(TPM_ST_NO_SESSIONS, TPM_CC_GetRandom, u16(1)), nil)))
	x.repeat(b, cmd, false)
}

// repeat runs a command over and over; transient says that it makes an object, which is
// then removed.
func (x *testTPM) repeat(b *testing.B, cmd []byte, transient bool) {
	b.ReportAllocs()
	for b.Loop() {
		rsp := x.Execute(0, cmd, x.buf[:])
		if rsp[9] != 0 {
			b.Fatalf("response % x", rsp)
		}
		if transient {
			x.Execute(0, frame(TPM_ST_NO_SESSIONS, TPM_CC_FlushContext, rsp[10:14]), x.buf[:])
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

// BenchmarkObjects is what commands on objects take in process. What makes an object is
// measured with the FlushContext that removes it.
func BenchmarkObjects(b *testing.B) {
	x := newTestTPM(b)
	x.cfg.Logf = nil
	parent := x.storageParent()
	creation := frame(TPM_ST_SESSIONS, TPM_CC_Create, join(handles(parent), pw(""), createParams("", make([]byte, 32), sealedTemplate(nil))))
	c := x.create(parent, "", make([]byte, 32), sealedTemplate(nil))
	load := frame(TPM_ST_SESSIONS, TPM_CC_Load, join(handles(parent), pw(""), load2(c.private, &c.pub)))
	h := x.load(parent, c)
	key := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	saved := x.saveContext(key)
	x.drop(key)
	key = x.ok(x.loadContext(saved)).handle
	run := func(name string, transient bool, cmd []byte) {
		b.Run(name, func(b *testing.B) { x.repeat(b, cmd, transient) })
	}
	run("Create sealed", false, creation)
	run("Load sealed", true, load)
	run("Unseal", false, frame(TPM_ST_SESSIONS, TPM_CC_Unseal, join(handles(h), pw(""))))
	run("ContextSave", false, frame(TPM_ST_NO_SESSIONS, TPM_CC_ContextSave, handles(key)))
	run("ContextLoad", true, frame(TPM_ST_NO_SESSIONS, TPM_CC_ContextLoad, marshal(4096, func(w *writer) { w.context(&saved) })))
	run("Sign ECDSA", false, frame(TPM_ST_SESSIONS, TPM_CC_Sign, join(handles(key), pw(""), b2(make([]byte, 32)),
		schemeBytes(scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256)), nullTicket(TPM_ST_HASHCHECK))))
	x.drop(h)
	run("CreatePrimary ECC", true, frame(TPM_ST_SESSIONS, TPM_CC_CreatePrimary,
		join(handles(TPM_RH_OWNER), pw(""), createParams("", nil, eccTemplate(attrsStorage)))))
}
