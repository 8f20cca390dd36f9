package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

func symParam(s *TPMT_SYM_DEF) []byte {
	return marshal(16, func(w *writer) { w.symDef(s) })
}

var (
	wrapNone     = TPMT_SYM_DEF{Algorithm: TPM_ALG_NULL}
	wrapAES      = TPMT_SYM_DEF{Algorithm: TPM_ALG_AES, KeyBits: 128, Mode: TPM_ALG_CFB}
	wrapCamellia = TPMT_SYM_DEF{Algorithm: TPM_ALG_CAMELLIA, KeyBits: 256, Mode: TPM_ALG_CFB}
)

// dupChild makes and loads a child that a policy allows to be duplicated.
func (x *testTPM) dupChild(parent Handle, tpl TPMT_PUBLIC) (child, Handle) {
	x.t.Helper()
	tpl.AuthPolicy = dupPolicy(x)
	c := x.create(parent, "dup auth", nil, tpl)
	return c, x.load(parent, c)
}

// duplicate is TPM2_Duplicate with a new policy session.
func (x *testTPM) duplicate(h, parent Handle, key []byte, sym TPMT_SYM_DEF) response {
	x.t.Helper()
	s := x.dupSession()
	defer x.drop(s)
	return x.cmdS(TPM_CC_Duplicate, handles(h, parent), policyArea(s), b2(key), symParam(&sym))
}

// importParams are the parameters of TPM2_Import.
func importParams(key []byte, pub *TPMT_PUBLIC, dup, secret []byte, sym *TPMT_SYM_DEF) []byte {
	return join(b2(key), marshal(maxPublic, func(w *writer) { w.public2B(pub) }), b2(dup), b2(secret), symParam(sym))
}

// TestDuplicateImport moves keys of each type to parents of each type on
// another TPM, with and without inner wrapper, and once with none at all.
func TestDuplicateImport(t *testing.T) {
	x := newTestTPM(t)
	y := newTestTPM(t, func(c *Config) { c.Entropy = tpmcrypto.NewDRBG([]byte("another TPM"), nil, nil) })
	from := x.storageParent()
	p384 := eccTemplate(attrsStorage)
	p384.Curve, p384.NameAlg, p384.Sym.KeyBits = TPM_ECC_NIST_P384, TPM_ALG_SHA384, 256
	for pname, ptpl := range map[string]TPMT_PUBLIC{"ECC": eccTemplate(attrsStorage), "P-384": p384, "RSA": rsaTemplate(attrsStorage)} {
		to := y.createPrimaryKey(TPM_RH_ENDORSEMENT, "", ptpl).handle
		public := x.loadPublic(y.transient(to).pub, TPM_RH_NULL)
		for kname, tpl := range map[string]TPMT_PUBLIC{
			"ECC": eccTemplate(attrsDup | objSign), "HMAC": keyedHashTemplate(attrsDup | objSign),
			"AES": symTemplate(attrsDup | objSign | objDecrypt), "storage": eccTemplate(attrsDupStorage),
		} {
			c, h := x.dupChild(from, tpl)
			for _, sym := range []TPMT_SYM_DEF{wrapNone, wrapAES, wrapCamellia} {
				for _, parent := range []Handle{public, TPM_RH_NULL} {
					in := x.ok(x.duplicate(h, parent, nil, sym)).reader()
					key, dup, secret := in.data(), in.b2(maxPrivate), in.b2(maxEncryptedSecret)
					if len(key) != int(sym.KeyBits)/8 || (len(secret) == 0) != (parent == TPM_RH_NULL) || in.end() != TPM_RC_SUCCESS {
						t.Fatalf("%s to %s: key of %d, secret of %d octets", kname, pname, len(key), len(secret))
					}
					o := x.transient(h)
					if clear := bytes.Contains(dup, o.sens.Sensitive); clear != (parent == TPM_RH_NULL && len(key) == 0) {
						t.Errorf("%s to %s: duplicate in the clear: %v", kname, pname, clear)
					}
					r := y.ok(y.cmdS(TPM_CC_Import, handles(to), pw(""), importParams(key, &c.pub, dup, secret, &sym)))
					l := y.load(to, child{private: r.reader().b2(maxPrivate), pub: c.pub})
					n := y.transient(l)
					if !bytes.Equal(n.name, o.name) || !bytes.Equal(n.sens.Sensitive, o.sens.Sensitive) || string(n.auth()) != "dup auth" {
						t.Errorf("%s to %s: another key came out", kname, pname)
					}
					if bytes.Equal(n.qname, o.qname) {
						t.Errorf("%s to %s: Qualified Name is the same", kname, pname)
					}
					y.drop(l)
				}
			}
			x.drop(h)
		}
		x.drop(public)
		y.drop(to)
	}
}

