package tpm2

import (
	"bytes"
	"encoding/binary"
	"testing"

	"xenvtpm/drivers/tpmid"
	"xenvtpm/vtpm-stub/tpmcrypto"
)

// attested is a parsed TPMS_ATTEST; rest reads the part of the type.
type attested struct {
	doc  []byte
	head attestHeader
	sig  TPMT_SIGNATURE
	rest reader
}

// readAttest parses TPM2B_ATTEST and signature, the whole response.
func (x *testTPM) readAttest(r response) attested {
	x.t.Helper()
	in := x.ok(r).reader()
	a := attested{doc: in.b2(maxAttest)}
	a.sig = in.signature(true)
	d := reader{b: a.doc}
	if magic := d.u32(); magic != TPM_GENERATED_VALUE {
		x.t.Errorf("magic %x", magic)
	}
	a.head.Type = ST(d.u16())
	a.head.QualifiedSigner = d.b2(maxDigest + 2)
	a.head.ExtraData = d.data()
	a.head.Clock = TPMS_CLOCK_INFO{d.u64(), d.u32(), d.u32(), d.yesNo()}
	a.head.FirmwareVersion = d.u64()
	a.rest = d
	if in.end() != TPM_RC_SUCCESS || d.rc != TPM_RC_SUCCESS {
		x.t.Fatalf("attestation: %v %v", in.end(), d.rc)
	}
	return a
}

// akTemplate is an attestation key: restricted, with ECDSA and SHA-256.
func akTemplate() TPMT_PUBLIC {
	return eccSigner(attrsSign|objRestricted, TPM_ECC_NIST_P256, scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256))
}

// checkAttest checks what all attestations have in common, signed by an akTemplate key.
func (x *testTPM) checkAttest(a attested, key Handle, typ ST, extra string) {
	x.t.Helper()
	o := x.transient(key)
	if a.head.Type != typ || string(a.head.ExtraData) != extra {
		x.t.Errorf("type %x, extraData %q", a.head.Type, a.head.ExtraData)
	}
	if !bytes.Equal(a.head.QualifiedSigner, o.qname) {
		x.t.Errorf("qualifiedSigner %x", a.head.QualifiedSigner)
	}
	x.ok(x.verifySig(key, tpmcrypto.Sum(TPM_ALG_SHA256, a.doc), a.sig))
	want := x.clockInfo()
	if a.head.Clock.Clock != want.Clock || a.head.Clock.Safe != want.Safe {
		x.t.Errorf("clock %+v, want %+v", a.head.Clock, want)
	}
	same := a.head.Clock == want && a.head.FirmwareVersion == tpmid.FirmwareVersion
	if plain := o.hierarchy == TPM_RH_ENDORSEMENT || o.hierarchy == TPM_RH_PLATFORM; same != plain {
		x.t.Errorf("obfuscated: %v, key in %x", !same, o.hierarchy)
	}
}

var noScheme = schemeBytes(nullScheme)

func selectPCR(alg AlgID, pcrs ...int) []byte {
	l := TPML_PCR_SELECTION{Count: 1}
	l.Sel[0] = TPMS_PCR_SELECTION{Hash: alg, Size: pcrSelectBytes}
	for _, n := range pcrs {
		l.Sel[0].set(n)
	}
	return marshal(64, func(w *writer) { w.pcrSelection(&l) })
}

