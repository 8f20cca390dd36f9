package tpm2

import (
	"testing"
)

// rewrite replaces the sensitive area of a child of parent as someone could who
// knows the parent's seed.
func (x *testTPM) rewrite(parent Handle, c child, change func(s *TPMT_SENSITIVE)) child {
	x.t.Helper()
	p := x.transient(parent)
	name := x.computeName(&c.pub)
	s, rc := x.unwrapPrivate(p, name, c.private)
	if rc != TPM_RC_SUCCESS {
		x.t.Fatal(rc)
	}
	s = s.clone()
	change(&s)
	c.private = x.wrapPrivate(p, &object{pub: c.pub, sens: s, name: name})
	return c
}

// The parent can be duplicated: its children are foreign and checked in full.
func TestLoadErrors(t *testing.T) {
	x := newTestTPM(t)
	root := x.storageParent()
	p := x.load(root, x.create(root, "", nil, eccTemplate(attrsDupStorage)))
	x.drop(root)
	const attrsSign, attrsStorage = attrsSign &^ objFixedTPM, attrsStorage &^ objFixedTPM
	other := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", eccTemplate(attrsDupStorage)).handle
	sign := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsDup|objSign)).handle
	ecc := x.create(p, "", nil, eccTemplate(attrsSign))
	rsa := x.create(p, "", nil, rsaTemplate(attrsDup|objSign))
	aes := x.create(p, "", nil, symTemplate(attrsSign|objDecrypt))
	hmac := x.create(p, "", nil, keyedHashTemplate(attrsSign))
	storage := x.create(p, "", nil, eccTemplate(attrsStorage))
	pub := func(c child, f func(p *TPMT_PUBLIC)) child {
		c.pub = c.pub.clone()
		f(&c.pub)
		return c
	}
	// rename keeps the areas and makes a private area that fits the new Name.
	rename := func(c child, f func(p *TPMT_PUBLIC)) child {
		n := pub(c, f)
		po := x.transient(p)
		s, _ := x.unwrapPrivate(po, x.computeName(&c.pub), c.private)
		n.private = x.wrapPrivate(po, &object{pub: n.pub, sens: s, name: x.computeName(&n.pub)})
		return n
	}
	flip := func(c child, i int) child {
		c.private = append([]byte(nil), c.private...)
		c.private[i] ^= 1
		return c
	}
	short := func(c child, n int) child { c.private = c.private[:n]; return c }
	tests := []struct {
		name   string
		parent Handle
		c      child
		rc     RC
	}{
		{"parent signs", sign, ecc, TPM_RC_TYPE.Handle(1)},
		{"another parent", other, ecc, TPM_RC_INTEGRITY.Param(1)},
		{"private area of another key", p, child{private: rsa.private, pub: ecc.pub}, TPM_RC_INTEGRITY.Param(1)},
		{"HMAC changed", p, flip(ecc, 5), TPM_RC_INTEGRITY.Param(1)},
		{"IV changed", p, flip(ecc, 40), TPM_RC_INTEGRITY.Param(1)},
		{"data changed", p, flip(ecc, len(ecc.private)-1), TPM_RC_INTEGRITY.Param(1)},
		{"cut", p, short(ecc, len(ecc.private)-1), TPM_RC_INTEGRITY.Param(1)},
		{"cut in the HMAC", p, short(ecc, 20), TPM_RC_INSUFFICIENT.Param(1)},
		{"private area is empty", p, short(ecc, 0), TPM_RC_SIZE.Param(1)},
		{"private area is too large", p, child{private: make([]byte, maxPrivate+1), pub: ecc.pub}, TPM_RC_SIZE.Param(1)},
		{"public area changed", p, pub(ecc, func(p *TPMT_PUBLIC) { p.Attributes |= objNoDA }), TPM_RC_INTEGRITY.Param(1)},
		{"attributes", p, rename(ecc, func(p *TPMT_PUBLIC) { p.Attributes &^= objSign }), TPM_RC_ATTRIBUTES.Param(2)},
		{"fixedTPM below a parent without", p, rename(ecc, func(p *TPMT_PUBLIC) { p.Attributes |= objFixedTPM }), TPM_RC_ATTRIBUTES.Param(2)},
		{"scheme", p, rename(ecc, func(p *TPMT_PUBLIC) { p.Attributes |= objRestricted }), TPM_RC_SCHEME.Param(2)},
		{"another point", p, rename(ecc, func(p *TPMT_PUBLIC) { p.X, p.Y = storage.pub.X, storage.pub.Y }), TPM_RC_BINDING},
		{"point off the curve", p, rename(ecc, func(p *TPMT_PUBLIC) { p.X[31]++ }), TPM_RC_ECC_POINT.Param(2)},
		{"another modulus", p, rename(rsa, func(p *TPMT_PUBLIC) { p.Unique[200]++ }), TPM_RC_BINDING},
		{"even modulus", p, rename(rsa, func(p *TPMT_PUBLIC) { p.Unique[255] &^= 1 }), TPM_RC_KEY.Param(2)},
		{"short modulus", p, rename(rsa, func(p *TPMT_PUBLIC) { p.Unique = p.Unique[1:] }), TPM_RC_KEY.Param(2)},
		{"another digest", p, rename(aes, func(p *TPMT_PUBLIC) { p.Unique[0]++ }), TPM_RC_BINDING},
		{"short digest", p, rename(hmac, func(p *TPMT_PUBLIC) { p.Unique = p.Unique[1:] }), TPM_RC_KEY.Param(2)},
		{"sensitive area of another type", p, x.rewrite(p, hmac, func(s *TPMT_SENSITIVE) { s.Type = TPM_ALG_ECC; s.Sensitive = s.Sensitive[:32] }), TPM_RC_TYPE.Param(1)},
		{"unknown type", p, x.rewrite(p, hmac, func(s *TPMT_SENSITIVE) { s.Type = TPM_ALG_SHA256 }), TPM_RC_TYPE.Param(1)},
		{"short AES key", p, x.rewrite(p, aes, func(s *TPMT_SENSITIVE) { s.Sensitive = s.Sensitive[1:] }), TPM_RC_KEY_SIZE.Param(1)},
		{"short seed of a symmetric key", p, x.rewrite(p, aes, func(s *TPMT_SENSITIVE) { s.Seed = s.Seed[1:] }), TPM_RC_KEY_SIZE.Param(1)},
		{"another HMAC key", p, x.rewrite(p, hmac, func(s *TPMT_SENSITIVE) { s.Sensitive[0]++ }), TPM_RC_BINDING},
		{"another seed", p, x.rewrite(p, hmac, func(s *TPMT_SENSITIVE) { s.Seed[0]++ }), TPM_RC_BINDING},
		{"long scalar", p, x.rewrite(p, ecc, func(s *TPMT_SENSITIVE) { s.Sensitive = append(s.Sensitive, 0) }), TPM_RC_KEY_SIZE.Param(1)},
		{"no scalar", p, x.rewrite(p, ecc, func(s *TPMT_SENSITIVE) { s.Sensitive = nil }), TPM_RC_KEY_SIZE.Param(1)},
		{"zero scalar", p, x.rewrite(p, ecc, func(s *TPMT_SENSITIVE) { clear(s.Sensitive) }), TPM_RC_KEY_SIZE.Param(1)},
		{"short prime", p, x.rewrite(p, rsa, func(s *TPMT_SENSITIVE) { s.Sensitive = s.Sensitive[1:] }), TPM_RC_KEY_SIZE.Param(1)},
		{"another prime", p, x.rewrite(p, rsa, func(s *TPMT_SENSITIVE) { s.Sensitive[127] += 2 }), TPM_RC_BINDING},
		{"short seed of a storage key", p, x.rewrite(p, storage, func(s *TPMT_SENSITIVE) { s.Seed = s.Seed[:15] }), TPM_RC_SIZE.Param(1)},
		{"HMAC key over a block", p, x.rewrite(p, hmac, func(s *TPMT_SENSITIVE) { s.Sensitive = make([]byte, 65) }), TPM_RC_KEY_SIZE.Param(1)},
		{"long authValue", p, x.rewrite(p, ecc, func(s *TPMT_SENSITIVE) { s.Auth = make([]byte, 40); s.Auth[39] = 1 }), TPM_RC_SIZE.Param(1)},
	}
	for _, tt := range tests {
		x.unchanged(func() {
			if r := x.cmdS(TPM_CC_Load, handles(tt.parent), pw(""), load2(tt.c.private, &tt.c.pub)); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	x.drop(x.load(p, x.rewrite(p, storage, func(s *TPMT_SENSITIVE) { s.Seed = s.Seed[:16] }))) // half a seed is enough
	for x.freeObjectSlot() {
		x.load(p, ecc)
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_Load, handles(p), pw(""), load2(ecc.private, &ecc.pub)), TPM_RC_OBJECT_MEMORY)
	})
}

