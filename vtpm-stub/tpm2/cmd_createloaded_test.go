package tpm2

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// loadedParams are the parameters of TPM2_CreateLoaded.
func loadedParams(auth string, data []byte, pub TPMT_PUBLIC) []byte {
	return join(b2(join(b2([]byte(auth)), b2(data))), b2(marshal(maxPublic, func(w *writer) { w.public(&pub) })))
}

func derivationTemplate(a TPMA_OBJECT) TPMT_PUBLIC {
	p := keyedHashTemplate(a)
	p.Scheme = TPMT_SCHEME{Scheme: TPM_ALG_XOR, Hash: TPM_ALG_SHA384, KDF: TPM_ALG_KDF1_SP800_108}
	return p
}

// derivationParent imports a derivation parent whose sensitive value is 32
// octets of 2.
func (x *testTPM) derivationParent() Handle {
	x.t.Helper()
	p := x.storageParent()
	defer x.drop(p)
	pub := derivationTemplate(objUserWithAuth | objNoDA | objRestricted | objDecrypt)
	sens := TPMT_SENSITIVE{Type: TPM_ALG_KEYEDHASH, Seed: bytes.Repeat([]byte{1}, 32), Sensitive: bytes.Repeat([]byte{2}, 32)}
	pub.Unique = x.hash.Sum(TPM_ALG_SHA256, nil, sens.Seed, sens.Sensitive)
	area := marshal(maxPrivate, func(w *writer) { w.sensitive2B(&sens) })
	r := x.ok(x.cmdS(TPM_CC_Import, handles(p), pw(""), importParams(nil, &pub, area, nil, &wrapNone)))
	return x.load(p, child{private: r.reader().b2(maxPrivate), pub: pub})
}

type loaded struct {
	private []byte
	pub     TPMT_PUBLIC
	name    []byte
	h       Handle
}

func (x *testTPM) loadedResult(r response) loaded {
	x.t.Helper()
	in := x.ok(r).reader()
	l := loaded{private: in.b2(maxPrivate), pub: in.public2B(publicPlain), name: in.name(), h: r.handle}
	if rc := in.end(); rc != TPM_RC_SUCCESS {
		x.t.Fatal("malformed response:", rc)
	}
	return l
}

// TestCreateLoadedPrimary: the same object as TPM2_CreatePrimary makes.
func TestCreateLoadedPrimary(t *testing.T) {
	x := newTestTPM(t)
	for _, h := range []Handle{TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM, TPM_RH_NULL} {
		for _, tpl := range []TPMT_PUBLIC{eccTemplate(attrsStorage), symTemplate(attrsSign | objDecrypt)} {
			a := x.createPrimaryKey(h, "", tpl).handle
			l := x.loadedResult(x.cmdS(TPM_CC_CreateLoaded, handles(h), pw(""), loadedParams("", nil, tpl)))
			o, p := x.transient(a), x.transient(l.h)
			if len(l.private) != 0 || !bytes.Equal(l.name, o.name) || !bytes.Equal(p.sens.Seed, o.sens.Seed) || !p.primary || !bytes.Equal(p.qname, o.qname) {
				t.Errorf("0x%x: another object", h)
			}
			x.drop(a, l.h)
		}
	}
}

// TestCreateLoadedOrdinary: the private area can be loaded.
func TestCreateLoadedOrdinary(t *testing.T) {
	x := newTestTPM(t)
	p := x.storageParent()
	l := x.loadedResult(x.cmdS(TPM_CC_CreateLoaded, handles(p), pw(""), loadedParams("auth", []byte("secret"), sealedTemplate(nil))))
	h := x.load(p, child{private: l.private, pub: l.pub})
	for _, k := range []Handle{l.h, h} {
		if got := x.ok(x.cmdS(TPM_CC_Unseal, handles(k), pw("auth"))).reader().b2(128); string(got) != "secret" {
			t.Errorf("0x%x holds %q", k, got)
		}
	}
	if o := x.transient(l.h); o.primary || !bytes.Equal(o.qname, x.transient(h).qname) {
		t.Error("Qualified Name")
	}
}

