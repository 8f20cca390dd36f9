package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

const (
	set44   = uint16(tpmcrypto.MLDSA44)
	set65   = uint16(tpmcrypto.MLDSA65)
	set768  = uint16(tpmcrypto.MLKEM768)
	set1024 = uint16(tpmcrypto.MLKEM1024)
)

// mlkemTemplate is a storage key or, without restricted, a KEM key.
func mlkemTemplate(set uint16, attrs TPMA_OBJECT) TPMT_PUBLIC {
	p := TPMT_PUBLIC{Type: TPM_ALG_MLKEM, NameAlg: TPM_ALG_SHA256, Attributes: attrs, ParamSet: set,
		Sym: TPMT_SYM_DEF{Algorithm: TPM_ALG_NULL}, Scheme: nullScheme}
	if p.isStorage() {
		p.Sym = TPMT_SYM_DEF{Algorithm: TPM_ALG_AES, KeyBits: 128, Mode: TPM_ALG_CFB}
	}
	return p
}

func mldsaTemplate(set uint16, attrs TPMA_OBJECT, extMu bool) TPMT_PUBLIC {
	return TPMT_PUBLIC{Type: TPM_ALG_MLDSA, NameAlg: TPM_ALG_SHA256, Attributes: attrs, ParamSet: set, ExtMu: extMu,
		Sym: TPMT_SYM_DEF{Algorithm: TPM_ALG_NULL}, Scheme: TPMT_SCHEME{Scheme: TPM_ALG_MLDSA, Hash: TPM_ALG_NULL}}
}

func hashMLDSATemplate(set uint16, attrs TPMA_OBJECT, h AlgID) TPMT_PUBLIC {
	return TPMT_PUBLIC{Type: TPM_ALG_HASH_MLDSA, NameAlg: TPM_ALG_SHA256, Attributes: attrs, ParamSet: set,
		Sym: TPMT_SYM_DEF{Algorithm: TPM_ALG_NULL}, Scheme: TPMT_SCHEME{Scheme: TPM_ALG_HASH_MLDSA, Hash: h}}
}

// mlTemplates has each type and parameter set.
func mlTemplates() map[string]TPMT_PUBLIC {
	return map[string]TPMT_PUBLIC{
		"mlkem-768-storage":     mlkemTemplate(set768, attrsStorage),
		"mlkem-1024-storage":    mlkemTemplate(set1024, attrsStorage),
		"mlkem-768":             mlkemTemplate(set768, attrsDecrypt),
		"mlkem-1024":            mlkemTemplate(set1024, attrsDecrypt),
		"mldsa-44":              mldsaTemplate(set44, attrsSign, false),
		"mldsa-65":              mldsaTemplate(set65, attrsSign|objRestricted, true),
		"hash-mldsa-44-sha256":  hashMLDSATemplate(set44, attrsSign|objRestricted, TPM_ALG_SHA256),
		"hash-mldsa-65-sha3512": hashMLDSATemplate(set65, attrsSign, TPM_ALG_SHA3_512),
	}
}

