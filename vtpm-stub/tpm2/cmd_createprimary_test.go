package tpm2

import (
	"bytes"
	"encoding/hex"
	"maps"
	"strings"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// rsaTemplate returns a TPMT_PUBLIC for an RSA 2048 key.
func rsaTemplate(attrs TPMA_OBJECT) TPMT_PUBLIC {
	p := eccTemplate(attrs)
	p.Type, p.KeyBits, p.Curve, p.KDF = TPM_ALG_RSA, 2048, 0, TPMT_SCHEME{}
	return p
}

// keyedHashTemplate returns a TPMT_PUBLIC for an HMAC key (sign), or sealed
// data.
func keyedHashTemplate(attrs TPMA_OBJECT) TPMT_PUBLIC {
	p := TPMT_PUBLIC{Type: TPM_ALG_KEYEDHASH, NameAlg: TPM_ALG_SHA256, Attributes: attrs, Scheme: nullScheme}
	if attrs.has(objSign) {
		p.Scheme = TPMT_SCHEME{Scheme: TPM_ALG_HMAC, Hash: TPM_ALG_SHA256}
	}
	return p
}

// symTemplate returns a TPMT_PUBLIC for an AES key.
func symTemplate(attrs TPMA_OBJECT) TPMT_PUBLIC {
	return TPMT_PUBLIC{Type: TPM_ALG_SYMCIPHER, NameAlg: TPM_ALG_SHA256, Attributes: attrs,
		Sym: TPMT_SYM_DEF{Algorithm: TPM_ALG_AES, KeyBits: 128, Mode: TPM_ALG_CFB}}
}

// goldenTemplates are the keys whose Names testdata holds.
func goldenTemplates() map[string]TPMT_PUBLIC {
	list := map[string]TPMT_PUBLIC{
		"ecc-p256-storage": eccTemplate(attrsStorage),
		"ecc-p256-sign":    eccTemplate(attrsSign),
		"rsa-2048-storage": rsaTemplate(attrsStorage),
		"hmac-key":         keyedHashTemplate(attrsSign),
		"aes-key":          symTemplate(attrsSign | objDecrypt),
	}
	camellia := symTemplate(attrsSign | objDecrypt)
	camellia.Sym = TPMT_SYM_DEF{Algorithm: TPM_ALG_CAMELLIA, KeyBits: 256, Mode: TPM_ALG_CBC}
	aes := symTemplate(attrsStorage)
	aes.Sym.KeyBits, aes.NameAlg = 256, TPM_ALG_SHA384
	rsa := rsaTemplate(attrsSign)
	rsa.NameAlg, rsa.Scheme = TPM_ALG_SHA512, TPMT_SCHEME{Scheme: TPM_ALG_RSAPSS, Hash: TPM_ALG_SHA384}
	list["camellia-key"], list["aes-256-storage"], list["rsa-2048-sign"] = camellia, aes, rsa
	list["derivation-parent"] = derivationTemplate(attrsStorage)
	for name, c := range map[string]ECCCurve{"p224": TPM_ECC_NIST_P224, "p384": TPM_ECC_NIST_P384, "p521": TPM_ECC_NIST_P521, "bn-p256": TPM_ECC_BN_P256, "sm2-p256": TPM_ECC_SM2_P256} {
		p := eccTemplate(attrsSign)
		p.Curve = c
		list["ecc-"+name+"-sign"] = p
	}
	maps.Copy(list, mlTemplates())
	return list
}

// TestGoldenPrimaries: the same seed and template give the same key in every
// version of this program. A difference here loses users' keys.
func TestGoldenPrimaries(t *testing.T) {
	x := newTestTPM(t)
	for _, h := range []*hierarchy{&x.owner, &x.endorsement, &x.platform, &x.null} {
		for i := range h.seed {
			h.seed[i], h.proof[i] = byte(i), byte(i+100)
		}
	}
	want := map[string]string{}
	for _, l := range lines(t, "primary-names.txt") {
		f := strings.Fields(l)
		want[f[0]] = f[1]
	}
	templates := goldenTemplates()
	if len(want) != len(templates) {
		t.Errorf("%d golden names, %d templates", len(want), len(templates))
	}
	for name, p := range templates {
		r := x.createPrimaryKey(TPM_RH_OWNER, "", p)
		o := x.transient(r.handle)
		if got := hex.EncodeToString(o.name) + hex.EncodeToString(x.hash.Sum(TPM_ALG_SHA256, nil, o.sens.Sensitive, o.sens.Seed)[:8]); got != want[name] {
			t.Errorf("%s %s\nis not the golden one", name, got)
		}
		x.flushObject(r.handle)
	}
}

// created is the response of CreatePrimary.
type created struct {
	pub                TPMT_PUBLIC
	data, hash, name   []byte
	ticket             TPMT_TK
	handle             Handle
	qualified, readPub []byte
}

func parseCreated(t *testing.T, r response) created {
	t.Helper()
	in := r.reader()
	c := created{handle: r.handle, pub: in.public2B(publicPlain), data: in.b2(2048), hash: in.digest(), ticket: in.ticket(TPM_ST_CREATION), name: in.name()}
	if rc := in.end(); rc != TPM_RC_SUCCESS {
		t.Fatal("malformed response:", rc)
	}
	return c
}

func TestCreatePrimary(t *testing.T) {
	x := newTestTPM(t)
	for _, h := range []Handle{TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM, TPM_RH_NULL} {
		a := parseCreated(t, x.createPrimaryKey(h, "", eccTemplate(attrsStorage)))
		b := parseCreated(t, x.createPrimaryKey(h, "other auth", eccTemplate(attrsStorage)))
		if !bytes.Equal(a.name, b.name) {
			t.Errorf("0x%x: the same template gave two keys", h)
		}
		if !bytes.Equal(a.name, x.computeName(&a.pub)) {
			t.Errorf("0x%x: Name is not that of the public area", h)
		}
		if !bytes.Equal(a.hash, tpmcrypto.Sum(TPM_ALG_SHA256, a.data)) {
			t.Errorf("0x%x: creationHash", h)
		}
		if !x.checkTicket(&a.ticket, a.name, a.hash) || a.ticket.Hierarchy != h {
			t.Errorf("0x%x: creationTicket", h)
		}
		o := x.transient(a.handle)
		if _, err := tpmcrypto.NewECCPublicKey(a.pub.Curve, a.pub.X, a.pub.Y); err != nil || len(o.sens.Seed) != 32 {
			t.Errorf("0x%x: key: %v", h, err)
		}
		tpl := eccTemplate(attrsStorage)
		tpl.X = []byte{1} // unique is part of the template
		c := parseCreated(t, x.createPrimaryKey(h, "", tpl))
		if bytes.Equal(c.name, a.name) {
			t.Errorf("0x%x: unique does not matter", h)
		}
		for _, k := range []Handle{a.handle, b.handle, c.handle} {
			x.ok(x.cmd(TPM_CC_FlushContext, handles(k)))
		}
	}
}

// TestCreatePrimaryCreationData checks creation data with PCR and outside info.
func TestCreatePrimaryCreationData(t *testing.T) {
	x := newTestTPM(t)
	tpl := eccTemplate(attrsSign)
	params := join(b2(join(b2(nil), b2(nil))), marshal(maxPublic, func(w *writer) { w.public2B(&tpl) }),
		b2([]byte("outside")), u32(1), pcrSel(TPM_ALG_SHA1, 0, 23))
	x.loc = 2
	c := parseCreated(t, x.ok(x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), params)))
	want := join(u32(1), pcrSel(TPM_ALG_SHA1, 0, 23), b2(tpmcrypto.Sum(TPM_ALG_SHA256, make([]byte, 40))), []byte{1 << 2},
		u16(uint16(TPM_ALG_NULL)), b2(handleName(TPM_RH_OWNER)), b2(handleName(TPM_RH_OWNER)), b2([]byte("outside")))
	if !bytes.Equal(c.data, want) {
		t.Errorf("creation data\n% x, want\n% x", c.data, want)
	}
}