// TestDuplicateFormat takes a doubly wrapped duplicate apart with the formulas
// of TPM20-P1 section 23.3.2.
func TestDuplicateFormat(t *testing.T) {
	x := newTestTPM(t)
	from := x.storageParent()
	to := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", eccTemplate(attrsStorage)).handle
	_, h := x.dupChild(from, keyedHashTemplate(attrsDup|objSign))
	key := bytes.Repeat([]byte{0x5A}, 16)
	in := x.ok(x.duplicate(h, to, key, wrapAES)).reader()
	if out := in.data(); len(out) != 0 {
		t.Error("the caller's key is given back")
	}
	dup, secret := in.b2(maxPrivate), in.b2(maxEncryptedSecret)
	o := x.transient(h)
	seed, rc := x.recoverSecret(x.transient(to), "DUPLICATE", secret)
	if rc != TPM_RC_SUCCESS || len(seed) != 32 {
		t.Fatal(rc, len(seed))
	}
	hmacKey := tpmcrypto.KDFa(TPM_ALG_SHA256, seed, "INTEGRITY", nil, nil, 256)
	if want := join(u16(32), tpmcrypto.HMAC(TPM_ALG_SHA256, hmacKey, dup[34:], o.name)); !bytes.Equal(dup[:34], want) {
		t.Error("outer HMAC")
	}
	decrypt := func(key, data []byte) {
		b, err := tpmcrypto.NewBlock(TPM_ALG_AES, key)
		if err != nil {
			t.Fatal(err)
		}
		if err := tpmcrypto.Decrypt(b, TPM_ALG_CFB, make([]byte, 16), data); err != nil {
			t.Fatal(err)
		}
	}
	data := bytes.Clone(dup[34:])
	decrypt(tpmcrypto.KDFa(TPM_ALG_SHA256, seed, "STORAGE", o.name, nil, 128), data)
	decrypt(key, data)
	area := join(u16(uint16(TPM_ALG_KEYEDHASH)), b2(append([]byte("dup auth"), make([]byte, 24)...)), b2(o.sens.Seed), b2(o.sens.Sensitive))
	if want := join(b2(tpmcrypto.Sum(TPM_ALG_SHA256, b2(area), o.name)), b2(area)); !bytes.Equal(data, want) {
		t.Errorf("inner wrapper\n% x, want\n% x", data, want)
	}
}

