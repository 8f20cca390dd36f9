package tpm2

import (
	"bytes"
	"crypto/aes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// hmacTemplate is an unrestricted HMAC key; scheme TPM_ALG_NULL leaves the hash open.
func hmacTemplate(hash AlgID) TPMT_PUBLIC {
	p := TPMT_PUBLIC{Type: TPM_ALG_KEYEDHASH, NameAlg: TPM_ALG_SHA256, Attributes: attrsSign | objNoDA,
		Scheme: nullScheme, Sym: TPMT_SYM_DEF{Algorithm: TPM_ALG_NULL}, KDF: nullScheme}
	if hash != TPM_ALG_NULL {
		p.Scheme = TPMT_SCHEME{Scheme: TPM_ALG_HMAC, Hash: hash}
	}
	return p
}

func aesTemplate(mode AlgID, attrs TPMA_OBJECT) TPMT_PUBLIC {
	return TPMT_PUBLIC{Type: TPM_ALG_SYMCIPHER, NameAlg: TPM_ALG_SHA256, Attributes: objFixedTPM | objFixedParent | objUserWithAuth | objNoDA | attrs,
		Scheme: nullScheme, Sym: TPMT_SYM_DEF{Algorithm: TPM_ALG_AES, KeyBits: 128, Mode: mode}, KDF: nullScheme}
}

// keyWith makes a primary object whose sensitive data the test chooses.
func (x *testTPM) keyWith(pub TPMT_PUBLIC, secret []byte) Handle {
	x.t.Helper()
	pub.Attributes &^= objSensitiveDataOrigin
	return x.ok(x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), createParams("", secret, pub))).handle
}

func (x *testTPM) readTicket(r *reader) TPMT_TK {
	x.t.Helper()
	k := r.ticket(TPM_ST_HASHCHECK)
	if r.end() != TPM_RC_SUCCESS {
		x.t.Fatalf("ticket: %v", r.end())
	}
	return k
}

func TestHash(t *testing.T) {
	x := newTestTPM(t)
	for _, alg := range hashAlgs {
		r := x.ok(x.cmd(TPM_CC_Hash, b2([]byte("abcd")), u16(uint16(alg)), u32(uint32(TPM_RH_OWNER)))).reader()
		if d := r.b2(maxDigest); !bytes.Equal(d, tpmcrypto.Sum(alg, []byte("abcd"))) {
			t.Errorf("0x%x: %x", alg, d)
		}
		if k := x.readTicket(r); k.Hierarchy != TPM_RH_OWNER || len(k.Digest) == 0 {
			t.Errorf("ticket %+v", k)
		}
	}
	for name, c := range map[string]struct {
		data []byte
		h    Handle
	}{
		"null hierarchy":  {[]byte("abcd"), TPM_RH_NULL},
		"generated value": {hx("ff544347 00"), TPM_RH_OWNER},
		"short":           {[]byte("abc"), TPM_RH_OWNER},
	} {
		r := x.ok(x.cmd(TPM_CC_Hash, b2(c.data), u16(uint16(TPM_ALG_SHA256)), u32(uint32(c.h)))).reader()
		r.b2(maxDigest)
		if k := x.readTicket(r); k.Hierarchy != TPM_RH_NULL || len(k.Digest) != 0 {
			t.Errorf("%s: ticket %+v", name, k)
		}
	}
	x.unchanged(func() {
		x.want(x.cmd(TPM_CC_Hash, b2(nil), u16(uint16(TPM_ALG_NULL)), u32(uint32(TPM_RH_NULL))), TPM_RC_HASH.Param(2))
		x.want(x.cmd(TPM_CC_Hash, b2(make([]byte, 1025)), u16(uint16(TPM_ALG_SHA256)), u32(uint32(TPM_RH_NULL))), TPM_RC_SIZE.Param(1))
		x.want(x.cmd(TPM_CC_Hash, b2(nil), u16(uint16(TPM_ALG_SHA256)), u32(0x40000099)), TPM_RC_VALUE.Param(3))
		x.want(x.cmd(TPM_CC_Hash, b2(nil), u16(uint16(TPM_ALG_SHA256))), TPM_RC_INSUFFICIENT.Param(3))
	})
}