// TestAttestHierarchies quotes with a key of each hierarchy and without one: only keys of
// endorsement and platform hierarchy show the counters, and each key hides them
// in its own way.
func TestAttestHierarchies(t *testing.T) {
	x := newTestTPM(t)
	seen := map[uint64]bool{}
	for _, h := range []Handle{TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM, TPM_RH_OWNER, TPM_RH_NULL} {
		key := x.createPrimaryKey(h, "", akTemplate()).handle
		quote := func() attested {
			return x.readAttest(x.cmdS(TPM_CC_Quote, handles(key), pw(""), b2([]byte("nonce")), noScheme, selectPCR(TPM_ALG_SHA256, 0, 7)))
		}
		a := quote()
		x.checkAttest(a, key, TPM_ST_ATTEST_QUOTE, "nonce")
		if b := quote(); b.head.FirmwareVersion != a.head.FirmwareVersion {
			t.Error("the obfuscation of a key changes")
		}
		if h == TPM_RH_OWNER || h == TPM_RH_NULL {
			if seen[a.head.FirmwareVersion] {
				t.Error("two keys obfuscate in the same way")
			}
			o := x.transient(key)
			kdf := tpmcrypto.KDFa(TPM_ALG_SHA256, x.owner.proof[:], "OBFUSCATE", o.qname, nil, 128)
			if a.head.FirmwareVersion-tpmid.FirmwareVersion != binary.BigEndian.Uint64(kdf) ||
				a.head.Clock.ResetCount-x.perm.resetCount != binary.BigEndian.Uint32(kdf[8:]) ||
				a.head.Clock.RestartCount-x.sr.restartCount != binary.BigEndian.Uint32(kdf[12:]) {
				t.Error("obfuscation is not equation 3")
			}
			seen[a.head.FirmwareVersion] = true
		}
		x.flushObject(key)
	}
	a := x.readAttest(x.cmdS(TPM_CC_Quote, handles(TPM_RH_NULL), pw(""), b2(nil), schemeBytes(scheme(TPM_ALG_RSASSA, TPM_ALG_SHA1)), selectPCR(TPM_ALG_SHA256, 0)))
	if a.sig.Alg != TPM_ALG_NULL || !bytes.Equal(a.head.QualifiedSigner, handleName(TPM_RH_NULL)) || a.head.FirmwareVersion == tpmid.FirmwareVersion {
		t.Errorf("without a key: %+v", a)
	}
}

func TestQuote(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", akTemplate()).handle
	event := bytes.Repeat([]byte{7}, 32)
	x.ok(x.cmdS(TPM_CC_PCR_Extend, handles(7), pw(""), u32(1), u16(uint16(TPM_ALG_SHA256)), event))
	a := x.readAttest(x.cmdS(TPM_CC_Quote, handles(key), pw(""), b2([]byte("n")), noScheme, selectPCR(TPM_ALG_SHA256, 0, 7)))
	var sel TPML_PCR_SELECTION
	a.rest.pcrSelection(&sel)
	digest := a.rest.digest()
	pcr7 := tpmcrypto.Sum(TPM_ALG_SHA256, make([]byte, 32), event)
	if want := tpmcrypto.Sum(TPM_ALG_SHA256, make([]byte, 32), pcr7); !bytes.Equal(digest, want) {
		t.Errorf("pcrDigest %x, want %x", digest, want)
	}
	if a.rest.end() != TPM_RC_SUCCESS || sel.Count != 1 || !sel.Sel[0].has(0) || !sel.Sel[0].has(7) || sel.Sel[0].has(1) {
		t.Errorf("selection %+v, %v", sel, a.rest.end())
	}
	// A key without a scheme: the caller's hash is that of the PCR digest.
	open := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	a = x.readAttest(x.cmdS(TPM_CC_Quote, handles(open), pw(""), b2(nil), schemeBytes(scheme(TPM_ALG_ECDSA, TPM_ALG_SHA384)), selectPCR(TPM_ALG_SHA256, 7)))
	a.rest.pcrSelection(&sel)
	if digest := a.rest.digest(); !bytes.Equal(digest, tpmcrypto.Sum(TPM_ALG_SHA384, pcr7)) {
		t.Errorf("pcrDigest %x", digest)
	}
	storage := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	quote := func(h Handle, s TPMT_SCHEME, sel []byte) response {
		return x.cmdS(TPM_CC_Quote, handles(h), pw(""), b2(nil), schemeBytes(s), sel)
	}
	x.unchanged(func() {
		x.want(quote(storage, nullScheme, selectPCR(TPM_ALG_SHA256)), TPM_RC_KEY.Handle(1))
		x.want(quote(open, nullScheme, selectPCR(TPM_ALG_SHA256)), TPM_RC_SCHEME.Param(2))
		x.want(quote(key, scheme(TPM_ALG_ECDSA, TPM_ALG_SHA384), selectPCR(TPM_ALG_SHA256)), TPM_RC_SCHEME.Param(2))
		x.want(quote(TPM_RH_NULL, nullScheme, selectPCR(TPM_ALG_SHA256)), TPM_RC_SCHEME.Param(2))
		x.want(quote(key, nullScheme, join(u32(1), u16(uint16(TPM_ALG_SM3_256)), []byte{3, 0, 0, 0})), TPM_RC_HASH.Param(3))
		x.want(quote(key, nullScheme, u32(99)), TPM_RC_SIZE.Param(3))
		x.want(x.cmdS(TPM_CC_Quote, handles(key), pw(""), b2(make([]byte, 67)), noScheme, selectPCR(TPM_ALG_SHA256)), TPM_RC_SIZE.Param(1))
	})
}