// derivedTemplates are the objects whose Names testdata holds. swtpm 0.7 with
// libtpms 0.9.2 derives the same, but for P-521.
func derivedTemplates() map[string]TPMT_PUBLIC {
	a := objUserWithAuth | objFixedParent
	list := map[string]TPMT_PUBLIC{
		"aes": symTemplate(a | objSign | objDecrypt), "hmac": keyedHashTemplate(a | objSign), "data": keyedHashTemplate(a),
	}
	for name, c := range map[string]ECCCurve{"p224": TPM_ECC_NIST_P224, "p256": TPM_ECC_NIST_P256, "p384": TPM_ECC_NIST_P384,
		"p521": TPM_ECC_NIST_P521, "bn-p256": TPM_ECC_BN_P256, "sm2-p256": TPM_ECC_SM2_P256} {
		p := eccTemplate(a | objSign)
		p.Curve = c
		list["ecc-"+name] = p
	}
	list["mlkem-1024"] = mlkemTemplate(set1024, a|objDecrypt)
	list["mldsa-44"] = mldsaTemplate(set44, a|objSign, false)
	list["hash-mldsa-65"] = hashMLDSATemplate(set65, a|objSign, TPM_ALG_SHA512)
	for name, p := range list {
		p.Derive = true
		list[name] = p
	}
	return list
}

// TestGoldenDerived: a derivation parent and a template give the same key in
// every version of this program, and on other TPMs.
func TestGoldenDerived(t *testing.T) {
	x := newTestTPM(t)
	parent := x.derivationParent()
	want := map[string]string{}
	for _, l := range lines(t, "derived-names.txt") {
		f := strings.Fields(l)
		want[f[0]] = f[1]
	}
	if len(want) != len(derivedTemplates()) {
		t.Errorf("%d golden names", len(want))
	}
	for name, p := range derivedTemplates() {
		p.Label, p.Context = []byte("label"), []byte("label")
		l := x.loadedResult(x.cmdS(TPM_CC_CreateLoaded, handles(parent), pw(""), loadedParams("", nil, p)))
		if got := hex.EncodeToString(l.name); got != want[name] {
			t.Errorf("%s %s\nis not the golden one", name, got)
		}
		if len(l.private) != 0 || x.transient(l.h).hierarchy != TPM_RH_OWNER {
			t.Errorf("%s: private area or hierarchy", name)
		}
		x.drop(l.h)
	}
}

// TestDerivationInput: label and context of the template come first, those of
// inSensitive take the place of empty ones.
func TestDerivationInput(t *testing.T) {
	x := newTestTPM(t)
	parent := x.derivationParent()
	name := func(label, context string, data []byte) string {
		p := derivedTemplates()["ecc-p256"]
		p.Label, p.Context = []byte(label), []byte(context)
		l := x.loadedResult(x.cmdS(TPM_CC_CreateLoaded, handles(parent), pw(""), loadedParams("", data, p)))
		x.drop(l.h)
		return string(l.name)
	}
	lc := join(b2([]byte("L")), b2([]byte("C")))
	base := name("L", "C", nil)
	for _, same := range []string{name("L", "C", nil), name("L", "", lc), name("", "C", lc), name("", "", lc), name("L", "C", join(b2([]byte("x")), b2([]byte("y"))))} {
		if same != base {
			t.Error("the same label and context gave another key")
		}
	}
	for _, other := range []string{name("L", "", nil), name("", "C", nil), name("C", "L", nil), name("", "", nil)} {
		if other == base {
			t.Error("another label and context gave the same key")
		}
	}
}