// TestLoadOwn: what the TPM itself wrapped below a parent that never leaves it is
// believed, key and all, and is still refused after any change.
func TestLoadOwn(t *testing.T) {
	x := newTestTPM(t)
	p := x.storageParent()
	for _, template := range []TPMT_PUBLIC{eccTemplate(attrsSign), rsaTemplate(attrsSign), keyedHashTemplate(attrsSign)} {
		c := x.create(p, "", nil, template)
		h := x.load(p, c)
		if x.transient(h).key != nil {
			t.Errorf("type 0x%x: the key was parsed before its first use", template.Type)
		}
		x.drop(h)
		for i := range c.private {
			bad := child{private: append([]byte(nil), c.private...), pub: c.pub}
			bad.private[i] ^= 1
			if r := x.cmdS(TPM_CC_Load, handles(p), pw(""), load2(bad.private, &bad.pub)); r.rc == TPM_RC_SUCCESS {
				t.Fatalf("type 0x%x: octet %d changed and loaded", template.Type, i)
			}
		}
	}
	// A duplicate is checked by TPM2_Import and only then believed, see TestImportErrors.
	// Were there a bug and a wrong pair wrapped, its use would fail.
	bad := x.load(p, x.rewrite(p, x.create(p, "", nil, eccTemplate(attrsSign)), func(s *TPMT_SENSITIVE) { clear(s.Sensitive) }))
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_Sign, handles(bad), pw(""), b2(make([]byte, 32)), u16(uint16(TPM_ALG_ECDSA)), u16(uint16(TPM_ALG_SHA256)),
			u16(uint16(TPM_ST_HASHCHECK)), u32(uint32(TPM_RH_NULL)), b2(nil)), TPM_RC_KEY.Handle(1))
	})
}

