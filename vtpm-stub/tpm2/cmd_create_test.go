package tpm2

import (
	"bytes"
	"strings"
	"testing"
)

// TestCreateLoad creates, loads and uses a child of each type.
func TestCreateLoad(t *testing.T) {
	x := newTestTPM(t)
	for name, parent := range map[string]TPMT_PUBLIC{"ECC": eccTemplate(attrsStorage), "AES": symTemplate(attrsStorage)} {
		p := x.createPrimaryKey(TPM_RH_OWNER, "", parent).handle
		for kind, tpl := range map[string]TPMT_PUBLIC{
			"ECC": eccTemplate(attrsSign), "RSA": rsaTemplate(attrsSign), "HMAC": keyedHashTemplate(attrsSign),
			"AES": symTemplate(attrsSign | objDecrypt), "storage": eccTemplate(attrsStorage), "AES storage": symTemplate(attrsStorage),
		} {
			c := x.create(p, "child auth", nil, tpl)
			h := x.load(p, c)
			o, po := x.transient(h), x.transient(p)
			if !bytes.Equal(o.name, x.computeName(&c.pub)) || !bytes.Equal(o.qname, x.qualifiedName(po.qname, o.name, TPM_ALG_SHA256)) {
				t.Errorf("%s under %s: Name or Qualified Name", kind, name)
			}
			if string(o.sens.Auth) != "child auth" || o.hierarchy != TPM_RH_OWNER || o.primary || o.external {
				t.Errorf("%s under %s: %+v", kind, name, o)
			}
			if !x.checkTicket(&c.ticket, o.name, c.hash) || !bytes.Equal(c.hash, x.hash.Sum(TPM_ALG_SHA256, nil, c.data)) {
				t.Errorf("%s under %s: creation hash or ticket", kind, name)
			}
			if bytes.Contains(c.private, o.sens.Sensitive) {
				t.Errorf("%s under %s: private area in the clear", kind, name)
			}
			if kind == "storage" {
				d := x.create2(h, "child auth", eccTemplate(attrsSign))
				x.drop(x.ok(x.cmdS(TPM_CC_Load, handles(h), pw("child auth"), load2(d.private, &d.pub))).handle)
			}
			x.drop(h)
		}
		x.drop(p)
	}
}

// create2 is create under a parent with an authValue.
func (x *testTPM) create2(parent Handle, parentAuth string, pub TPMT_PUBLIC) child {
	x.t.Helper()
	in := x.ok(x.cmdS(TPM_CC_Create, handles(parent), pw(parentAuth), createParams("", nil, pub))).reader()
	return child{private: in.b2(maxPrivate), pub: in.public2B(publicPlain)}
}

// TestCreateDiffers: ordinary objects come from the random generator, and two
// private areas of the same length never have the same IV.
func TestCreateDiffers(t *testing.T) {
	x := newTestTPM(t)
	p := x.storageParent()
	a := x.create(p, "short", nil, eccTemplate(attrsSign))
	b := x.create(p, "a longer authValue", nil, eccTemplate(attrsSign))
	if bytes.Equal(a.pub.X, b.pub.X) {
		t.Error("two keys are the same")
	}
	if len(a.private) != len(b.private) {
		t.Errorf("private areas of %d and %d octets tell the length of the authValue", len(a.private), len(b.private))
	}
	if bytes.Equal(a.private[34:52], b.private[34:52]) {
		t.Error("the same IV twice")
	}
}

// TestCreateCreationData has the parent's Names in it.
func TestCreateCreationData(t *testing.T) {
	x := newTestTPM(t)
	h := x.storageParent()
	c := x.create(h, "", []byte("data"), sealedTemplate(nil))
	p := x.transient(h)
	want := join(u32(0), b2(x.hash.Sum(TPM_ALG_SHA256, nil)), []byte{1}, u16(uint16(TPM_ALG_SHA256)), b2(p.name), b2(p.qname), b2(nil))
	if !bytes.Equal(c.data, want) {
		t.Errorf("creation data\n% x, want\n% x", c.data, want)
	}
}