// TestMLWire has the octets of TPMT_PUBLIC as v185, P2 tables 205 to 211 and 230
// to 235 give them.
func TestMLWire(t *testing.T) {
	attrs := "00060472"
	dec := "00020472"
	for name, c := range map[string]struct {
		pub TPMT_PUBLIC
		hex string
	}{
		"storage": {mlkemTemplate(set768, attrsStorage), "00a0 000b 00030472 0000 0006 0080 0043 0002 0003 010203"},
		"KEM":     {mlkemTemplate(set1024, attrsDecrypt), "00a0 000b " + dec + " 0000 0010 0003 0003 010203"},
		"ML-DSA":  {mldsaTemplate(set65, attrsSign|objNoDA, true), "00a1 000b 00040472 0000 0002 01 0003 010203"},
		"no mu":   {mldsaTemplate(set44, attrsSign, false), "00a1 000b 00040072 0000 0001 00 0003 010203"},
		"HashML":  {hashMLDSATemplate(set44, attrsSign, TPM_ALG_SHA3_384), "00a2 000b 00040072 0000 0001 0028 0003 010203"},
		"hash both": {hashMLDSATemplate(set65, attrsSign|objNoDA|objDecrypt, TPM_ALG_SHA512),
			"00a2 000b " + attrs + " 0000 0002 000d 0003 010203"},
	} {
		c.pub.Unique = []byte{1, 2, 3}
		got := marshal(maxPublic, func(w *writer) { w.public(&c.pub) })
		if want := hx(c.hex); !bytes.Equal(got, want) {
			t.Errorf("%s:\n%x\n%x", name, got, want)
		}
		r := reader{b: got}
		back := r.public(publicPlain)
		if r.end() != TPM_RC_SUCCESS || !bytes.Equal(marshal(maxPublic, func(w *writer) { w.public(&back) }), got) {
			t.Errorf("%s: read again: %v, %+v", name, r.end(), back)
		}
	}
	sig := TPMT_SIGNATURE{Alg: TPM_ALG_MLDSA, Hash: TPM_ALG_NULL, R: []byte{9}}
	if got := sigBytes(sig); !bytes.Equal(got, hx("00a1 0001 09")) {
		t.Errorf("signature %x", got)
	}
	sig = TPMT_SIGNATURE{Alg: TPM_ALG_HASH_MLDSA, Hash: TPM_ALG_SHA256, R: []byte{9}}
	if got := sigBytes(sig); !bytes.Equal(got, hx("00a2 000b 0001 09")) {
		t.Errorf("signature %x", got)
	}
}

// TestMLCreate makes keys of each type as children of storage keys of each type, loads them,
// moves them through a context and makes them persistent.
func TestMLCreate(t *testing.T) {
	x := newTestTPM(t)
	for parentName, ptpl := range map[string]TPMT_PUBLIC{"ECC": eccTemplate(attrsStorage),
		"ML-KEM-768": mlkemTemplate(set768, attrsStorage), "ML-KEM-1024": mlkemTemplate(set1024, attrsStorage)} {
		parent := x.createPrimaryKey(TPM_RH_OWNER, "", ptpl).handle
		for name, tpl := range mlTemplates() {
			c := x.create(parent, "pass", nil, tpl)
			if len(c.pub.Unique) != tpl.mlPublicSize() {
				t.Errorf("%s: public key of %d octets", name, len(c.pub.Unique))
			}
			h := x.load(parent, c)
			o := x.transient(h)
			if len(o.sens.Sensitive) != mlSeedSize(tpl.Type) || (len(o.sens.Seed) != 0) != tpl.isStorage() {
				t.Errorf("%s: private key of %d octets, seedValue of %d", name, len(o.sens.Sensitive), len(o.sens.Seed))
			}
			in := x.ok(x.cmd(TPM_CC_ReadPublic, handles(h))).reader()
			pub := in.public2B(publicPlain)
			if n := in.name(); !bytes.Equal(n, x.computeName(&pub)) || !bytes.Equal(pub.Unique, c.pub.Unique) {
				t.Errorf("%s: ReadPublic", name)
			}
			name, seed := bytes.Clone(o.name), bytes.Clone(o.sens.Sensitive)
			ctx := x.saveContext(h)
			x.drop(h)
			h = x.ok(x.loadContext(ctx)).handle
			if o = x.transient(h); !bytes.Equal(o.name, name) || !bytes.Equal(o.sens.Sensitive, seed) {
				t.Errorf("%s under %s: the context holds another key", name, parentName)
			}
			x.ok(x.cmdS(TPM_CC_EvictControl, handles(TPM_RH_OWNER, h), pw(""), u32(0x81000007)))
			x.drop(h)
			x.reboot()
			x.ok(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)))
			if o = x.persistent(0x81000007); !bytes.Equal(o.name, name) || !bytes.Equal(o.sens.Sensitive, seed) {
				t.Errorf("%s under %s: another key after a restart", name, parentName)
			}
			x.ok(x.cmdS(TPM_CC_EvictControl, handles(TPM_RH_OWNER, 0x81000007), pw(""), u32(0x81000007)))
			parent = x.createPrimaryKey(TPM_RH_OWNER, "", ptpl).handle
		}
		x.drop(parent)
	}
}

