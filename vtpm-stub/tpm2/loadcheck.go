package tpm2

import (
	"bytes"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// bindObject makes an object of a public and a sensitive area that came from
// outside (TPM2_Load, TPM2_LoadExternal, TPM2_Import) and checks that they belong
// together (TPM20-P3 section 12.2.1). sens is nil for a public area alone.
// p has passed checkPublic. The object shares no memory with the arguments;
// Name, Qualified Name and hierarchy are the caller's.
//
// Errors: of the public area TPM_RC_ECC_POINT and _KEY with parameter pubParam;
// of the sensitive area TPM_RC_KEY_SIZE, _SIZE and _TYPE with sensParam;
// TPM_RC_BINDING without a position, as it is about both.
func (t *TPM) bindObject(p *TPMT_PUBLIC, sens *TPMT_SENSITIVE, pubParam, sensParam int) (*object, RC) {
	o := &object{pub: p.clone()}
	if rc := t.checkPublicKey(o); rc != TPM_RC_SUCCESS {
		return nil, rc.Param(pubParam)
	}
	if sens == nil {
		return o, TPM_RC_SUCCESS
	}
	o.sens, o.private = sens.clone(), true
	o.sens.Auth = stripZeros(o.sens.Auth)
	o.key = nil
	switch rc := t.checkSensitive(o); rc {
	case TPM_RC_SUCCESS:
		return o, rc
	case TPM_RC_BINDING:
		return nil, rc
	default:
		return nil, rc.Param(sensParam)
	}
}

// ownObject makes an object of areas that this TPM put together: of a private area
// that unwrapPrivate took for a parent with fixedTPM SET, and the public area with the
// Name that is in its HMAC. Such a parent's seed never leaves the TPM, so nobody else
// can have made that HMAC; and the TPM wrapped the areas only after it had made the
// key itself or bindObject had checked it (TPM2_Import). Checking the pair again would
// cost more than all the rest of a load. A seed of a parent that can be duplicated may
// be known outside; its children are foreign.
func ownObject(p *TPMT_PUBLIC, sens *TPMT_SENSITIVE) *object {
	o := &object{pub: p.clone(), sens: sens.clone(), private: true}
	o.sens.Auth = stripZeros(o.sens.Auth)
	return o
}

// checkPublicKey checks the unique field: a modulus of the key's size, a point
// on the curve, a digest.
func (t *TPM) checkPublicKey(o *object) RC {
	switch p := &o.pub; p.Type {
	case TPM_ALG_RSA:
		if len(p.Unique) != int(p.KeyBits)/8 {
			return TPM_RC_KEY
		}
		_, rc := o.rsaPublic()
		return rc
	case TPM_ALG_ECC:
		if _, rc := o.eccPublic(); rc != TPM_RC_SUCCESS {
			return TPM_RC_ECC_POINT
		}
	case TPM_ALG_MLKEM, TPM_ALG_MLDSA, TPM_ALG_HASH_MLDSA:
		return checkMLPublic(o)
	default:
		if n := p.NameAlg.DigestSize(); p.NameAlg != TPM_ALG_NULL && len(p.Unique) != n {
			return TPM_RC_KEY
		}
	}
	return TPM_RC_SUCCESS
}

// checkSensitive checks the sensitive area against the public area. Without a
// Name only sizes are checked.
func (t *TPM) checkSensitive(o *object) RC {
	named := o.pub.NameAlg != TPM_ALG_NULL
	switch {
	case o.sens.Type != o.pub.Type:
		return TPM_RC_TYPE
	case named && len(o.sens.Auth) > o.pub.NameAlg.DigestSize():
		return TPM_RC_SIZE
	}
	switch o.pub.Type {
	case TPM_ALG_RSA:
		return checkRSAPair(o, named)
	case TPM_ALG_ECC:
		return checkECCPair(o, named)
	case TPM_ALG_MLKEM, TPM_ALG_MLDSA, TPM_ALG_HASH_MLDSA:
		return checkMLPair(o, named)
	}
	return t.checkSymmetricPair(o, named)
}

// checkStorageSeed: the seed of an asymmetric storage key has at least half the
// size of the digest, which imported keys need (TPM20-P1 section 27.7.4). Other
// asymmetric keys have no use for it.
func checkStorageSeed(o *object) RC {
	n := o.pub.NameAlg.DigestSize()
	if !o.pub.isStorage() {
		clear(o.sens.Seed)
		o.sens.Seed = nil
		return TPM_RC_SUCCESS
	}
	if s := len(o.sens.Seed); 2*s < n || s > n {
		return TPM_RC_SIZE
	}
	return TPM_RC_SUCCESS
}

func checkRSAPair(o *object, named bool) RC {
	if 2*len(o.sens.Sensitive) != len(o.pub.Unique) {
		return TPM_RC_KEY_SIZE
	}
	if rc := checkStorageSeed(o); rc != TPM_RC_SUCCESS || !named {
		return rc
	}
	if _, rc := o.rsaKey(); rc != TPM_RC_SUCCESS {
		return TPM_RC_BINDING
	}
	return TPM_RC_SUCCESS
}

func checkECCPair(o *object, named bool) RC {
	g := tpmcrypto.GroupOf(o.pub.Curve)
	if n := len(o.sens.Sensitive); n == 0 || n > g.OrderSize() {
		return TPM_RC_KEY_SIZE
	}
	k, rc := o.eccKey()
	if rc != TPM_RC_SUCCESS {
		return TPM_RC_KEY_SIZE // zero, or not below the order
	}
	if rc := checkStorageSeed(o); rc != TPM_RC_SUCCESS || !named {
		return rc
	}
	q, err := g.Point(o.pub.X, o.pub.Y)
	if err != nil || !q.Equal(k.Public().Point()) {
		return TPM_RC_BINDING
	}
	return TPM_RC_SUCCESS
}

func (t *TPM) checkSymmetricPair(o *object, named bool) RC {
	s := &o.sens
	if o.pub.Type == TPM_ALG_SYMCIPHER && len(s.Sensitive) != int(o.pub.Sym.KeyBits)/8 {
		return TPM_RC_KEY_SIZE
	}
	if len(s.Sensitive) > maxHMACKey(&o.pub) {
		return TPM_RC_KEY_SIZE
	}
	if !named {
		return TPM_RC_SUCCESS
	}
	if len(s.Seed) != o.pub.NameAlg.DigestSize() {
		return TPM_RC_KEY_SIZE
	}
	unique := t.hash.Sum(o.pub.NameAlg, nil, s.Seed, s.Sensitive)
	if !bytes.Equal(unique, o.pub.Unique) {
		return TPM_RC_BINDING
	}
	return TPM_RC_SUCCESS
}

// maxHMACKey returns the longest key that a caller may provide: one block of an
// HMAC's hash (TPM20-P1 section 27.7.5.1).
func maxHMACKey(p *TPMT_PUBLIC) int {
	if p.Type == TPM_ALG_KEYEDHASH && p.Scheme.Scheme == TPM_ALG_HMAC {
		return min(maxSymData, p.Scheme.Hash.BlockSize())
	}
	return maxSymData
}

// adopt puts a new or loaded object into the hierarchy of its parent. It computes the
// Name where there is none yet.
func (t *TPM) adopt(o, parent *object) {
	o.hierarchy = parent.hierarchy
	o.stClear = parent.stClear || o.pub.Attributes.has(objStClear)
	if o.name == nil {
		o.name = t.computeName(&o.pub)
	}
	o.qname = t.qualifiedName(parent.qname, o.name, o.pub.NameAlg)
}