func TestCreateErrors(t *testing.T) {
	x := newTestTPM(t)
	p := x.storageParent()
	sign := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	derive := keyedHashTemplate(attrsStorage)
	derive.Scheme = TPMT_SCHEME{Scheme: TPM_ALG_XOR, Hash: TPM_ALG_SHA256, KDF: TPM_ALG_KDF1_SP800_108}
	derivation := x.createPrimaryKey(TPM_RH_OWNER, "", derive).handle
	public := x.loadPublic(x.transient(p).pub, TPM_RH_OWNER)
	seq := x.ok(x.cmd(TPM_CC_HashSequenceStart, b2(nil), u16(uint16(TPM_ALG_SHA256)))).handle
	dup := x.load(p, x.create(p, "", nil, eccTemplate(attrsDupStorage)))
	encDup := x.load(p, x.create(p, "", nil, eccTemplate(attrsDupStorage|objEncryptedDuplication)))
	ecc := func(a TPMA_OBJECT, f func(p *TPMT_PUBLIC)) TPMT_PUBLIC {
		p := eccTemplate(a)
		f(&p)
		return p
	}
	tests := []struct {
		name   string
		parent Handle
		auth   string
		data   []byte
		pub    TPMT_PUBLIC
		rc     RC
	}{
		{"parent signs", sign, "", nil, eccTemplate(attrsSign), TPM_RC_TYPE.Handle(1)},
		{"parent derives", derivation, "", nil, eccTemplate(attrsSign), TPM_RC_TYPE.Handle(1)},
		{"parent is a sequence", seq, "", nil, eccTemplate(attrsSign), TPM_RC_TYPE.Handle(1)},
		{"parent is public", public, "", nil, eccTemplate(attrsSign), TPM_RC_AUTH_UNAVAILABLE.Session(1)},
		{"no such parent", 0x80000007, "", nil, eccTemplate(attrsSign), TPM_RC_REFERENCE_H0},
		{"auth too long", p, strings.Repeat("x", 33), nil, eccTemplate(attrsSign), TPM_RC_SIZE.Param(1)},
		{"data for ECC", p, "", []byte("x"), eccTemplate(attrsSign &^ objSensitiveDataOrigin), TPM_RC_VALUE.Param(1)},
		{"data and origin", p, "", []byte("x"), keyedHashTemplate(attrsSign), TPM_RC_ATTRIBUTES.Param(2)},
		{"HMAC key over a block", p, "", make([]byte, 65), keyedHashTemplate(attrsSign &^ objSensitiveDataOrigin), TPM_RC_SIZE.Param(1)},
		{"seal nothing", p, "", nil, keyedHashTemplate(attrsSealed), TPM_RC_ATTRIBUTES.Param(2)},
		{"fixedTPM without fixedParent", p, "", nil, eccTemplate(attrsSign &^ objFixedParent), TPM_RC_ATTRIBUTES.Param(2)},
		{"fixedTPM under a parent that is not", dup, "", nil, eccTemplate(attrsSign), TPM_RC_ATTRIBUTES.Param(2)},
		{"encryptedDuplication under a parent without", dup, "", nil, eccTemplate(attrsDup | objSign | objEncryptedDuplication), TPM_RC_ATTRIBUTES.Param(2)},
		{"no encryptedDuplication under a parent with", encDup, "", nil, eccTemplate(attrsDup | objSign), TPM_RC_ATTRIBUTES.Param(2)},
		{"storage key with another nameAlg", p, "", nil, ecc(attrsStorage, func(p *TPMT_PUBLIC) { p.NameAlg = TPM_ALG_SHA384 }), TPM_RC_HASH.Param(2)},
		{"storage key with another cipher", p, "", nil, ecc(attrsStorage, func(p *TPMT_PUBLIC) { p.Sym.KeyBits = 256 }), TPM_RC_SYMMETRIC.Param(2)},
		{"nameAlg null", p, "", nil, ecc(attrsSign, func(p *TPMT_PUBLIC) { p.NameAlg = TPM_ALG_NULL }), TPM_RC_HASH.Param(2)},
		{"restricted signing key without scheme", p, "", nil, eccTemplate(attrsSign | objRestricted), TPM_RC_SCHEME.Param(2)},
	}
	for _, tt := range tests {
		x.unchanged(func() {
			if r := x.cmdS(TPM_CC_Create, handles(tt.parent), pw(""), createParams(tt.auth, tt.data, tt.pub)); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	ok := ecc(attrsDupStorage, func(p *TPMT_PUBLIC) { p.NameAlg, p.Sym.KeyBits = TPM_ALG_SHA384, 256 })
	x.create(p, "", nil, ok) // a storage key that can leave need not match
	x.cancel = true
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_Create, handles(p), pw(""), createParams("", nil, rsaTemplate(attrsSign))), TPM_RC_CANCELED)
	})
}
