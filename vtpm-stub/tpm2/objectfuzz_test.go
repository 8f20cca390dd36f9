package tpm2

import (
	"bytes"
	"testing"
)

// FuzzForeignObject gives TPM2_LoadExternal, TPM2_Import and TPM2_CreateLoaded
// areas that anyone can make up. What is accepted is then used for all that a
// key can be used for: none of it may panic or stop the TPM.
func FuzzForeignObject(f *testing.F) {
	x := newTestTPM(f)
	for _, tpl := range []TPMT_PUBLIC{
		eccTemplate(attrsExternal), eccTemplate(attrsDupStorage), rsaTemplate(attrsExternal), keyedHashTemplate(attrsExternal),
		symTemplate(attrsExternal | objDecrypt), symTemplate(attrsDupStorage), keyedHashTemplate(objUserWithAuth),
		derivationTemplate(attrsDupStorage),
		mlkemTemplate(set768, objUserWithAuth|objDecrypt), mlkemTemplate(set1024, attrsDupStorage),
		mldsaTemplate(set44, attrsExternal, true), hashMLDSATemplate(set65, attrsExternal, TPM_ALG_SHA256),
	} {
		pub, sens := x.pair(tpl)
		p := marshal(maxPublic, func(w *writer) { w.public(&pub) })
		s := marshal(maxPrivate, func(w *writer) { w.sensitive(&sens) })
		for how := range uint8(4) {
			f.Add(how, p, s)
		}
		f.Add(uint8(2), p, []byte{})
	}
	derived := derivedTemplates()["ecc-p256"]
	f.Add(uint8(3), marshal(maxPublic, func(w *writer) { w.public(&derived) }), join(b2([]byte("label")), b2(nil)))
	f.Fuzz(func(t *testing.T, how uint8, pub, sens []byte) {
		x := newTestTPM(quiet{t})
		parent := x.storageParent()
		var r response
		switch how % 4 {
		case 0:
			r = x.cmd(TPM_CC_LoadExternal, b2(sens), b2(pub), u32(uint32(TPM_RH_NULL)))
		case 1:
			r = x.importLoad(parent, pub, sens)
		case 2:
			x.cancel = true // RSA keys would take seconds
			r = x.cmdS(TPM_CC_CreateLoaded, handles(TPM_RH_NULL), pw(""), b2(join(b2(nil), b2(sens))), b2(pub))
		case 3:
			r = x.cmdS(TPM_CC_CreateLoaded, handles(x.derivationParent()), pw(""), b2(join(b2(nil), b2(sens))), b2(pub))
		}
		if r.rc == TPM_RC_SUCCESS {
			x.useAll(r.handle)
		}
	})
}

// importLoad imports an object without wrappers and loads it.
func (x *testTPM) importLoad(parent Handle, pub, sens []byte) response {
	r := x.cmdS(TPM_CC_Import, handles(parent), pw(""), b2(nil), b2(pub), b2(b2(sens)), b2(nil), symParam(&wrapNone))
	if r.rc != TPM_RC_SUCCESS {
		return r
	}
	return x.cmdS(TPM_CC_Load, handles(parent), pw(""), b2(bytes.Clone(r.reader().b2(maxPrivate))), b2(pub))
}

// useAll uses an object in every way that needs nothing but its authValue.
func (x *testTPM) useAll(h Handle) {
	o := x.transient(h)
	o.sens.Auth = nil // whatever the fuzzer chose
	null := u16(uint16(TPM_ALG_NULL))
	digest := make([]byte, 32)
	noTicket := join(u16(uint16(TPM_ST_HASHCHECK)), u32(uint32(TPM_RH_NULL)), b2(nil))
	x.cmd(TPM_CC_ReadPublic, handles(h))
	x.cmdS(TPM_CC_Unseal, handles(h), pw(""))
	x.cmd(TPM_CC_MakeCredential, handles(h), b2(digest), b2(o.name))
	x.cmd(TPM_CC_RSA_Encrypt, handles(h), b2([]byte("message")), null, b2(nil))
	x.cmdS(TPM_CC_RSA_Decrypt, handles(h), pw(""), b2(make([]byte, len(o.pub.Unique))), null, b2(nil))
	x.cmd(TPM_CC_ECDH_KeyGen, handles(h))
	point := b2(join(b2(o.pub.X), b2(o.pub.Y)))
	x.cmdS(TPM_CC_ECDH_ZGen, handles(h), pw(""), point)
	x.cmdS(TPM_CC_Sign, handles(h), pw(""), b2(digest), null, noTicket)
	x.cmdS(TPM_CC_MAC, handles(h), pw(""), b2([]byte("data")), null)
	x.cmdS(TPM_CC_EncryptDecrypt2, handles(h), pw(""), b2(make([]byte, 32)), []byte{0}, null, b2(make([]byte, 16)))
	x.cmdS(TPM_CC_Certify, handles(h, h), pw("", ""), b2(nil), null)
	x.cmd(TPM_CC_StartAuthSession, handles(h, TPM_RH_NULL), startParams(16, make([]byte, len(o.pub.Unique)), TPM_SE_HMAC, symNull, TPM_ALG_SHA256))
	x.cmdS(TPM_CC_Create, handles(h), pw(""), createParams("", nil, eccTemplate(attrsDup|objSign)))
	p := derivedTemplates()["aes"]
	x.cmdS(TPM_CC_CreateLoaded, handles(h), pw(""), loadedParams("", nil, p))
	x.useSequences(h)
	name, secret := bytes.Clone(o.name), bytes.Clone(o.sens.Sensitive) // wiped by the flush
	r := x.cmd(TPM_CC_ContextSave, handles(h))
	if r.rc != TPM_RC_SUCCESS {
		x.t.Fatalf("ContextSave: %v", r.rc)
	}
	x.drop(h)
	n := x.ok(x.loadContext(r.reader().context())).handle
	if c := x.transient(n); !bytes.Equal(c.name, name) || !bytes.Equal(c.sens.Sensitive, secret) {
		x.t.Fatal("the context holds another object")
	}
}

// useSequences uses an object with the commands of version 185.
func (x *testTPM) useSequences(h Handle) {
	null := nullTicket(TPM_ST_HASHCHECK)
	if r := x.cmd(TPM_CC_Encapsulate, handles(h)); r.rc == TPM_RC_SUCCESS {
		in := r.reader()
		in.b2(64)
		x.cmdS(TPM_CC_Decapsulate, handles(h), pw(""), b2(bytes.Clone(in.b2(maxKEMCiphertext))))
	}
	for _, n := range []int{32, 48, 64} {
		r := x.signDigest(h, nil, make([]byte, n), null)
		if r.rc == TPM_RC_SUCCESS {
			x.verifyDigest(h, nil, make([]byte, n), x.readSignature(r))
		}
	}
	r := x.signStart(h, "", []byte("context"))
	if r.rc != TPM_RC_SUCCESS {
		return
	}
	r = x.signComplete(r.handle, h, "", []byte("message"))
	if r.rc != TPM_RC_SUCCESS {
		return
	}
	sig := x.readSignature(r)
	if seq := x.verifyStart(h, "", nil, []byte("context")); seq.rc == TPM_RC_SUCCESS {
		x.update(seq.handle, "", []byte("message"))
		x.verifyComplete(seq.handle, h, "", sig)
	}
}