func TestDuplicateErrors(t *testing.T) {
	x := newTestTPM(t)
	from := x.storageParent()
	sym := x.createPrimaryKey(TPM_RH_OWNER, "", symTemplate(attrsStorage)).handle
	fixed := eccTemplate(attrsSign)
	fixed.AuthPolicy = dupPolicy(x)
	fixedKey := x.load(from, x.create(from, "", nil, fixed))
	_, h := x.dupChild(from, eccTemplate(attrsDup|objSign))
	_, enc := x.dupChild(from, eccTemplate(attrsDup|objSign|objEncryptedDuplication))
	for _, tt := range []struct {
		name string
		h, p Handle
		key  []byte
		sym  TPMT_SYM_DEF
		rc   RC
	}{
		{"fixedParent", fixedKey, TPM_RH_NULL, nil, wrapNone, TPM_RC_ATTRIBUTES.Handle(1)},
		{"parent signs", h, fixedKey, nil, wrapNone, TPM_RC_TYPE.Handle(2)},
		{"parent is symmetric", h, sym, nil, wrapNone, TPM_RC_TYPE.Handle(2)},
		{"encryptedDuplication without inner wrapper", enc, from, nil, wrapNone, TPM_RC_SYMMETRIC.Param(2)},
		{"encryptedDuplication without parent", enc, TPM_RH_NULL, nil, wrapAES, TPM_RC_HIERARCHY.Handle(2)},
		{"key without a cipher", h, from, make([]byte, 16), wrapNone, TPM_RC_SIZE.Param(1)},
		{"key of another size", h, from, make([]byte, 32), wrapAES, TPM_RC_SIZE.Param(1)},
		{"key too large", h, from, make([]byte, 67), wrapAES, TPM_RC_SIZE.Param(1)},
		{"unknown cipher", h, from, nil, TPMT_SYM_DEF{Algorithm: TPM_ALG_SHA256}, TPM_RC_SYMMETRIC.Param(2)},
	} {
		if r := x.duplicate(tt.h, tt.p, tt.key, tt.sym); r.rc != tt.rc {
			t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
		}
	}
	none := join(b2(nil), symParam(&wrapNone))
	x.want(x.cmdS(TPM_CC_Duplicate, handles(h, TPM_RH_NULL), pw("dup auth"), none), TPM_RC_AUTH_TYPE)
	s := x.startSession(TPM_SE_POLICY, u16(uint16(TPM_ALG_NULL)))
	x.want(x.cmdS(TPM_CC_Duplicate, handles(h, TPM_RH_NULL), policyArea(s), none), TPM_RC_POLICY_FAIL.Session(1))

	// A key without a Name cannot be duplicated. Nothing can authorize it: its
	// policy is empty.
	pub, sens := x.pair(eccTemplate(attrsExternal))
	pub.NameAlg = TPM_ALG_NULL
	nameless := x.ok(x.cmd(TPM_CC_LoadExternal, external(&sens, &pub, TPM_RH_NULL))).handle
	x.want(x.duplicate(nameless, TPM_RH_NULL, nil, wrapNone), TPM_RC_AUTH_UNAVAILABLE)
}

// TestDuplicationSelect: the policy binds object and new parent.
func TestDuplicationSelect(t *testing.T) {
	x := newTestTPM(t)
	from := x.storageParent()
	to := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", eccTemplate(attrsStorage)).handle
	other := x.createPrimaryKey(TPM_RH_PLATFORM, "", eccTemplate(attrsStorage)).handle
	tpl := eccTemplate(attrsDup | objSign)
	tpl.AuthPolicy = x.hash.Sum(TPM_ALG_SHA256, nil, make([]byte, 32), u32(uint32(TPM_CC_PolicyDuplicationSelect)), x.transient(to).name, []byte{0})
	h := x.load(from, x.create(from, "", nil, tpl))
	s := x.startSession(TPM_SE_POLICY, u16(uint16(TPM_ALG_NULL)))
	try := func(parent Handle) response {
		x.ok(x.cmd(TPM_CC_PolicyRestart, handles(s)))
		x.ok(x.cmd(TPM_CC_PolicyDuplicationSelect, handles(s), b2(x.transient(h).name), b2(x.transient(to).name), []byte{0}))
		return x.cmdS(TPM_CC_Duplicate, handles(h, parent), policyArea(s), b2(nil), symParam(&wrapNone))
	}
	x.ok(try(to))
	x.want(try(other), TPM_RC_POLICY_FAIL.Session(1))
	x.want(try(TPM_RH_NULL), TPM_RC_POLICY_FAIL.Session(1))
}
