package tpm2

import (
	"bytes"
	"testing"
)

const attrsExternal = objUserWithAuth | objSign

// pair returns the areas of a key that any software could have made.
func (x *testTPM) pair(tpl TPMT_PUBLIC) (TPMT_PUBLIC, TPMT_SENSITIVE) {
	x.t.Helper()
	o, rc := x.generateSensitive(&tpl, &TPMS_SENSITIVE_CREATE{UserAuth: []byte("pass")}, rng{x.TPM}, nil)
	if rc != TPM_RC_SUCCESS {
		x.t.Fatal(rc)
	}
	return o.pub, o.sens
}

func TestLoadExternal(t *testing.T) {
	x := newTestTPM(t)
	for name, tpl := range map[string]TPMT_PUBLIC{
		"ECC": eccTemplate(attrsExternal), "RSA": rsaTemplate(attrsExternal),
		"HMAC": keyedHashTemplate(attrsExternal), "AES": symTemplate(attrsExternal | objDecrypt),
	} {
		pub, sens := x.pair(tpl)
		for _, nameAlg := range []AlgID{TPM_ALG_SHA256, TPM_ALG_NULL} {
			pub.NameAlg = nameAlg
			r := x.ok(x.cmd(TPM_CC_LoadExternal, external(&sens, &pub, TPM_RH_NULL)))
			o := x.transient(r.handle)
			in := r.reader()
			if got := in.name(); !bytes.Equal(got, x.computeName(&pub)) || !bytes.Equal(o.qname, o.name) {
				t.Errorf("%s: Name %x", name, got)
			}
			if !o.external || !o.private || o.hierarchy != TPM_RH_NULL || string(o.auth()) != "pass" {
				t.Errorf("%s: %+v", name, o)
			}
			x.drop(r.handle)
		}
		pub.NameAlg = TPM_ALG_SHA256
		for _, h := range []Handle{TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM, TPM_RH_NULL} {
			k := x.loadPublic(pub, h)
			if o := x.transient(k); o.hierarchy != h || o.private || !o.external {
				t.Errorf("%s: public area in 0x%x", name, h)
			}
			x.drop(k)
		}
	}
}

