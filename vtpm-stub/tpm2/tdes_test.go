package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// tdes is a TDES key's TPMT_SYM_DEF.
func tdes(bits uint16) TPMT_SYM_DEF {
	return TPMT_SYM_DEF{Algorithm: TPM_ALG_TDES, KeyBits: bits, Mode: TPM_ALG_CFB}
}

// TestTDES: TDES has blocks of eight octets wherever a block cipher is used.
func TestTDES(t *testing.T) {
	x := profiled(t, ProfileDefault)
	tpl := aesTemplate(TPM_ALG_NULL, objSensitiveDataOrigin|attrsSign|objDecrypt)
	tpl.Sym = tdes(192)
	tpl.Sym.Mode = TPM_ALG_NULL
	h := x.createPrimaryKey(TPM_RH_OWNER, "", tpl).handle
	key := x.transient(h).sens.Sensitive
	fixed := bytes.Clone(key)
	if tpmcrypto.SetParity(TPM_ALG_TDES, fixed); len(key) != 24 || !bytes.Equal(key, fixed) {
		t.Errorf("key %d octets, parity", len(key))
	}
	block, err := tpmcrypto.NewBlock(TPM_ALG_TDES, key)
	if err != nil {
		t.Fatal(err)
	}
	data := []byte("sixteen octets!!")
	for _, mode := range []AlgID{TPM_ALG_CTR, TPM_ALG_OFB, TPM_ALG_CBC, TPM_ALG_CFB, TPM_ALG_ECB} {
		iv := []byte("8 octets")
		if mode == TPM_ALG_ECB {
			iv = nil
		}
		r := x.ok(x.cmdS(TPM_CC_EncryptDecrypt, handles(h), pw(""), []byte{0}, u16(uint16(mode)), b2(iv), b2(data))).reader()
		want := bytes.Clone(data)
		if err := tpmcrypto.Encrypt(block, mode, bytes.Clone(iv), want); err != nil {
			t.Fatal(err)
		}
		if got := r.maxBuffer(); !bytes.Equal(got, want) {
			t.Errorf("mode %#x: %x, want %x", mode, got, want)
		}
	}
	x.want(x.cmdS(TPM_CC_EncryptDecrypt, handles(h), pw(""), []byte{0}, u16(uint16(TPM_ALG_CFB)), b2(make([]byte, 16)), b2(data)), TPM_RC_SIZE.Param(3))
	x.drop(h)

	mac := aesTemplate(TPM_ALG_CMAC, objSensitiveDataOrigin|attrsSign)
	mac.Sym = tdes(128)
	mac.Sym.Mode = TPM_ALG_CMAC
	h = x.createPrimaryKey(TPM_RH_OWNER, "", mac).handle
	if got := x.ok(x.cmdS(TPM_CC_MAC, handles(h), pw(""), b2(data), u16(uint16(TPM_ALG_CMAC)))).reader().digest(); len(got) != 8 {
		t.Errorf("CMAC of %d octets", len(got))
	}
}

// TestTDESProtects: a storage key, an inner wrapper and a session with TDES.
func TestTDESProtects(t *testing.T) {
	x := profiled(t, ProfileDefault)
	parent := eccTemplate(attrsStorage)
	parent.Sym = tdes(192)
	p := x.createPrimaryKey(TPM_RH_OWNER, "", parent).handle
	c := x.create2(p, "", eccTemplate(attrsSign))
	h := x.ok(x.cmdS(TPM_CC_Load, handles(p), pw(""), b2(c.private), b2(marshal(maxPublic, func(w *writer) { w.public(&c.pub) })))).handle
	if !bytes.Equal(x.transient(h).pub.X, c.pub.X) {
		t.Error("the child is another")
	}
	c.private[40] ^= 1
	x.want(x.cmdS(TPM_CC_Load, handles(p), pw(""), b2(c.private), b2(marshal(maxPublic, func(w *writer) { w.public(&c.pub) }))), TPM_RC_INTEGRITY.Param(1))

	caller := make([]byte, 16)
	r := x.ok(x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, TPM_RH_NULL), b2(caller), b2(nil), []byte{byte(TPM_SE_HMAC)},
		u16(uint16(TPM_ALG_TDES)), u16(128), u16(uint16(TPM_ALG_CFB)), u16(uint16(TPM_ALG_SHA256))))
	nonce := r.reader().b2(64)
	plain := []byte("what is stirred in")
	data := bytes.Clone(plain)
	k := tpmcrypto.KDFa(TPM_ALG_SHA256, nil, "CFB", caller, nonce, 128+64)
	block, err := tpmcrypto.NewBlock(TPM_ALG_TDES, k[:16])
	if err != nil {
		t.Fatal(err)
	}
	if err := tpmcrypto.Encrypt(block, TPM_ALG_CFB, k[16:], data); err != nil {
		t.Fatal(err)
	}
	var seen []byte
	stir := x.commands[commandSlot(TPM_CC_StirRandom)]
	spy := *stir
	spy.run = func(t *TPM, c *call) RC {
		seen = bytes.Clone(c.in.b)
		return stir.run(t, c)
	}
	x.commands[commandSlot(TPM_CC_StirRandom)] = &spy
	a := area(sess(r.handle, caller, sessDecrypt|sessContinue, nil))
	x.ok(x.cmdS(TPM_CC_StirRandom, nil, a, b2(data)))
	if !bytes.Equal(seen, b2(plain)) {
		t.Errorf("the TPM decrypts to %q", seen)
	}
}