func TestCertify(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", akTemplate()).handle
	o := x.createPrimaryKey(TPM_RH_OWNER, "pass", eccTemplate(attrsStorage)).handle
	certify := func(o, key Handle, s []byte) response {
		return x.cmdS(TPM_CC_Certify, handles(o, key), pw("pass", ""), b2([]byte("q")), s)
	}
	a := x.readAttest(certify(o, key, noScheme))
	x.checkAttest(a, key, TPM_ST_ATTEST_CERTIFY, "q")
	if name, qn := a.rest.name(), a.rest.name(); !bytes.Equal(name, x.transient(o).name) || !bytes.Equal(qn, x.transient(o).qname) || a.rest.end() != TPM_RC_SUCCESS {
		t.Errorf("name %x, qualifiedName %x", name, qn)
	}
	seq := x.ok(x.cmd(TPM_CC_HashSequenceStart, b2([]byte("pass")), u16(uint16(TPM_ALG_SHA256)))).handle
	x.unchanged(func() {
		x.want(certify(seq, key, noScheme), TPM_RC_TYPE.Handle(1))
		x.want(x.cmdS(TPM_CC_Certify, handles(o, o), pw("pass", "pass"), b2(nil), noScheme), TPM_RC_KEY.Handle(2))
		x.want(certify(o, key, schemeBytes(scheme(TPM_ALG_RSASSA, TPM_ALG_SHA256))), TPM_RC_SCHEME.Param(2))
	})
}

func TestCertifyCreation(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", akTemplate()).handle
	r := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage))
	in := r.reader()
	in.public2B(publicPlain)
	in.b2(1024)
	hash := bytes.Clone(in.digest())
	ticket := in.ticket(TPM_ST_CREATION)
	certify := func(o Handle, hash []byte, k TPMT_TK, s []byte) response {
		return x.cmdS(TPM_CC_CertifyCreation, handles(key, o), pw(""), b2([]byte("q")), b2(hash), s, ticketBytes(k))
	}
	a := x.readAttest(certify(r.handle, hash, ticket, noScheme))
	x.checkAttest(a, key, TPM_ST_ATTEST_CREATION, "q")
	if name, h := a.rest.name(), a.rest.digest(); !bytes.Equal(name, x.transient(r.handle).name) || !bytes.Equal(h, hash) || a.rest.end() != TPM_RC_SUCCESS {
		t.Errorf("name %x, hash %x", name, h)
	}
	other := ticket
	other.Hierarchy = TPM_RH_ENDORSEMENT
	x.unchanged(func() {
		x.want(certify(r.handle, flip(hash, 0), ticket, noScheme), TPM_RC_TICKET.Param(4))
		x.want(certify(key, hash, ticket, noScheme), TPM_RC_TICKET.Param(4))
		x.want(certify(r.handle, hash, other, noScheme), TPM_RC_TICKET.Param(4))
		x.want(certify(r.handle, hash, ticket, schemeBytes(scheme(TPM_ALG_HMAC, TPM_ALG_SHA256))), TPM_RC_SCHEME.Param(3))
		x.want(x.cmdS(TPM_CC_CertifyCreation, handles(r.handle, r.handle), pw(""), b2(nil), b2(hash), noScheme, ticketBytes(ticket)), TPM_RC_KEY.Handle(1))
	})
}