func TestMAC(t *testing.T) {
	x := newTestTPM(t)
	secret := []byte("a key of some length")
	open := x.keyWith(hmacTemplate(TPM_ALG_NULL), secret)
	fixed := x.keyWith(hmacTemplate(TPM_ALG_SHA384), secret)
	cipher := x.keyWith(aesTemplate(TPM_ALG_CMAC, objSign), hx("2b7e151628aed2a6abf7158809cf4f3c"))
	mac := func(h Handle, data []byte, alg AlgID) response {
		return x.cmdS(TPM_CC_MAC, handles(h), pw(""), b2(data), u16(uint16(alg)))
	}
	for _, c := range []struct {
		h    Handle
		alg  AlgID
		used AlgID
	}{{open, TPM_ALG_SHA256, TPM_ALG_SHA256}, {open, TPM_ALG_SHA1, TPM_ALG_SHA1}, {fixed, TPM_ALG_NULL, TPM_ALG_SHA384}, {fixed, TPM_ALG_SHA384, TPM_ALG_SHA384}} {
		if got := x.ok(mac(c.h, []byte("data"), c.alg)).reader().b2(maxDigest); !bytes.Equal(got, tpmcrypto.HMAC(c.used, secret, []byte("data"))) {
			t.Errorf("0x%x with 0x%x: %x", c.h, c.alg, got)
		}
	}
	// NIST SP 800-38B, example 2.
	msg := hx("6bc1bee22e409f96e93d7e117393172a")
	if got := x.ok(mac(cipher, msg, TPM_ALG_NULL)).reader().b2(16); !bytes.Equal(got, hx("070a16b46b4d4144f79bdd9dd04a287c")) {
		t.Errorf("CMAC %x", got)
	}
	ecc := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign|objNoDA)).handle
	noSign := x.keyWith(aesTemplate(TPM_ALG_NULL, objDecrypt), make([]byte, 16))
	x.unchanged(func() {
		x.want(mac(open, nil, TPM_ALG_NULL), TPM_RC_VALUE.Param(2))
		x.want(mac(open, nil, TPM_ALG_CMAC), TPM_RC_VALUE.Param(2))
		x.want(mac(fixed, nil, TPM_ALG_SHA256), TPM_RC_VALUE.Param(2))
		x.want(mac(cipher, nil, TPM_ALG_SHA256), TPM_RC_VALUE.Param(2))
		x.want(mac(open, nil, TPM_ALG_AES), TPM_RC_SYMMETRIC.Param(2))
		x.want(mac(ecc, nil, TPM_ALG_SHA256), TPM_RC_TYPE.Handle(1))
		x.want(mac(noSign, nil, TPM_ALG_CMAC), TPM_RC_KEY.Handle(1))
		x.want(x.cmdS(TPM_CC_MAC_Start, handles(ecc), pw(""), b2(nil), u16(uint16(TPM_ALG_SHA256))), TPM_RC_TYPE.Handle(1))
		x.want(x.cmdS(TPM_CC_MAC_Start, handles(open), pw(""), b2(make([]byte, 65)), u16(uint16(TPM_ALG_SHA256))), TPM_RC_SIZE.Param(1))
	})
}

func TestSequences(t *testing.T) {
	x := newTestTPM(t)
	secret := []byte("secret")
	key := x.keyWith(hmacTemplate(TPM_ALG_NULL), secret)
	block := x.keyWith(aesTemplate(TPM_ALG_NULL, objSign), make([]byte, 16))
	parts := [][]byte{[]byte("first"), nil, bytes.Repeat([]byte("x"), 1024), []byte("last")}
	all := join(parts...)
	aesBlock, _ := tpmcrypto.NewBlock(TPM_ALG_AES, make([]byte, 16))
	cmac, _ := tpmcrypto.NewCMAC(aesBlock)
	_, _ = cmac.Write(all)
	for name, c := range map[string]struct {
		start  response
		want   []byte
		ticket bool
	}{
		"hash": {x.cmd(TPM_CC_HashSequenceStart, b2([]byte("pass")), u16(uint16(TPM_ALG_SHA512))), tpmcrypto.Sum(TPM_ALG_SHA512, all), true},
		"hmac": {x.cmdS(TPM_CC_MAC_Start, handles(key), pw(""), b2([]byte("pass")), u16(uint16(TPM_ALG_SHA256))), tpmcrypto.HMAC(TPM_ALG_SHA256, secret, all), false},
		"cmac": {x.cmdS(TPM_CC_MAC_Start, handles(block), pw(""), b2([]byte("pass")), u16(uint16(TPM_ALG_CMAC))), cmac.Sum(nil), false},
	} {
		h := x.ok(c.start).handle
		x.unchanged(func() {
			x.want(x.cmdS(TPM_CC_SequenceUpdate, handles(h), pw("wrong"), b2(nil)), TPM_RC_BAD_AUTH.Session(1))
			x.want(x.cmdS(TPM_CC_SequenceUpdate, handles(h), pw("pass"), b2(make([]byte, 1025))), TPM_RC_SIZE.Param(1))
			x.want(x.cmdS(TPM_CC_EventSequenceComplete, handles(TPM_RH_NULL, h), pw("", "pass"), b2(nil)), TPM_RC_MODE.Handle(2))
		})
		for _, p := range parts[:3] {
			x.ok(x.cmdS(TPM_CC_SequenceUpdate, handles(h), pw("pass"), b2(p)))
		}
		r := x.ok(x.cmdS(TPM_CC_SequenceComplete, handles(h), pw("pass"), b2(parts[3]), u32(uint32(TPM_RH_OWNER)))).reader()
		if got := r.b2(maxDigest); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x, want %x", name, got, c.want)
		}
		if k := x.readTicket(r); (k.Hierarchy == TPM_RH_OWNER) != c.ticket {
			t.Errorf("%s: ticket %+v", name, k)
		}
		if x.transient(h) != nil {
			t.Errorf("%s: sequence is still loaded", name)
		}
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_SequenceUpdate, handles(key), pw(""), b2(nil)), TPM_RC_MODE.Handle(1))
		x.want(x.cmdS(TPM_CC_SequenceComplete, handles(key), pw(""), b2(nil), u32(uint32(TPM_RH_NULL))), TPM_RC_MODE.Handle(1))
	})
}