// TestMLTemplateErrors: what makes a template or a TPM2_TestParms fail.
func TestMLTemplateErrors(t *testing.T) {
	x := newTestTPM(t)
	kem, store := mlkemTemplate(set768, attrsDecrypt), mlkemTemplate(set768, attrsStorage)
	dsa, hash := mldsaTemplate(set44, attrsSign, true), hashMLDSATemplate(set65, attrsSign, TPM_ALG_SHA256)
	with := func(p TPMT_PUBLIC, f func(p *TPMT_PUBLIC)) TPMT_PUBLIC { f(&p); return p }
	for name, c := range map[string]struct {
		pub   TPMT_PUBLIC
		rc    RC
		parms RC // of TestParms
	}{
		"ML-KEM-512":      {with(kem, func(p *TPMT_PUBLIC) { p.ParamSet = 1 }), TPM_RC_PARMS.Param(2), TPM_RC_PARMS.Param(1)},
		"ML-KEM set 4":    {with(kem, func(p *TPMT_PUBLIC) { p.ParamSet = 4 }), TPM_RC_PARMS.Param(2), TPM_RC_PARMS.Param(1)},
		"ML-DSA-87":       {with(dsa, func(p *TPMT_PUBLIC) { p.ParamSet = 3 }), TPM_RC_PARMS.Param(2), TPM_RC_PARMS.Param(1)},
		"ML-DSA set 0":    {with(dsa, func(p *TPMT_PUBLIC) { p.ParamSet = 0 }), TPM_RC_PARMS.Param(2), TPM_RC_PARMS.Param(1)},
		"HashML-DSA-87":   {with(hash, func(p *TPMT_PUBLIC) { p.ParamSet = 3 }), TPM_RC_PARMS.Param(2), TPM_RC_PARMS.Param(1)},
		"SHA-1":           {with(hash, func(p *TPMT_PUBLIC) { p.Scheme.Hash = TPM_ALG_SHA1 }), TPM_RC_HASH.Param(2), TPM_RC_HASH.Param(1)},
		"null hash":       {with(hash, func(p *TPMT_PUBLIC) { p.Scheme.Hash = TPM_ALG_NULL }), TPM_RC_HASH.Param(2), TPM_RC_HASH.Param(1)},
		"SHAKE":           {with(hash, func(p *TPMT_PUBLIC) { p.Scheme.Hash = TPM_ALG_SHAKE256_512 }), TPM_RC_HASH.Param(2), TPM_RC_HASH.Param(1)},
		"ML-DSA decrypts": {with(dsa, func(p *TPMT_PUBLIC) { p.Attributes ^= objSign | objDecrypt }), TPM_RC_ATTRIBUTES.Param(2), TPM_RC_SUCCESS},
		"both":            {with(hash, func(p *TPMT_PUBLIC) { p.Attributes |= objDecrypt }), TPM_RC_ATTRIBUTES.Param(2), TPM_RC_SUCCESS},
		"ML-KEM signs":    {with(kem, func(p *TPMT_PUBLIC) { p.Attributes ^= objSign | objDecrypt }), TPM_RC_ATTRIBUTES.Param(2), TPM_RC_SUCCESS},
		"no use":          {with(kem, func(p *TPMT_PUBLIC) { p.Attributes ^= objDecrypt }), TPM_RC_ATTRIBUTES.Param(2), TPM_RC_SUCCESS},
		"symmetric":       {with(kem, func(p *TPMT_PUBLIC) { p.Sym = store.Sym }), TPM_RC_SYMMETRIC.Param(2), TPM_RC_SUCCESS},
		"no symmetric":    {with(store, func(p *TPMT_PUBLIC) { p.Sym = kem.Sym }), TPM_RC_SYMMETRIC.Param(2), TPM_RC_SUCCESS},
		"CBC":             {with(store, func(p *TPMT_PUBLIC) { p.Sym.Mode = TPM_ALG_CBC }), TPM_RC_SYMMETRIC.Param(2), TPM_RC_SUCCESS},
	} {
		x.unchanged(func() {
			r := x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), createParams("", nil, c.pub))
			if r.rc != c.rc {
				t.Errorf("%s: %v, want %v", name, r.rc, c.rc)
			}
			parms := marshal(64, func(w *writer) { w.alg(c.pub.Type); w.publicParms(&c.pub) })
			if r := x.cmd(TPM_CC_TestParms, parms); r.rc != c.parms {
				t.Errorf("%s: TestParms: %v, want %v", name, r.rc, c.parms)
			}
		})
	}
	x.unchanged(func() {
		for name, tpl := range mlTemplates() {
			r := x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), createParams("", []byte("data"), tpl))
			if r.rc != TPM_RC_VALUE.Param(1) {
				t.Errorf("%s with data: %v", name, r.rc)
			}
			x.ok(x.cmd(TPM_CC_TestParms, marshal(64, func(w *writer) { w.alg(tpl.Type); w.publicParms(&tpl) })))
		}
		x.want(x.cmd(TPM_CC_TestParms, hx("00a1 0001 02")), TPM_RC_VALUE.Param(1)) // allowExternalMu
		long := dsa
		long.Unique = make([]byte, maxMLDSAPub+1)
		x.want(x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), createParams("", nil, long)), TPM_RC_SIZE.Param(2))
	})
}