func TestGetTime(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_OWNER, "", akTemplate()).handle
	x.now += 12345
	a := x.readAttest(x.cmdS(TPM_CC_GetTime, handles(TPM_RH_ENDORSEMENT, key), pw("", ""), b2([]byte("q")), noScheme))
	x.checkAttest(a, key, TPM_ST_ATTEST_TIME, "q")
	now := a.rest.u64()
	clock := TPMS_CLOCK_INFO{a.rest.u64(), a.rest.u32(), a.rest.u32(), a.rest.yesNo()}
	if now != x.msTime() || clock != x.clockInfo() || a.rest.u64() != tpmid.FirmwareVersion || a.rest.end() != TPM_RC_SUCCESS {
		t.Errorf("time %d, %+v", now, clock)
	}
	x.want(x.cmdS(TPM_CC_GetTime, handles(TPM_RH_OWNER, key), pw("", ""), b2(nil), noScheme), TPM_RC_VALUE.Handle(1))
}

func TestNVCertify(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", akTemplate()).handle
	h := Handle(0x01500001)
	pub := TPMS_NV_PUBLIC{Index: h, NameAlg: TPM_ALG_SHA256, Attributes: nvAuthRead | nvAuthWrite | nvOwnerRead | nvReadStClear, DataSize: 1500}
	x.ok(x.cmdS(TPM_CC_NV_DefineSpace, handles(TPM_RH_OWNER), pw(""), b2(nil), marshal(64, func(w *writer) { w.nvPublic2B(&pub) })))
	certify := func(auth Handle, size, offset int) response {
		return x.cmdS(TPM_CC_NV_Certify, handles(key, auth, h), pw("", ""), b2([]byte("q")), noScheme, u16(uint16(size)), u16(uint16(offset)))
	}
	x.want(certify(h, 8, 0), TPM_RC_NV_UNINITIALIZED)
	x.want(certify(h, 0, 0), TPM_RC_NV_UNINITIALIZED)
	data := bytes.Repeat([]byte("0123456789abcdef"), 64)
	x.ok(x.cmdS(TPM_CC_NV_Write, handles(h, h), pw(""), b2(data), u16(0)))
	name := bytes.Clone(x.nvName(x.nvFind(h)))
	a := x.readAttest(certify(TPM_RH_OWNER, 1024, 0))
	x.checkAttest(a, key, TPM_ST_ATTEST_NV, "q")
	if n, off, v := a.rest.name(), a.rest.u16(), a.rest.b2(1024); !bytes.Equal(n, name) || off != 0 || !bytes.Equal(v, data) || a.rest.end() != TPM_RC_SUCCESS {
		t.Errorf("name %x, offset %d, %d octets", n, off, len(v))
	}
	a = x.readAttest(certify(h, 4, 16))
	if n, off, v := a.rest.name(), a.rest.u16(), a.rest.b2(1024); !bytes.Equal(n, name) || off != 16 || !bytes.Equal(v, data[16:20]) {
		t.Errorf("name %x, offset %d, %q", n, off, v)
	}
	a = x.readAttest(certify(h, 0, 0))
	x.checkAttest(a, key, TPM_ST_ATTEST_NV_DIGEST, "q")
	whole := tpmcrypto.Sum(TPM_ALG_SHA256, x.nvFind(h).data)
	if n, d := a.rest.name(), a.rest.digest(); !bytes.Equal(n, name) || !bytes.Equal(d, whole) || a.rest.end() != TPM_RC_SUCCESS {
		t.Errorf("name %x, digest %x", n, d)
	}
	x.unchanged(func() {
		x.want(certify(h, 1025, 0), TPM_RC_VALUE.Param(3))
		x.want(certify(h, 1024, 477), TPM_RC_NV_RANGE)
		x.want(certify(h, 1, 0xffff), TPM_RC_NV_RANGE)
		x.want(certify(TPM_RH_PLATFORM, 1, 0), TPM_RC_NV_AUTHORIZATION)
		x.want(x.cmdS(TPM_CC_NV_Certify, handles(TPM_RH_NULL, h, h), pw("", ""), b2(nil), noScheme, u16(0), u16(0)), TPM_RC_SCHEME.Param(2))
	})
	x.ok(x.cmdS(TPM_CC_NV_ReadLock, handles(h, h), pw("")))
	x.want(certify(h, 1, 0), TPM_RC_NV_LOCKED)
}