// TestSequenceTicket: the first buffer decides whether the TPM vouches for a digest.
func TestSequenceTicket(t *testing.T) {
	x := newTestTPM(t)
	for name, c := range map[string]struct {
		first []byte
		safe  bool
	}{"ordinary": {[]byte("abcd"), true}, "short": {[]byte("abc"), false}, "empty": {nil, false}, "generated": {hx("ff544347"), false}} {
		h := x.ok(x.cmd(TPM_CC_HashSequenceStart, b2(nil), u16(uint16(TPM_ALG_SHA256)))).handle
		x.ok(x.cmdS(TPM_CC_SequenceUpdate, handles(h), pw(""), b2(c.first)))
		r := x.ok(x.cmdS(TPM_CC_SequenceComplete, handles(h), pw(""), b2([]byte("more data")), u32(uint32(TPM_RH_OWNER)))).reader()
		r.b2(maxDigest)
		if k := x.readTicket(r); (k.Hierarchy == TPM_RH_OWNER) != c.safe {
			t.Errorf("%s: ticket %+v", name, k)
		}
	}
}

func TestEventSequence(t *testing.T) {
	x := newTestTPM(t)
	start := func() Handle {
		return x.ok(x.cmd(TPM_CC_HashSequenceStart, b2([]byte("e")), u16(uint16(TPM_ALG_NULL)))).handle
	}
	h := start()
	x.ok(x.cmdS(TPM_CC_SequenceUpdate, handles(h), pw("e"), b2([]byte("an "))))
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_SequenceComplete, handles(h), pw("e"), b2(nil), u32(uint32(TPM_RH_NULL))), TPM_RC_MODE.Handle(1))
		x.want(x.cmdS(TPM_CC_EventSequenceComplete, handles(18, h), pw("", "e"), b2(nil)), TPM_RC_LOCALITY)
	})
	r := x.ok(x.cmdS(TPM_CC_EventSequenceComplete, handles(10, h), pw("", "e"), b2([]byte("event")))).reader()
	var l TPML_DIGEST_VALUES
	r.digestValues(&l)
	if r.end() != TPM_RC_SUCCESS || int(l.Count) != len(hashAlgs) {
		t.Fatalf("%d digests, %v", l.Count, r.end())
	}
	for _, d := range l.Digests[:l.Count] {
		if !bytes.Equal(d.Digest, tpmcrypto.Sum(d.Hash, []byte("an event"))) {
			t.Errorf("0x%x: %x", d.Hash, d.Digest)
		}
	}
	want := tpmcrypto.Sum(TPM_ALG_SHA256, make([]byte, 32), tpmcrypto.Sum(TPM_ALG_SHA256, []byte("an event")))
	if got := x.readPCR(TPM_ALG_SHA256, 10); !bytes.Equal(got, want) {
		t.Errorf("PCR 10 is %x", got)
	}
	h = start()
	x.ok(x.cmdS(TPM_CC_EventSequenceComplete, handles(TPM_RH_NULL, h), pw("", "e"), b2(nil)))
	if got := x.readPCR(TPM_ALG_SHA256, 10); !bytes.Equal(got, want) {
		t.Error("an event for no PCR changed one")
	}
}

func TestSequenceSlots(t *testing.T) {
	x := newTestTPM(t)
	for range maxObjects {
		x.ok(x.cmd(TPM_CC_HashSequenceStart, b2(nil), u16(uint16(TPM_ALG_SHA256))))
	}
	x.unchanged(func() {
		x.want(x.cmd(TPM_CC_HashSequenceStart, b2(nil), u16(uint16(TPM_ALG_SHA256))), TPM_RC_OBJECT_MEMORY)
	})
}