// TestChangeOfProof: the seed value of an endorsement key changes with the
// storage hierarchy, the key does not (TPM20-P1 section 27.7.4).
func TestChangeOfProof(t *testing.T) {
	x := newTestTPM(t)
	get := func(h Handle) *object {
		return x.transient(x.createPrimaryKey(h, "", eccTemplate(attrsStorage)).handle)
	}
	a, o := get(TPM_RH_ENDORSEMENT), get(TPM_RH_OWNER)
	x.owner.proof[0]++
	b, p := get(TPM_RH_ENDORSEMENT), get(TPM_RH_OWNER)
	if !bytes.Equal(a.name, b.name) || bytes.Equal(a.sens.Seed, b.sens.Seed) {
		t.Error("endorsement key")
	}
	if !bytes.Equal(o.name, p.name) || !bytes.Equal(o.sens.Seed, p.sens.Seed) {
		t.Error("owner key")
	}
}

// TestCreatePrimaryErrors has one row for each rule of a template.
func TestCreatePrimaryErrors(t *testing.T) {
	ecc := func(a TPMA_OBJECT, f func(p *TPMT_PUBLIC)) TPMT_PUBLIC {
		p := eccTemplate(a)
		f(&p)
		return p
	}
	none := func(*TPMT_PUBLIC) {}
	sealed := objFixedTPM | objFixedParent | objUserWithAuth
	ecdsa := TPMT_SCHEME{Scheme: TPM_ALG_ECDSA, Hash: TPM_ALG_SHA256}
	ecdh := TPMT_SCHEME{Scheme: TPM_ALG_ECDH, Hash: TPM_ALG_SHA256}
	tests := []struct {
		name string
		auth string
		data []byte
		pub  TPMT_PUBLIC
		rc   RC
	}{
		{"auth too long", strings.Repeat("x", 33), nil, eccTemplate(attrsSign), TPM_RC_SIZE.Param(1)},
		{"data for ECC", "", []byte("x"), ecc(attrsSign&^objSensitiveDataOrigin, none), TPM_RC_VALUE.Param(1)},
		{"data and origin", "", []byte("x"), keyedHashTemplate(attrsSign), TPM_RC_ATTRIBUTES.Param(2)},
		{"no data and no origin", "", nil, keyedHashTemplate(attrsSign &^ objSensitiveDataOrigin), TPM_RC_ATTRIBUTES.Param(2)},
		{"seal nothing", "", nil, keyedHashTemplate(sealed | objSensitiveDataOrigin), TPM_RC_ATTRIBUTES.Param(2)},
		{"seal too much", "", make([]byte, 129), keyedHashTemplate(sealed), TPM_RC_SIZE.Param(1)},
		{"AES key of the wrong size", "", make([]byte, 15), symTemplate(sealed | objSign | objDecrypt), TPM_RC_SIZE.Param(1)},
		{"no use", "", nil, ecc(attrsSign&^objSign, none), TPM_RC_ATTRIBUTES.Param(2)},
		{"restricted for both", "", nil, ecc(attrsStorage|objSign, none), TPM_RC_ATTRIBUTES.Param(2)},
		{"restricted for none", "", nil, ecc(attrsStorage&^objDecrypt, none), TPM_RC_ATTRIBUTES.Param(2)},
		{"fixedTPM without fixedParent", "", nil, ecc(attrsSign&^objFixedParent, none), TPM_RC_ATTRIBUTES.Param(2)},
		{"fixedParent without fixedTPM", "", nil, ecc(attrsSign&^objFixedTPM, none), TPM_RC_ATTRIBUTES.Param(2)},
		{"encryptedDuplication of fixedTPM", "", nil, ecc(attrsSign|objEncryptedDuplication, none), TPM_RC_ATTRIBUTES.Param(2)},
		{"firmwareLimited", "", nil, ecc(attrsSign|objFirmwareLimited, none), TPM_RC_ATTRIBUTES.Param(2)},
		{"x509sign of a decryption key", "", nil, ecc(attrsStorage|objX509Sign, none), TPM_RC_ATTRIBUTES.Param(2)},
		{"reserved attribute", "", nil, ecc(attrsSign|1, none), TPM_RC_RESERVED_BITS.Param(2)},
		{"nameAlg null", "", nil, ecc(attrsSign, func(p *TPMT_PUBLIC) { p.NameAlg = TPM_ALG_NULL }), TPM_RC_HASH.Param(2)},
		{"nameAlg unknown", "", nil, ecc(attrsSign, func(p *TPMT_PUBLIC) { p.NameAlg = 0x12 }), TPM_RC_HASH.Param(2)},
		{"policy of another size", "", nil, ecc(attrsSign, func(p *TPMT_PUBLIC) { p.AuthPolicy = make([]byte, 20) }), TPM_RC_SIZE.Param(2)},
		{"type", "", nil, ecc(attrsSign, func(p *TPMT_PUBLIC) { p.Type = TPM_ALG_SHA256 }), TPM_RC_TYPE.Param(2)},
		{"curve", "", nil, ecc(attrsSign, func(p *TPMT_PUBLIC) { p.Curve = TPM_ECC_NIST_P192 }), TPM_RC_CURVE.Param(2)},
		{"KDF", "", nil, ecc(attrsSign, func(p *TPMT_PUBLIC) { p.KDF = TPMT_SCHEME{Scheme: TPM_ALG_KDF2, Hash: TPM_ALG_SHA256} }), TPM_RC_KDF.Param(2)},
		{"storage key that signs", "", nil, ecc(attrsStorage, func(p *TPMT_PUBLIC) { p.Scheme = ecdsa }), TPM_RC_SCHEME.Param(2)},
		{"storage key with ECDH", "", nil, ecc(attrsStorage, func(p *TPMT_PUBLIC) { p.Scheme = ecdh }), TPM_RC_SCHEME.Param(2)},
		{"signing key with ECDH", "", nil, ecc(attrsSign, func(p *TPMT_PUBLIC) { p.Scheme = ecdh }), TPM_RC_SCHEME.Param(2)},
		{"restricted signing key without scheme", "", nil, ecc(attrsSign|objRestricted, none), TPM_RC_SCHEME.Param(2)},
		{"RSA scheme of an ECC key", "", nil, ecc(attrsSign, func(p *TPMT_PUBLIC) { p.Scheme = TPMT_SCHEME{Scheme: TPM_ALG_RSASSA, Hash: TPM_ALG_SHA256} }), TPM_RC_SCHEME.Param(2)},
		{"storage key without a cipher", "", nil, ecc(attrsStorage, func(p *TPMT_PUBLIC) { p.Sym = TPMT_SYM_DEF{Algorithm: TPM_ALG_NULL} }), TPM_RC_SYMMETRIC.Param(2)},
		{"storage key with CTR", "", nil, ecc(attrsStorage, func(p *TPMT_PUBLIC) { p.Sym.Mode = TPM_ALG_CTR }), TPM_RC_SYMMETRIC.Param(2)},
		{"signing key with a cipher", "", nil, ecc(attrsSign, func(p *TPMT_PUBLIC) { p.Sym = eccTemplate(attrsStorage).Sym }), TPM_RC_SYMMETRIC.Param(2)},
		{"AES 512", "", nil, ecc(attrsStorage, func(p *TPMT_PUBLIC) { p.Sym.KeyBits = 512 }), TPM_RC_VALUE.Param(2)},
	}
	r := rsaTemplate(attrsSign)
	r.KeyBits = 1024
	tests = append(tests, tests[0])
	tests[len(tests)-1].name, tests[len(tests)-1].auth, tests[len(tests)-1].pub, tests[len(tests)-1].rc = "RSA 1024", "", r, TPM_RC_VALUE.Param(2)
	r.KeyBits, r.Exponent = 2048, 4
	tests = append(tests, tests[len(tests)-1])
	tests[len(tests)-1].name, tests[len(tests)-1].pub, tests[len(tests)-1].rc = "RSA exponent", r, TPM_RC_RANGE.Param(2)
	x := newTestTPM(t)
	for _, tt := range tests {
		x.unchanged(func() {
			if r := x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), createParams(tt.auth, tt.data, tt.pub)); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	for range maxObjects {
		x.createPrimaryKey(TPM_RH_NULL, "", eccTemplate(attrsSign))
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), createParams("", nil, eccTemplate(attrsSign))), TPM_RC_OBJECT_MEMORY)
	})
}

// TestCreatePrimaryCanceled: a cancel request ends the search for an RSA key.
func TestCreatePrimaryCanceled(t *testing.T) {
	x := newTestTPM(t)
	x.cancel = true
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), createParams("", nil, rsaTemplate(attrsSign))), TPM_RC_CANCELED)
	})
}

// TestRSA1024 is off unless the Config says otherwise.
func TestRSA1024(t *testing.T) {
	x := newTestTPM(t, func(c *Config) { c.RSA1024 = true })
	p := rsaTemplate(attrsSign)
	p.KeyBits = 1024
	c := parseCreated1024(t, x.createPrimaryKey(TPM_RH_OWNER, "", p))
	if len(c.Unique) != 128 {
		t.Errorf("modulus of %d octets", len(c.Unique))
	}
}

func parseCreated1024(t *testing.T, r response) TPMT_PUBLIC {
	t.Helper()
	in := r.reader()
	p := in.public2B(publicPlain)
	if in.rc != TPM_RC_SUCCESS {
		t.Fatal(in.rc)
	}
	return p
}