// TestMLLoadExternal loads both areas of each type, and what is wrong with them.
func TestMLLoadExternal(t *testing.T) {
	x := newTestTPM(t)
	load := func(sens *TPMT_SENSITIVE, pub TPMT_PUBLIC) response {
		return x.cmd(TPM_CC_LoadExternal, external(sens, &pub, TPM_RH_NULL))
	}
	for name, tpl := range mlTemplates() {
		tpl.Attributes &^= objFixedTPM | objFixedParent | objRestricted
		if tpl.Type == TPM_ALG_MLKEM {
			tpl.Sym = TPMT_SYM_DEF{Algorithm: TPM_ALG_NULL}
		}
		pub, sens := x.pair(tpl)
		other, _ := x.pair(tpl)
		h := x.ok(load(&sens, pub)).handle
		x.drop(h)
		h = x.ok(load(nil, pub)).handle
		x.drop(h)
		short, long, wrong, unnamed := pub, sens, sens, pub
		short.Unique = pub.Unique[1:]
		long.Sensitive = append([]byte{0}, sens.Sensitive...)
		wrong.Sensitive = sens.Sensitive[1:]
		unnamed.NameAlg = TPM_ALG_NULL
		bad := sens
		bad.Type = TPM_ALG_ECC
		x.unchanged(func() {
			x.want(load(nil, short), TPM_RC_KEY.Param(2))
			x.want(load(&sens, short), TPM_RC_KEY.Param(2))
			x.want(load(&long, pub), TPM_RC_SIZE.Param(1))
			x.want(load(&wrong, pub), TPM_RC_KEY_SIZE.Param(1))
			x.want(load(&sens, other), TPM_RC_BINDING)
			x.want(load(&bad, pub), TPM_RC_TYPE.Param(1))
			x.want(load(&wrong, unnamed), TPM_RC_KEY_SIZE.Param(1))
		})
		x.drop(x.ok(load(&sens, unnamed)).handle)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	pub, _ := x.pair(mlkemTemplate(set768, objUserWithAuth|objDecrypt))
	pub.Unique[0], pub.Unique[1] = 0xff, 0xff // a coefficient above q
	x.unchanged(func() { x.want(load(nil, pub), TPM_RC_KEY.Param(2)) })

	// The public area of a signing key may claim to be a storage key. It is none.
	pub, _ = x.pair(mldsaTemplate(set44, objUserWithAuth|objSign, false))
	pub.Attributes = objRestricted | objDecrypt
	h := x.ok(load(nil, pub)).handle
	x.unchanged(func() {
		x.want(x.cmd(TPM_CC_MakeCredential, handles(h), b2([]byte("cred")), b2(x.transient(h).name)), TPM_RC_TYPE.Handle(1))
		x.want(x.cmd(TPM_CC_StartAuthSession, handles(h, TPM_RH_NULL), startParams(16, make([]byte, 32), TPM_SE_HMAC, symNull, TPM_ALG_SHA256)), TPM_RC_HANDLE.Handle(1))
		x.want(x.cmd(TPM_CC_Encapsulate, handles(h)), TPM_RC_KEY.Handle(1))
	})
}

// TestMLKEMCommands encapsulates with public and decapsulates with private keys; the known
// answer is that of tpmcrypto.
func TestMLKEMCommands(t *testing.T) {
	x := newTestTPM(t)
	seed := make([]byte, 64)
	for i := range seed {
		seed[i] = byte(i)
	}
	dec := func(h Handle, ct []byte) response { return x.cmdS(TPM_CC_Decapsulate, handles(h), pw("pass"), b2(ct)) }
	for set, zero := range map[tpmcrypto.MLKEMSet]string{
		tpmcrypto.MLKEM768:  "c8fbeddafdacef2ffeb8b354ea644f11b5c150f3e2c4a74ce38abba8f854ae16",
		tpmcrypto.MLKEM1024: "294cb5b6b0f37a047745a2a69991f66ac85936e1b077e717eaeb26bb0ba42c68",
	} {
		k, err := tpmcrypto.NewMLKEMPrivateKey(set, seed)
		if err != nil {
			t.Fatal(err)
		}
		pub := mlkemTemplate(uint16(set), objUserWithAuth|objDecrypt)
		pub.Unique = k.Public().Bytes()
		sens := TPMT_SENSITIVE{Type: TPM_ALG_MLKEM, Auth: []byte("pass"), Sensitive: seed}
		h := x.ok(x.cmd(TPM_CC_LoadExternal, external(&sens, &pub, TPM_RH_NULL))).handle
		public := x.loadPublic(pub, TPM_RH_OWNER)
		r := x.ok(x.cmd(TPM_CC_Encapsulate, handles(public))).reader()
		secret, ct := bytes.Clone(r.b2(64)), bytes.Clone(r.b2(maxKEMCiphertext))
		if r.end() != TPM_RC_SUCCESS || len(secret) != 32 || len(ct) != set.CiphertextSize() {
			t.Errorf("set %d: %v, secret of %d octets, ciphertext of %d", set, r.end(), len(secret), len(ct))
		}
		if got := x.ok(dec(h, ct)).reader().b2(64); !bytes.Equal(got, secret) {
			t.Errorf("set %d: the secrets differ", set)
		}
		if got := x.ok(dec(h, make([]byte, len(ct)))).reader().b2(64); !bytes.Equal(got, hx(zero)) {
			t.Errorf("set %d: secret %x of a ciphertext of zeros", set, got)
		}
		if got := x.ok(dec(h, flip(ct, 9))).reader().b2(64); bytes.Equal(got, secret) {
			t.Errorf("set %d: the secret of a changed ciphertext is the same", set)
		}
		storage := x.createPrimaryKey(TPM_RH_OWNER, "pass", mlkemTemplate(uint16(set), attrsStorage)).handle
		x.ok(x.cmd(TPM_CC_Encapsulate, handles(storage))) // attributes do not matter here
		x.unchanged(func() {
			x.want(dec(h, ct[1:]), TPM_RC_SIZE.Param(1))
			x.want(dec(h, nil), TPM_RC_SIZE.Param(1))
			x.want(dec(h, make([]byte, maxKEMCiphertext+1)), TPM_RC_SIZE.Param(1))
			x.want(dec(storage, ct), TPM_RC_ATTRIBUTES.Handle(1))
			x.want(dec(public, ct), TPM_RC_AUTH_UNAVAILABLE)
			x.want(x.cmdS(TPM_CC_ECDH_ZGen, handles(h), pw("pass"), b2(join(b2(nil), b2(nil)))), TPM_RC_KEY.Handle(1))
			x.want(x.cmdS(TPM_CC_RSA_Decrypt, handles(h), pw("pass"), b2(nil), u16(uint16(TPM_ALG_NULL)), b2(nil)), TPM_RC_KEY.Handle(1))
		})
		x.drop(h, public, storage)
	}
}

// TestMLKEMProtocols uses ML-KEM storage keys for a salt, a credential and a duplicate (v185,
// P1 clause 47.4).
func TestMLKEMProtocols(t *testing.T) {
	x := newTestTPM(t)
	for _, set := range []uint16{set768, set1024} {
		for _, alg := range []AlgID{TPM_ALG_SHA256, TPM_ALG_SHA512} {
			tpl := mlkemTemplate(set, attrsStorage)
			tpl.NameAlg = alg
			h := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", tpl).handle
			o := x.transient(h)
			salt, encrypted, rc := x.shareSecret(o, tpmcrypto.LabelSecret)
			if rc != TPM_RC_SUCCESS || len(salt) != alg.DigestSize() {
				t.Fatal(rc, len(salt))
			}
			s := x.ok(x.cmd(TPM_CC_StartAuthSession, handles(h, TPM_RH_NULL), startParams(16, encrypted, TPM_SE_HMAC, symNull, TPM_ALG_SHA256))).handle
			n := x.session(s)
			if want := tpmcrypto.KDFa(TPM_ALG_SHA256, salt, "ATH", n.nonceTPM.bytes(), make([]byte, 16), 256); !bytes.Equal(n.key.bytes(), want) {
				t.Errorf("set %d: session key %x, want %x", set, n.key.bytes(), want)
			}
			x.drop(s)
			x.unchanged(func() {
				x.want(x.cmd(TPM_CC_StartAuthSession, handles(h, TPM_RH_NULL), startParams(16, encrypted[1:], TPM_SE_HMAC, symNull, TPM_ALG_SHA256)), TPM_RC_VALUE.Param(2))
				x.want(x.cmd(TPM_CC_StartAuthSession, handles(h, TPM_RH_NULL), startParams(16, make([]byte, maxEncryptedSecret+1), TPM_SE_HMAC, symNull, TPM_ALG_SHA256)), TPM_RC_SIZE.Param(2))
			})
			aik := x.createPrimaryKey(TPM_RH_OWNER, "", mldsaTemplate(set44, attrsSign|objRestricted, false)).handle
			name := x.transient(aik).name
			public := x.loadPublic(o.pub, TPM_RH_NULL)
			in := x.ok(x.cmd(TPM_CC_MakeCredential, handles(public), b2([]byte("credential")), b2(name))).reader()
			blob, secret := bytes.Clone(in.b2(maxIDObject)), bytes.Clone(in.b2(maxEncryptedSecret))
			activate := func(secret []byte) response {
				return x.cmdS(TPM_CC_ActivateCredential, handles(aik, h), pw("", ""), b2(blob), b2(secret))
			}
			if got := x.ok(activate(secret)).reader().digest(); string(got) != "credential" {
				t.Errorf("set %d: credential %q", set, got)
			}
			x.unchanged(func() {
				x.want(activate(flip(secret, 0)), TPM_RC_INTEGRITY.Param(1)) // another secret
				x.want(activate(secret[1:]), TPM_RC_VALUE.Param(2))
			})
			x.drop(h, aik, public)
		}
	}
}

// TestMLDuplicate duplicates each type of key to an ML-KEM parent and from there to an ECC one.
func TestMLDuplicate(t *testing.T) {
	x := newTestTPM(t)
	for name, tpl := range mlTemplates() {
		tpl.Attributes = tpl.Attributes &^ (objFixedTPM | objFixedParent)
		from := x.storageParent()
		to := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", mlkemTemplate(set1024, attrsStorage)).handle
		back := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", eccTemplate(attrsStorage)).handle
		c, h := x.dupChild(from, tpl)
		seed, named := bytes.Clone(x.transient(h).sens.Sensitive), bytes.Clone(x.transient(h).name)
		in := x.ok(x.duplicate(h, to, bytes.Repeat([]byte{1}, 16), wrapAES)).reader()
		_, dup, secret := in.data(), bytes.Clone(in.b2(maxPrivate)), bytes.Clone(in.b2(maxEncryptedSecret))
		x.drop(h)
		in = x.ok(x.cmdS(TPM_CC_Rewrap, handles(to, back), pw(""), b2(dup), b2(named), b2(secret))).reader()
		again, secret2 := bytes.Clone(in.b2(maxPrivate)), bytes.Clone(in.b2(maxEncryptedSecret))
		for p, d := range map[Handle][2][]byte{to: {dup, secret}, back: {again, secret2}} {
			r := x.ok(x.cmdS(TPM_CC_Import, handles(p), pw(""), importParams(bytes.Repeat([]byte{1}, 16), &c.pub, d[0], d[1], &wrapAES)))
			n := x.load(p, child{private: bytes.Clone(r.reader().b2(maxPrivate)), pub: c.pub})
			if o := x.transient(n); !bytes.Equal(o.sens.Sensitive, seed) || !bytes.Equal(o.name, named) {
				t.Errorf("%s: another key was imported", name)
			}
			x.drop(n)
		}
		x.drop(from, to, back)
	}
}

// TestMLDerived derives a key of each type twice.
func TestMLDerived(t *testing.T) {
	x := newTestTPM(t)
	parent := x.derivationParent()
	for name, tpl := range mlTemplates() {
		if tpl.isStorage() {
			continue // protects its children as its parent does, which has no cipher
		}
		tpl.Attributes = tpl.Attributes &^ (objFixedTPM | objSensitiveDataOrigin)
		tpl.Derive = true
		var names [2][]byte
		for i := range names {
			r := x.ok(x.cmdS(TPM_CC_CreateLoaded, handles(parent), pw(""), loadedParams("", join(b2([]byte("label")), b2(nil)), tpl)))
			names[i] = bytes.Clone(x.transient(r.handle).name)
			x.drop(r.handle)
		}
		if !bytes.Equal(names[0], names[1]) {
			t.Errorf("%s: derived keys differ", name)
		}
	}
}

// TestMLCapabilities: property and algorithms.
func TestMLCapabilities(t *testing.T) {
	x := newTestTPM(t)
	r := x.ok(x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_TPM_PROPERTIES), u32(TPM_PT_ML_PARAMETER_SETS), u32(1))).reader()
	r.bytes(1 + 4 + 4)
	if p, v := r.u32(), r.u32(); p != TPM_PT_ML_PARAMETER_SETS || v != 0x5E {
		t.Errorf("property %x: %x", p, v)
	}
	r = x.ok(x.cmd(TPM_CC_GetCapability, u32(TPM_CAP_ALGS), u32(uint32(TPM_ALG_MLKEM)), u32(9))).reader()
	r.bytes(1 + 4)
	if n := r.u32(); n != 3 {
		t.Fatalf("%d algorithms", n)
	}
	for _, want := range []algEntry{{TPM_ALG_MLKEM, 0x009, ""}, {TPM_ALG_MLDSA, 0x109, ""}, {TPM_ALG_HASH_MLDSA, 0x109, ""}} {
		if got := (algEntry{r.alg(), r.u32(), ""}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	x.ok(x.cmd(TPM_CC_IncrementalSelfTest, u32(3), u16(0xA0), u16(0xA1), u16(0xA2)))
}