func TestEncryptDecrypt(t *testing.T) {
	x := newTestTPM(t)
	secret := hx("2b7e151628aed2a6abf7158809cf4f3c")
	key := x.keyWith(aesTemplate(TPM_ALG_NULL, objSign|objDecrypt), secret)
	two := func(h Handle, decrypt byte, mode AlgID, iv, data []byte) response {
		return x.cmdS(TPM_CC_EncryptDecrypt2, handles(h), pw(""), b2(data), []byte{decrypt}, u16(uint16(mode)), b2(iv))
	}
	one := func(h Handle, decrypt byte, mode AlgID, iv, data []byte) response {
		return x.cmdS(TPM_CC_EncryptDecrypt, handles(h), pw(""), []byte{decrypt}, u16(uint16(mode)), b2(iv), b2(data))
	}
	iv := hx("000102030405060708090a0b0c0d0e0f")
	plain := hx("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
	// NIST SP 800-38A, sections F.1.1 to F.4.1 (first two blocks); the CTR IV is
	// the others'.
	for mode, want := range map[AlgID]string{
		TPM_ALG_ECB: "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf",
		TPM_ALG_CBC: "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2",
		TPM_ALG_CFB: "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b",
		TPM_ALG_OFB: "3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed825",
	} {
		in := iv
		if mode == TPM_ALG_ECB {
			in = nil
		}
		for _, f := range []func(Handle, byte, AlgID, []byte, []byte) response{one, two} {
			r := x.ok(f(key, 0, mode, in, plain)).reader()
			if got := r.b2(1024); !bytes.Equal(got, hx(want)) {
				t.Errorf("0x%x: %x, want %s", mode, got, want)
			}
			if out := r.b2(16); len(out) != len(in) || r.end() != TPM_RC_SUCCESS {
				t.Errorf("0x%x: ivOut %x", mode, out)
			}
			if got := x.ok(f(key, 1, mode, in, hx(want))).reader().b2(1024); !bytes.Equal(got, plain) {
				t.Errorf("0x%x: decrypted %x", mode, got)
			}
		}
	}
	// CTR: the counter after two and a bit blocks.
	r := x.ok(two(key, 0, TPM_ALG_CTR, iv, make([]byte, 33))).reader()
	r.b2(1024)
	if got := r.b2(16); !bytes.Equal(got, hx("000102030405060708090a0b0c0d0e12")) {
		t.Errorf("CTR ivOut %x", got)
	}
	// ECB takes an IV, for clients that always send one, and does nothing with it.
	ecb := x.ok(two(key, 0, TPM_ALG_ECB, nil, plain)).params
	if got := x.ok(two(key, 0, TPM_ALG_ECB, iv, plain)).params; !bytes.Equal(got, ecb) {
		t.Errorf("ECB with an IV: %x, without %x", got, ecb)
	}
	fixed := x.keyWith(aesTemplate(TPM_ALG_CFB, objDecrypt), secret)
	hmac := x.keyWith(hmacTemplate(TPM_ALG_NULL), secret)
	x.unchanged(func() {
		x.want(one(key, 0, TPM_ALG_NULL, iv, plain), TPM_RC_MODE.Param(2))
		x.want(two(key, 0, TPM_ALG_NULL, iv, plain), TPM_RC_MODE.Param(3))
		x.want(two(key, 0, TPM_ALG_CMAC, iv, plain), TPM_RC_MODE.Param(3))
		x.want(two(key, 0, TPM_ALG_SHA1, iv, plain), TPM_RC_MODE.Param(3))
		x.want(two(fixed, 1, TPM_ALG_CBC, iv, plain), TPM_RC_MODE.Param(3))
		x.want(two(fixed, 0, TPM_ALG_CFB, iv, plain), TPM_RC_ATTRIBUTES.Handle(1))
		x.want(two(hmac, 0, TPM_ALG_CFB, iv, plain), TPM_RC_KEY.Handle(1))
		x.want(one(key, 0, TPM_ALG_CBC, iv[:15], plain), TPM_RC_SIZE.Param(3))
		x.want(two(key, 0, TPM_ALG_CBC, iv[:15], plain), TPM_RC_SIZE.Param(4))
		x.want(two(key, 0, TPM_ALG_ECB, iv[:15], plain), TPM_RC_SIZE.Param(4))
		x.want(one(key, 0, TPM_ALG_CBC, iv, plain[:17]), TPM_RC_SIZE.Param(4))
		x.want(two(key, 0, TPM_ALG_CBC, iv, plain[:17]), TPM_RC_SIZE.Param(1))
		x.want(two(key, 2, TPM_ALG_CBC, iv, plain), TPM_RC_VALUE.Param(2))
		x.want(two(key, 0, TPM_ALG_CBC, make([]byte, 17), plain), TPM_RC_SIZE.Param(4))
	})
	if aes.BlockSize != maxSymBlock {
		t.Error("an IV of AES does not fit")
	}
}