func TestLoadExternalErrors(t *testing.T) {
	x := newTestTPM(t)
	eccPub, eccSens := x.pair(eccTemplate(attrsExternal))
	rsaPub, rsaSens := x.pair(rsaTemplate(attrsExternal))
	aesPub, aesSens := x.pair(symTemplate(attrsExternal | objDecrypt))
	with := func(p TPMT_PUBLIC, f func(*TPMT_PUBLIC)) *TPMT_PUBLIC {
		p = p.clone()
		f(&p)
		return &p
	}
	attrs := func(a TPMA_OBJECT) *TPMT_PUBLIC { return with(eccPub, func(p *TPMT_PUBLIC) { p.Attributes |= a }) }
	sens := func(s TPMT_SENSITIVE, f func(*TPMT_SENSITIVE)) *TPMT_SENSITIVE {
		s = s.clone()
		f(&s)
		return &s
	}
	scheme := TPMT_SCHEME{Scheme: TPM_ALG_ECDSA, Hash: TPM_ALG_SHA256}
	tests := []struct {
		name string
		sens *TPMT_SENSITIVE
		pub  *TPMT_PUBLIC
		h    Handle
		rc   RC
	}{
		{"sensitive area in a hierarchy", &eccSens, &eccPub, TPM_RH_OWNER, TPM_RC_HIERARCHY.Param(3)},
		{"not a hierarchy", nil, &eccPub, TPM_RH_LOCKOUT, TPM_RC_VALUE.Param(3)},
		{"fixedTPM", &eccSens, attrs(objFixedTPM | objFixedParent), TPM_RH_NULL, TPM_RC_ATTRIBUTES.Param(2)},
		{"fixedParent", &eccSens, attrs(objFixedParent), TPM_RH_NULL, TPM_RC_ATTRIBUTES.Param(2)},
		{"restricted", &eccSens, with(eccPub, func(p *TPMT_PUBLIC) { p.Attributes |= objRestricted; p.Scheme = scheme }), TPM_RH_NULL, TPM_RC_ATTRIBUTES.Param(2)},
		{"no use", &eccSens, with(eccPub, func(p *TPMT_PUBLIC) { p.Attributes = 0 }), TPM_RH_NULL, TPM_RC_ATTRIBUTES.Param(2)},
		{"zero scalar without a Name", sens(eccSens, func(s *TPMT_SENSITIVE) { clear(s.Sensitive) }), with(eccPub, func(p *TPMT_PUBLIC) { p.NameAlg = TPM_ALG_NULL }), TPM_RH_NULL, TPM_RC_KEY_SIZE.Param(1)},
		{"public with the wrong scheme", nil, with(eccPub, func(p *TPMT_PUBLIC) { p.Scheme = TPMT_SCHEME{Scheme: TPM_ALG_ECDH, Hash: TPM_ALG_SHA256} }), TPM_RH_NULL, TPM_RC_SCHEME.Param(2)},
		{"policy without nameAlg", nil, with(eccPub, func(p *TPMT_PUBLIC) { p.NameAlg = TPM_ALG_NULL; p.AuthPolicy = make([]byte, 32) }), TPM_RH_NULL, TPM_RC_SIZE.Param(2)},
		{"public point off the curve", nil, with(eccPub, func(p *TPMT_PUBLIC) { p.Y[0]++ }), TPM_RH_OWNER, TPM_RC_ECC_POINT.Param(2)},
		{"public modulus of 1024 bits", nil, with(rsaPub, func(p *TPMT_PUBLIC) { p.Unique = p.Unique[128:] }), TPM_RH_OWNER, TPM_RC_KEY.Param(2)},
		{"empty modulus", nil, with(rsaPub, func(p *TPMT_PUBLIC) { p.Unique = nil }), TPM_RH_OWNER, TPM_RC_KEY.Param(2)},
		{"modulus without its top bit", nil, with(rsaPub, func(p *TPMT_PUBLIC) { p.Unique[0] &= 0x7F }), TPM_RH_OWNER, TPM_RC_KEY.Param(2)},
		{"exponent 4", nil, with(rsaPub, func(p *TPMT_PUBLIC) { p.Exponent = 4 }), TPM_RH_OWNER, TPM_RC_RANGE.Param(2)},
		{"type of the sensitive area", &aesSens, &eccPub, TPM_RH_NULL, TPM_RC_TYPE.Param(1)},
		{"sensitive area of another key", sens(eccSens, func(s *TPMT_SENSITIVE) { s.Sensitive[31] ^= 1 }), &eccPub, TPM_RH_NULL, TPM_RC_BINDING},
		{"prime of another key", sens(rsaSens, func(s *TPMT_SENSITIVE) { s.Sensitive[5] ^= 1 }), &rsaPub, TPM_RH_NULL, TPM_RC_BINDING},
		{"key size without a Name", sens(aesSens, func(s *TPMT_SENSITIVE) { s.Sensitive = append(s.Sensitive, 1) }), with(aesPub, func(p *TPMT_PUBLIC) { p.NameAlg = TPM_ALG_NULL }), TPM_RH_NULL, TPM_RC_KEY_SIZE.Param(1)},
		{"authValue too long", sens(eccSens, func(s *TPMT_SENSITIVE) { s.Auth = bytes.Repeat([]byte{1}, 33) }), &eccPub, TPM_RH_NULL, TPM_RC_SIZE.Param(1)},
	}
	for _, tt := range tests {
		x.unchanged(func() {
			if r := x.cmd(TPM_CC_LoadExternal, external(tt.sens, tt.pub, tt.h)); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	// The attributes of a public area alone are arbitrary.
	for _, p := range []*TPMT_PUBLIC{attrs(objFixedTPM), attrs(objFixedParent), with(eccPub, func(p *TPMT_PUBLIC) { p.Attributes = 0 })} {
		x.drop(x.loadPublic(*p, TPM_RH_NULL))
	}
	x.ok(x.cmdS(TPM_CC_HierarchyControl, handles(TPM_RH_PLATFORM), pw(""), u32(uint32(TPM_RH_OWNER)), []byte{0}))
	x.unchanged(func() {
		x.want(x.cmd(TPM_CC_LoadExternal, external(nil, &eccPub, TPM_RH_OWNER)), TPM_RC_HIERARCHY.Param(3))
	})
	for x.freeObjectSlot() {
		x.loadPublic(eccPub, TPM_RH_NULL)
	}
	x.want(x.cmd(TPM_CC_LoadExternal, external(nil, &eccPub, TPM_RH_NULL)), TPM_RC_OBJECT_MEMORY)
}

// TestExternalFlush: objects go with the hierarchy that they were put into.
func TestExternalFlush(t *testing.T) {
	x := newTestTPM(t)
	pub, _ := x.pair(eccTemplate(attrsExternal))
	k := x.loadPublic(pub, TPM_RH_ENDORSEMENT)
	n := x.loadPublic(pub, TPM_RH_NULL)
	x.ok(x.cmdS(TPM_CC_HierarchyControl, handles(TPM_RH_ENDORSEMENT), pw(""), u32(uint32(TPM_RH_ENDORSEMENT)), []byte{0}))
	if x.transient(k) != nil || x.transient(n) == nil {
		t.Error("not the object of the hierarchy was flushed")
	}
}