// TestAuditAttested follows the audit digest over commands, attestation and a change of the algorithm.
func TestAuditAttested(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", akTemplate()).handle
	set := func(alg AlgID, on, off []CC) response {
		list := func(l []CC) []byte {
			b := u32(uint32(len(l)))
			for _, c := range l {
				b = append(b, u32(uint32(c))...)
			}
			return b
		}
		return x.cmdS(TPM_CC_SetCommandCodeAuditStatus, handles(TPM_RH_OWNER), pw(""), u16(uint16(alg)), list(on), list(off))
	}
	get := func(key Handle) (counter uint64, alg AlgID, digest, cmds []byte) {
		t.Helper()
		a := x.readAttest(x.cmdS(TPM_CC_GetCommandAuditDigest, handles(TPM_RH_ENDORSEMENT, key), pw("", ""), b2([]byte("q")), noScheme))
		if key != TPM_RH_NULL {
			x.checkAttest(a, key, TPM_ST_ATTEST_COMMAND_AUDIT, "q")
		}
		counter, alg, digest, cmds = a.rest.u64(), a.rest.alg(), a.rest.digest(), a.rest.digest()
		if a.rest.end() != TPM_RC_SUCCESS {
			t.Error(a.rest.end())
		}
		return
	}
	start, alg, digest, cmds := get(key)
	if alg != TPM_ALG_SHA256 || len(digest) != 0 || !bytes.Equal(cmds, tpmcrypto.Sum(TPM_ALG_SHA256, u32(uint32(TPM_CC_SetCommandCodeAuditStatus)))) {
		t.Errorf("at first: %x, %x, %x", alg, digest, cmds)
	}
	// The command that adds to the list is audited itself.
	x.ok(set(TPM_ALG_NULL, []CC{TPM_CC_GetRandom, 0x1ff, TPM_CC_Shutdown}, []CC{TPM_CC_SetCommandCodeAuditStatus}))
	after, _, first, cmds := get(TPM_RH_NULL)
	if after != start+1 || len(first) != 32 {
		t.Errorf("counter %d after %d, digest %x", after, start, first)
	}
	if want := tpmcrypto.Sum(TPM_ALG_SHA256, u32(uint32(TPM_CC_SetCommandCodeAuditStatus)), u32(uint32(TPM_CC_GetRandom))); !bytes.Equal(cmds, want) {
		t.Errorf("commandDigest %x, want %x", cmds, want)
	}
	r := x.ok(x.cmd(TPM_CC_GetRandom, u16(4)))
	cp := tpmcrypto.Sum(TPM_ALG_SHA256, u32(uint32(TPM_CC_GetRandom)), u16(4))
	rp := tpmcrypto.Sum(TPM_ALG_SHA256, u32(0), u32(uint32(TPM_CC_GetRandom)), r.params)
	_, _, digest, _ = get(key)
	if want := tpmcrypto.Sum(TPM_ALG_SHA256, first, cp, rp); !bytes.Equal(digest, want) {
		t.Errorf("digest %x, want %x", digest, want)
	}
	// Signed by a key, the digest was ended.
	if c, _, digest, _ := get(key); c != after || len(digest) != 0 {
		t.Errorf("counter %d, digest %x", c, digest)
	}
	x.ok(x.cmd(TPM_CC_GetRandom, u16(4)))
	x.unchanged(func() { x.want(set(TPM_ALG_SHA384, []CC{TPM_CC_Hash}, nil), TPM_RC_VALUE.Param(1)) })
	x.unchanged(func() { x.want(set(TPM_ALG_SM3_256, nil, nil), TPM_RC_HASH.Param(1)) })
	x.ok(set(TPM_ALG_SHA384, nil, nil))
	if _, alg, digest, cmds := get(key); alg != TPM_ALG_SHA384 || len(digest) != 0 || len(cmds) != 48 {
		t.Errorf("after the change: %x, %x, %x", alg, digest, cmds)
	}
	x.ok(set(TPM_ALG_SHA384, nil, []CC{TPM_CC_GetRandom})) // the same algorithm: lists count
	if x.perm.auditCmds.has(TPM_CC_GetRandom) || !x.perm.auditCmds.has(TPM_CC_SetCommandCodeAuditStatus) {
		t.Error("clearList had not its effect")
	}
}