// TestLoadStClear: the property of an ancestor holds for all below it.
func TestLoadStClear(t *testing.T) {
	x := newTestTPM(t)
	p := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage|objStClear)).handle
	c := x.load(p, x.create(p, "", nil, eccTemplate(attrsSign)))
	if o := x.transient(c); !o.stClear || o.pub.Attributes.has(objStClear) {
		t.Error("stClear is not inherited")
	}
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_EvictControl, handles(TPM_RH_OWNER, c), pw(""), u32(0x81000000)), TPM_RC_ATTRIBUTES.Handle(2))
	})
}

// TestLoadElsewhere: another TPM and the same after TPM2_Clear refuse.
func TestLoadElsewhere(t *testing.T) {
	x := newTestTPM(t)
	p := x.storageParent()
	c := x.create(p, "", nil, eccTemplate(attrsSign))
	x.reboot()
	x.start(TPM_SU_CLEAR)
	p = x.storageParent()
	x.load(p, c)
	x.ok(x.cmdS(TPM_CC_Clear, handles(TPM_RH_PLATFORM), pw("")))
	p = x.storageParent()
	x.unchanged(func() {
		x.want(x.cmdS(TPM_CC_Load, handles(p), pw(""), load2(c.private, &c.pub)), TPM_RC_INTEGRITY.Param(1))
	})
}

// TestPersistentKeyOutlivesTransient: flushing wipes the secrets of the object, not
// those of its persistent copy, whose key was not used before.
func TestPersistentKeyOutlivesTransient(t *testing.T) {
	for name, template := range map[string]TPMT_PUBLIC{"ECC": eccTemplate(attrsSign | objDecrypt), "RSA": rsaTemplate(attrsSign | objDecrypt)} {
		x := newTestTPM(t)
		h := x.createPrimaryKey(TPM_RH_OWNER, "", template).handle
		const kept Handle = 0x81000000
		x.ok(x.cmdS(TPM_CC_EvictControl, handles(TPM_RH_OWNER, h), pw(""), u32(uint32(kept))))
		x.drop(h)
		if name == "RSA" {
			x.ok(x.cmdS(TPM_CC_RSA_Decrypt, handles(kept), pw(""), b2(make([]byte, len(x.persistent(kept).pub.Unique))), u16(uint16(TPM_ALG_NULL)), b2(nil)))
			continue
		}
		q := x.ok(x.cmd(TPM_CC_ECDH_KeyGen, handles(kept))).reader()
		z, point := q.sub(), q.sub()
		r := x.ok(x.cmdS(TPM_CC_ECDH_ZGen, handles(kept), pw(""), b2(point.b))).reader()
		if got := r.sub(); string(got.b) != string(z.b) {
			t.Errorf("%s: ECDH_ZGen gives %x, ECDH_KeyGen gave %x", name, got.b, z.b)
		}
	}
}

// TestIntegrityKeyOutlivesTransient: the HMAC key of a storage key's children is its
// own in the persistent copy, and gone from a flushed object.
func TestIntegrityKeyOutlivesTransient(t *testing.T) {
	x := newTestTPM(t)
	p := x.storageParent()
	c := x.create(p, "", []byte("data"), sealedTemplate(nil))
	o := x.transient(p)
	key := o.integrity
	if len(key) == 0 {
		t.Fatal("the key is not kept")
	}
	const kept Handle = 0x81000000
	x.ok(x.cmdS(TPM_CC_EvictControl, handles(TPM_RH_OWNER, p), pw(""), u32(uint32(kept))))
	x.drop(x.load(kept, c))
	x.drop(p)
	for _, b := range key {
		if b != 0 || o.integrity != nil {
			t.Fatal("the key of a flushed object stays in memory")
		}
	}
	x.drop(x.load(kept, c))
	x.drop(x.load(kept, x.create(kept, "", []byte("more"), sealedTemplate(nil))))
}