func TestCreateLoadedErrors(t *testing.T) {
	x := newTestTPM(t)
	p := x.storageParent()
	d := x.derivationParent()
	sign := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	derived := func(f func(p *TPMT_PUBLIC)) TPMT_PUBLIC {
		p := derivedTemplates()["ecc-p256"]
		f(&p)
		return p
	}
	rsa := rsaTemplate(objUserWithAuth | objFixedParent | objSign)
	rsa.Derive = true
	long := eccTemplate(attrsSign)
	long.X = make([]byte, maxECCBytes+1)
	tests := []struct {
		name   string
		parent Handle
		params []byte
		rc     RC
	}{
		{"parent signs", sign, loadedParams("", nil, eccTemplate(attrsSign)), TPM_RC_TYPE.Handle(1)},
		{"not a parent", TPM_RH_LOCKOUT, loadedParams("", nil, eccTemplate(attrsSign)), TPM_RC_VALUE.Handle(1)},
		{"template is cut", p, join(b2(join(b2(nil), b2(nil))), b2([]byte{0, 0x23, 0})), TPM_RC_INSUFFICIENT.Param(2)},
		{"template is empty", p, join(b2(join(b2(nil), b2(nil))), b2(nil)), TPM_RC_INSUFFICIENT.Param(2)},
		{"template is too long", p, join(b2(join(b2(nil), b2(nil))), b2(append(marshal(maxPublic, func(w *writer) { p := eccTemplate(attrsSign); w.public(&p) }), 0))), TPM_RC_SIZE.Param(2)},
		{"unique too long", p, loadedParams("", nil, long), TPM_RC_SIZE.Param(2)},
		{"data for ECC", p, loadedParams("", []byte("x"), eccTemplate(attrsSign)), TPM_RC_VALUE.Param(1)},
		{"seal nothing", TPM_RH_OWNER, loadedParams("", nil, sealedTemplate(nil)), TPM_RC_ATTRIBUTES.Param(2)},
		{"derived RSA", d, loadedParams("", nil, rsa), TPM_RC_TYPE.Param(2)},
		{"derived with sensitiveDataOrigin", d, loadedParams("", nil, derived(func(p *TPMT_PUBLIC) { p.Attributes |= objSensitiveDataOrigin })), TPM_RC_ATTRIBUTES.Param(2)},
		{"derived without fixedParent", d, loadedParams("", nil, derived(func(p *TPMT_PUBLIC) { p.Attributes &^= objFixedParent })), TPM_RC_ATTRIBUTES.Param(2)},
		{"derived with fixedTPM of a parent without", d, loadedParams("", nil, derived(func(p *TPMT_PUBLIC) { p.Attributes |= objFixedTPM })), TPM_RC_ATTRIBUTES.Param(2)},
		{"derived storage key", d, loadedParams("", nil, func() TPMT_PUBLIC {
			p := eccTemplate(objUserWithAuth | objFixedParent | objRestricted | objDecrypt)
			p.Derive = true
			return p
		}()), TPM_RC_SYMMETRIC.Param(2)},
		{"derived, auth too long", d, loadedParams(strings.Repeat("x", 33), nil, derived(func(*TPMT_PUBLIC) {})), TPM_RC_SIZE.Param(1)},
		{"derived, data are no label and context", d, loadedParams("", []byte("junk"), derived(func(*TPMT_PUBLIC) {})), TPM_RC_SIZE.Param(1)},
		{"derived, label too long", d, loadedParams("", nil, derived(func(p *TPMT_PUBLIC) { p.Label = make([]byte, 33) })), TPM_RC_SIZE.Param(2)},
		{"derived, template of another form", d, loadedParams("", nil, rsaTemplate(attrsSign)), TPM_RC_INSUFFICIENT.Param(2)},
	}
	for _, tt := range tests {
		x.unchanged(func() {
			if r := x.cmdS(TPM_CC_CreateLoaded, handles(tt.parent), pw(""), tt.params); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	for x.freeObjectSlot() {
		x.loadedResult(x.cmdS(TPM_CC_CreateLoaded, handles(p), pw(""), loadedParams("", nil, eccTemplate(attrsSign))))
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_CreateLoaded, handles(d), pw(""), loadedParams("", nil, derived(func(*TPMT_PUBLIC) {}))), TPM_RC_OBJECT_MEMORY)
	})
}
