package tpm2

import (
	"bytes"
	"testing"
)

func TestImportErrors(t *testing.T) {
	x := newTestTPM(t)
	from := x.storageParent()
	sym := x.createPrimaryKey(TPM_RH_OWNER, "", symTemplate(attrsStorage)).handle
	sign := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	c, h := x.dupChild(from, eccTemplate(attrsDup|objSign))
	ec, eh := x.dupChild(from, eccTemplate(attrsDup|objSign|objEncryptedDuplication))
	dupParent := x.load(from, x.create(from, "", nil, eccTemplate(attrsDupStorage|objEncryptedDuplication)))
	type dup struct{ key, dup, secret []byte }
	get := func(h, parent Handle, s TPMT_SYM_DEF) (d dup) {
		in := x.ok(x.duplicate(h, parent, nil, s)).reader()
		d.key, d.dup, d.secret = bytes.Clone(in.data()), bytes.Clone(in.b2(maxPrivate)), bytes.Clone(in.b2(maxEncryptedSecret))
		return d
	}
	full := get(h, from, wrapAES)
	outer := get(h, from, wrapNone)
	inner := get(h, TPM_RH_NULL, wrapAES)
	none := get(h, TPM_RH_NULL, wrapNone)
	enc := get(eh, from, wrapAES)
	flip := func(b []byte, i int) []byte { b = bytes.Clone(b); b[(i+len(b))%len(b)] ^= 1; return b }
	with := func(f func(p *TPMT_PUBLIC)) *TPMT_PUBLIC { p := c.pub.clone(); f(&p); return &p }
	attrs := func(a TPMA_OBJECT) *TPMT_PUBLIC { return with(func(p *TPMT_PUBLIC) { p.Attributes ^= a }) }
	for _, tt := range []struct {
		name   string
		parent Handle
		d      dup
		pub    *TPMT_PUBLIC
		sym    TPMT_SYM_DEF
		rc     RC
	}{
		{"parent signs", sign, full, &c.pub, wrapAES, TPM_RC_TYPE.Handle(1)},
		{"symmetric parent with a seed", sym, full, &c.pub, wrapAES, TPM_RC_TYPE.Handle(1)},
		{"cipher without key", from, dup{nil, full.dup, full.secret}, &c.pub, wrapAES, TPM_RC_SIZE.Param(1)},
		{"key without cipher", from, full, &c.pub, wrapNone, TPM_RC_SIZE.Param(1)},
		{"key of another size", from, full, &c.pub, wrapCamellia, TPM_RC_SIZE.Param(1)},
		{"fixedTPM", from, full, attrs(objFixedTPM), wrapAES, TPM_RC_ATTRIBUTES.Param(2)},
		{"fixedParent", from, full, attrs(objFixedParent), wrapAES, TPM_RC_ATTRIBUTES.Param(2)},
		{"no use", from, full, attrs(objSign), wrapAES, TPM_RC_ATTRIBUTES.Param(2)},
		{"parent needs encryptedDuplication", dupParent, full, &c.pub, wrapAES, TPM_RC_ATTRIBUTES.Param(2)},
		{"nameAlg", from, full, with(func(p *TPMT_PUBLIC) { p.NameAlg = TPM_ALG_NULL }), wrapAES, TPM_RC_HASH.Param(2)},
		{"another public area", from, full, attrs(objNoDA), wrapAES, TPM_RC_INTEGRITY.Param(3)},
		{"another public area, inner wrapper only", from, inner, attrs(objNoDA), wrapAES, TPM_RC_INTEGRITY.Param(3)},
		{"point off the curve, no wrapper", from, none, with(func(p *TPMT_PUBLIC) { p.X[0]++ }), wrapNone, TPM_RC_ECC_POINT.Param(2)},
		{"another point, no wrapper", from, none, with(func(p *TPMT_PUBLIC) { p.X, p.Y = ec.pub.X, ec.pub.Y }), wrapNone, TPM_RC_BINDING},
		{"outer HMAC", from, dup{full.key, flip(full.dup, 3), full.secret}, &c.pub, wrapAES, TPM_RC_INTEGRITY.Param(3)},
		{"data", from, dup{outer.key, flip(outer.dup, -1), outer.secret}, &c.pub, wrapNone, TPM_RC_INTEGRITY.Param(3)},
		{"wrong inner key", from, dup{flip(full.key, 0), full.dup, full.secret}, &c.pub, wrapAES, TPM_RC_INTEGRITY.Param(3)},
		{"inner data", from, dup{inner.key, flip(inner.dup, -1), nil}, &c.pub, wrapAES, TPM_RC_INTEGRITY.Param(3)},
		{"empty inner data", from, dup{inner.key, nil, nil}, &c.pub, wrapAES, TPM_RC_INTEGRITY.Param(3)},
		{"seed of another parent", from, dup{outer.key, outer.dup, enc.secret}, &c.pub, wrapNone, TPM_RC_INTEGRITY.Param(3)},
		{"seed is not a point", from, dup{outer.key, outer.dup, flip(outer.secret, -1)}, &c.pub, wrapNone, TPM_RC_VALUE.Param(4)},
		{"outer wrapper without seed", from, dup{outer.key, outer.dup, nil}, &c.pub, wrapNone, TPM_RC_TYPE.Param(3)},
		{"empty duplicate", from, dup{nil, nil, nil}, &c.pub, wrapNone, TPM_RC_INSUFFICIENT.Param(3)},
		{"cut duplicate", from, dup{nil, none.dup[:20], nil}, &c.pub, wrapNone, TPM_RC_INSUFFICIENT.Param(3)},
		{"long duplicate", from, dup{nil, append(bytes.Clone(none.dup), 0), nil}, &c.pub, wrapNone, TPM_RC_SIZE.Param(3)},
		{"encryptedDuplication without seed", from, dup{enc.key, enc.dup, nil}, &ec.pub, wrapAES, TPM_RC_ATTRIBUTES.Param(4)},
		{"encryptedDuplication without key", from, dup{nil, enc.dup, enc.secret}, &ec.pub, wrapNone, TPM_RC_ATTRIBUTES.Param(1)},
	} {
		x.unchanged(func() {
			r := x.cmdS(TPM_CC_Import, handles(tt.parent), pw(""), importParams(tt.d.key, tt.pub, tt.d.dup, tt.d.secret, &tt.sym))
			if r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	// What was refused above for one reason is right without it.
	for _, tt := range []struct {
		parent Handle
		d      dup
		pub    *TPMT_PUBLIC
		sym    TPMT_SYM_DEF
	}{{from, full, &c.pub, wrapAES}, {from, outer, &c.pub, wrapNone}, {sym, inner, &c.pub, wrapAES}, {sym, none, &c.pub, wrapNone}, {from, enc, &ec.pub, wrapAES}} {
		r := x.ok(x.cmdS(TPM_CC_Import, handles(tt.parent), pw(""), importParams(tt.d.key, tt.pub, tt.d.dup, tt.d.secret, &tt.sym)))
		x.drop(x.load(tt.parent, child{private: r.reader().b2(maxPrivate), pub: *tt.pub}))
	}
}

// TestRewrap sends a duplicate from one parent to the next, and checks errors.
func TestRewrap(t *testing.T) {
	x := newTestTPM(t)
	a := x.storageParent()
	b := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", rsaTemplate(attrsStorage)).handle
	sym := x.createPrimaryKey(TPM_RH_OWNER, "", symTemplate(attrsStorage)).handle
	sign := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	public := x.loadPublic(x.transient(b).pub, TPM_RH_NULL)
	c, h := x.dupChild(a, keyedHashTemplate(attrsDup|objSign))
	name := x.transient(h).name
	in := x.ok(x.duplicate(h, a, nil, wrapAES)).reader()
	key, dup, secret := in.data(), in.b2(maxPrivate), in.b2(maxEncryptedSecret)
	rewrap := func(from, to Handle, dup, name, secret []byte) response {
		return x.cmdS(TPM_CC_Rewrap, handles(from, to), pw(""), b2(dup), b2(name), b2(secret))
	}
	load := func(parent Handle, r response) {
		in := r.reader()
		dup, secret := in.b2(maxPrivate), in.b2(maxEncryptedSecret)
		i := x.ok(x.cmdS(TPM_CC_Import, handles(parent), pw(""), importParams(key, &c.pub, dup, secret, &wrapAES)))
		x.drop(x.load(parent, child{private: i.reader().b2(maxPrivate), pub: c.pub}))
	}
	load(b, x.ok(rewrap(a, public, dup, name, secret)))
	bare := x.ok(rewrap(a, TPM_RH_NULL, dup, name, secret))
	load(a, bare)
	bareDup := bare.reader().b2(maxPrivate)
	load(b, x.ok(rewrap(TPM_RH_NULL, b, bareDup, name, nil)))
	for _, tt := range []struct {
		name               string
		from, to           Handle
		dup, oname, secret []byte
		rc                 RC
	}{
		{"old parent signs", sign, b, dup, name, secret, TPM_RC_TYPE.Handle(1)},
		{"old parent is symmetric", sym, b, dup, name, secret, TPM_RC_TYPE.Handle(1)},
		{"old parent is public", public, b, dup, name, secret, TPM_RC_AUTH_UNAVAILABLE},
		{"new parent signs", a, h, dup, name, secret, TPM_RC_TYPE.Handle(2)},
		{"new parent is symmetric", a, sym, dup, name, secret, TPM_RC_TYPE.Handle(2)},
		{"no seed with an old parent", a, b, dup, name, nil, TPM_RC_HANDLE.Handle(1)},
		{"seed without an old parent", TPM_RH_NULL, b, dup, name, secret, TPM_RC_HANDLE.Handle(1)},
		{"another Name", a, b, dup, x.transient(a).name, secret, TPM_RC_INTEGRITY.Param(1)},
		{"changed", a, b, dup[:len(dup)-1], name, secret, TPM_RC_INTEGRITY.Param(1)},
		{"seed is not a point", a, b, dup, name, secret[1:], TPM_RC_VALUE.Param(3)},
		{"no room for a wrapper", TPM_RH_NULL, b, make([]byte, maxPrivate-33), name, nil, TPM_RC_SIZE.Param(1)},
		{"too large", TPM_RH_NULL, b, make([]byte, maxPrivate+1), name, nil, TPM_RC_SIZE.Param(1)},
	} {
		x.unchanged(func() {
			if r := rewrap(tt.from, tt.to, tt.dup, tt.oname, tt.secret); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	x.ok(rewrap(TPM_RH_NULL, b, make([]byte, maxPrivate-34), name, nil)) // the largest fits the response
}
