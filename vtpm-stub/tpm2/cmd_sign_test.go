package tpm2

import (
	"bytes"
	"math/big"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// rsa1024 returns a TPMT_PUBLIC for an RSA 1024 key, which is quick to make; the
// TPM needs Config.RSA1024.
func rsa1024(attrs TPMA_OBJECT, s TPMT_SCHEME) TPMT_PUBLIC {
	p := TPMT_PUBLIC{Type: TPM_ALG_RSA, NameAlg: TPM_ALG_SHA256, Attributes: attrs,
		Sym: TPMT_SYM_DEF{Algorithm: TPM_ALG_NULL}, Scheme: s, KeyBits: 1024}
	if p.isParent() {
		p.Sym = TPMT_SYM_DEF{Algorithm: TPM_ALG_AES, KeyBits: 128, Mode: TPM_ALG_CFB}
	}
	return p
}

func withRSA1024(c *Config) { c.RSA1024 = true }

// eccSigner is an ECC template with curve and scheme.
func eccSigner(attrs TPMA_OBJECT, curve ECCCurve, s TPMT_SCHEME) TPMT_PUBLIC {
	p := eccTemplate(attrs)
	p.Curve, p.Scheme = curve, s
	return p
}

func scheme(a, h AlgID) TPMT_SCHEME { return TPMT_SCHEME{Scheme: a, Hash: h} }

func schemeBytes(s TPMT_SCHEME) []byte {
	return marshal(16, func(w *writer) { w.scheme(&s) })
}

func sigBytes(s TPMT_SIGNATURE) []byte {
	return marshal(4096, func(w *writer) { w.signature(&s) })
}

// nullTicket is the NULL ticket with a tag.
func nullTicket(tag ST) []byte { return join(u16(uint16(tag)), u32(uint32(TPM_RH_NULL)), u16(0)) }

func ticketBytes(k TPMT_TK) []byte { return marshal(128, func(w *writer) { w.ticket(&k) }) }

func (x *testTPM) sign(h Handle, digest []byte, s TPMT_SCHEME, ticket []byte) response {
	return x.cmdS(TPM_CC_Sign, handles(h), pw(""), b2(digest), schemeBytes(s), ticket)
}

func (x *testTPM) verifySig(h Handle, digest []byte, sig TPMT_SIGNATURE) response {
	return x.cmd(TPM_CC_VerifySignature, handles(h), b2(digest), sigBytes(sig))
}

// readSignature reads a signature that is all of the response.
func (x *testTPM) readSignature(r response) TPMT_SIGNATURE {
	x.t.Helper()
	in := x.ok(r).reader()
	s := in.signature(true)
	if in.end() != TPM_RC_SUCCESS {
		x.t.Fatalf("signature: %v", in.end())
	}
	return s
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// TestSignSchemes signs and verifies with every scheme that a type of key takes, named by the
// caller or by the key.
func TestSignSchemes(t *testing.T) {
	x := newTestTPM(t, withRSA1024)
	noTicket := nullTicket(TPM_ST_HASHCHECK)
	hash := AlgID(TPM_ALG_SHA256)
	for name, c := range map[string]struct {
		pub func(s TPMT_SCHEME) TPMT_PUBLIC
		s   TPMT_SCHEME
	}{
		"RSASSA":         {func(s TPMT_SCHEME) TPMT_PUBLIC { return rsa1024(attrsSign, s) }, scheme(TPM_ALG_RSASSA, hash)},
		"RSASSA SHA-384": {func(s TPMT_SCHEME) TPMT_PUBLIC { return rsa1024(attrsSign, s) }, scheme(TPM_ALG_RSASSA, TPM_ALG_SHA384)},
		"RSAPSS":         {func(s TPMT_SCHEME) TPMT_PUBLIC { return rsa1024(attrsSign, s) }, scheme(TPM_ALG_RSAPSS, hash)},
		"ECDSA P-256":    {func(s TPMT_SCHEME) TPMT_PUBLIC { return eccSigner(attrsSign, TPM_ECC_NIST_P256, s) }, scheme(TPM_ALG_ECDSA, hash)},
		"ECDSA P-521":    {func(s TPMT_SCHEME) TPMT_PUBLIC { return eccSigner(attrsSign, TPM_ECC_NIST_P521, s) }, scheme(TPM_ALG_ECDSA, TPM_ALG_SHA512)},
		"ECDSA BN-256":   {func(s TPMT_SCHEME) TPMT_PUBLIC { return eccSigner(attrsSign, TPM_ECC_BN_P256, s) }, scheme(TPM_ALG_ECDSA, hash)},
		"ECSCHNORR":      {func(s TPMT_SCHEME) TPMT_PUBLIC { return eccSigner(attrsSign, TPM_ECC_NIST_P384, s) }, scheme(TPM_ALG_ECSCHNORR, TPM_ALG_SHA384)},
		"SM2":            {func(s TPMT_SCHEME) TPMT_PUBLIC { return eccSigner(attrsSign, TPM_ECC_SM2_P256, s) }, scheme(TPM_ALG_SM2, hash)},
		"HMAC": {func(s TPMT_SCHEME) TPMT_PUBLIC {
			p := hmacTemplate(TPM_ALG_NULL)
			p.Scheme = s
			return p
		}, scheme(TPM_ALG_HMAC, hash)},
	} {
		t.Run(name, func(t *testing.T) {
			digest := tpmcrypto.Sum(c.s.Hash, []byte(name))
			for i, own := range []TPMT_SCHEME{nullScheme, c.s} {
				key := x.createPrimaryKey(TPM_RH_OWNER, "", c.pub(own)).handle
				in := c.s
				if i == 1 {
					in = nullScheme
				}
				sig := x.readSignature(x.sign(key, digest, in, noTicket))
				if sig.Alg != c.s.Scheme || sig.Hash != c.s.Hash {
					t.Errorf("signature of scheme %x %x", sig.Alg, sig.Hash)
				}
				r := x.ok(x.verifySig(key, digest, sig)).reader()
				k := r.ticket(TPM_ST_VERIFIED)
				o := x.transient(key)
				if r.end() != TPM_RC_SUCCESS || k.Hierarchy != TPM_RH_OWNER || !x.checkTicket(&k, digest, o.name) {
					t.Errorf("ticket %+v", k)
				}
				x.want(x.verifySig(key, flip(digest, 0), sig), TPM_RC_SIGNATURE.Param(2))
				x.want(x.verifySig(key, digest[1:], sig), TPM_RC_SIGNATURE.Param(2))
				bad := sig
				bad.R = flip(sig.R, len(sig.R)-1)
				x.want(x.verifySig(key, digest, bad), TPM_RC_SIGNATURE.Param(2))
				x.want(x.sign(key, digest[1:], in, noTicket), TPM_RC_SIZE.Param(1))
				x.flushObject(key)
			}
		})
	}
}

// TestSignErrors has the rows of TPM2_Sign's error table.
func TestSignErrors(t *testing.T) {
	x := newTestTPM(t, withRSA1024)
	none := nullTicket(TPM_ST_HASHCHECK)
	sha := scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256)
	digest := make([]byte, 32)
	ecdsa := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign, TPM_ECC_NIST_P256, sha)).handle
	open := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	storage := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	x509 := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign|objX509Sign, TPM_ECC_NIST_P256, sha)).handle
	cipher := x.keyWith(aesTemplate(TPM_ALG_NULL, objSign), make([]byte, 16))
	daa := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign, TPM_ECC_NIST_P256, scheme(TPM_ALG_ECDAA, TPM_ALG_SHA256))).handle
	count := TPMT_SCHEME{Scheme: TPM_ALG_ECDAA, Hash: TPM_ALG_SHA256, Count: 0}
	for name, c := range map[string]struct {
		key    Handle
		digest []byte
		s      TPMT_SCHEME
		ticket []byte
		rc     RC
	}{
		"storage key":        {storage, digest, sha, none, TPM_RC_KEY.Handle(1)},
		"cipher":             {cipher, digest, sha, none, TPM_RC_KEY.Handle(1)},
		"x509sign":           {x509, digest, nullScheme, none, TPM_RC_ATTRIBUTES.Handle(1)},
		"no scheme":          {open, digest, nullScheme, none, TPM_RC_SCHEME.Param(2)},
		"scheme of RSA":      {open, digest, scheme(TPM_ALG_RSASSA, TPM_ALG_SHA256), none, TPM_RC_SCHEME.Param(2)},
		"scheme of HMAC":     {open, digest, scheme(TPM_ALG_HMAC, TPM_ALG_SHA256), none, TPM_RC_SCHEME.Param(2)},
		"SM2 on P-256":       {open, digest, scheme(TPM_ALG_SM2, TPM_ALG_SHA256), none, TPM_RC_SCHEME.Param(2)},
		"other scheme":       {ecdsa, digest, scheme(TPM_ALG_ECSCHNORR, TPM_ALG_SHA256), none, TPM_RC_SCHEME.Param(2)},
		"other hash":         {ecdsa, make([]byte, 48), scheme(TPM_ALG_ECDSA, TPM_ALG_SHA384), none, TPM_RC_SCHEME.Param(2)},
		"ECDAA not named":    {daa, digest, nullScheme, none, TPM_RC_SCHEME.Param(2)},
		"ECDAA no count":     {daa, digest, count, none, TPM_RC_RANGE.Param(2)},
		"digest":             {ecdsa, make([]byte, 20), nullScheme, none, TPM_RC_SIZE.Param(1)},
		"ticket of others":   {ecdsa, digest, nullScheme, ticketBytes(TPMT_TK{TPM_ST_HASHCHECK, TPM_RH_OWNER, make([]byte, 32)}), TPM_RC_TICKET.Param(3)},
		"ticket tag":         {ecdsa, digest, nullScheme, nullTicket(TPM_ST_CREATION), TPM_RC_TAG.Param(3)},
		"encryption scheme":  {ecdsa, digest, scheme(TPM_ALG_OAEP, TPM_ALG_SHA256), none, TPM_RC_SCHEME.Param(2)},
		"hash not supported": {ecdsa, digest, scheme(TPM_ALG_ECDSA, TPM_ALG_SM3_256), none, TPM_RC_HASH.Param(2)},
	} {
		x.unchanged(func() {
			if r := x.sign(c.key, c.digest, c.s, c.ticket); r.rc != c.rc {
				t.Errorf("%s: %v, want %v", name, r.rc, c.rc)
			}
		})
	}
}

// TestSignRestricted: a restricted key signs only what the TPM hashed itself.
func TestSignRestricted(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", eccSigner(attrsSign|objRestricted, TPM_ECC_NIST_P256, scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256))).handle
	hash := func(data string, alg AlgID) (digest, ticket []byte) {
		r := x.ok(x.cmd(TPM_CC_Hash, b2([]byte(data)), u16(uint16(alg)), u32(uint32(TPM_RH_OWNER)))).reader()
		digest = bytes.Clone(r.digest())
		return digest, bytes.Clone(r.b)
	}
	digest, ticket := hash("a message", TPM_ALG_SHA256)
	sig := x.readSignature(x.sign(key, digest, nullScheme, ticket))
	x.ok(x.verifySig(key, digest, sig))
	_, other := hash("a message", TPM_ALG_SHA384)
	forged, noTicket := hash("\xffTCG a message", TPM_ALG_SHA256)
	x.unchanged(func() {
		x.want(x.sign(key, digest, nullScheme, nullTicket(TPM_ST_HASHCHECK)), TPM_RC_TICKET.Param(3))
		x.want(x.sign(key, flip(digest, 0), nullScheme, ticket), TPM_RC_TICKET.Param(3))
		x.want(x.sign(key, digest, nullScheme, other), TPM_RC_TICKET.Param(3))
		x.want(x.sign(key, forged, nullScheme, noTicket), TPM_RC_TICKET.Param(3))
	})
}

// TestVerifySignatureErrors has the rows of TPM2_VerifySignature's error table.
func TestVerifySignatureErrors(t *testing.T) {
	x := newTestTPM(t)
	digest := make([]byte, 32)
	ecdsa := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	storage := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	fixed := x.keyWith(hmacTemplate(TPM_ALG_SHA384), []byte("key"))
	sig := x.readSignature(x.sign(ecdsa, digest, scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256), nullTicket(TPM_ST_HASHCHECK)))
	null := x.createPrimaryKey(TPM_RH_NULL, "", eccTemplate(attrsSign)).handle
	own := x.readSignature(x.sign(null, digest, scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256), nullTicket(TPM_ST_HASHCHECK)))
	if r := x.ok(x.verifySig(null, digest, own)); !bytes.Equal(r.params, nullTicket(TPM_ST_VERIFIED)) {
		t.Errorf("ticket in the null hierarchy: %x", r.params)
	}
	mac := TPMT_SIGNATURE{Alg: TPM_ALG_HMAC, Hash: TPM_ALG_SHA256, R: make([]byte, 32)}
	daa := sig
	daa.Alg = TPM_ALG_ECDAA
	long := sig
	long.R = append(make([]byte, 34), sig.R...)
	x.unchanged(func() {
		x.want(x.verifySig(storage, digest, sig), TPM_RC_ATTRIBUTES.Handle(1))
		x.want(x.verifySig(null, digest, sig), TPM_RC_SIGNATURE.Param(2))
		x.want(x.verifySig(ecdsa, digest, mac), TPM_RC_SCHEME.Param(2))
		x.want(x.verifySig(fixed, digest, mac), TPM_RC_SCHEME.Param(2))
		x.want(x.verifySig(ecdsa, digest, daa), TPM_RC_SCHEME.Param(2))
		x.ok(x.verifySig(ecdsa, digest, long)) // leading zeros do not matter
		x.want(x.cmd(TPM_CC_VerifySignature, handles(ecdsa), b2(digest), u16(uint16(TPM_ALG_NULL))), TPM_RC_SCHEME.Param(2))
		x.want(x.cmd(TPM_CC_VerifySignature, handles(ecdsa), b2(digest), sigBytes(sig), u16(0)), TPM_RC_SIZE)
	})
}

// TestECDAA signs with a commit value and checks the signature with the public
// values: [s]P1 = E + [T][d]P1.
func TestECDAA(t *testing.T) {
	x := newTestTPM(t)
	s := scheme(TPM_ALG_ECDAA, TPM_ALG_SHA256)
	key := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign, TPM_ECC_BN_P256, s)).handle
	o := x.transient(key)
	g := tpmcrypto.GroupOf(TPM_ECC_BN_P256)
	r := x.ok(x.cmdS(TPM_CC_Commit, handles(key), pw(""), b2(join(u16(0), u16(0))), b2(nil), b2(nil))).reader()
	r.eccPoint2B()
	r.eccPoint2B()
	e, rc := onCurve(g, r.eccPoint2B())
	s.Count = r.u16()
	if r.end() != TPM_RC_SUCCESS || rc != TPM_RC_SUCCESS {
		t.Fatal(r.end(), rc)
	}
	digest := tpmcrypto.Sum(TPM_ALG_SHA256, []byte("data"))
	sig := x.readSignature(x.sign(key, digest, s, nullTicket(TPM_ST_HASHCHECK)))
	q, _ := g.Point(o.pub.X, o.pub.Y)
	n, err := tpmcrypto.NewModulus(bigInt(g.Params().N))
	if err != nil {
		t.Fatal(err)
	}
	T := n.Bytes(n.Reduce(tpmcrypto.Sum(TPM_ALG_SHA256, sig.R, digest)))
	left, _ := g.BaseMul(sig.S)
	tq, _ := g.Mul(T, q)
	if right := g.Add(e, tq); !left.Equal(right) {
		t.Error("the ECDAA signature does not hold")
	}
	x.unchanged(func() {
		x.want(x.sign(key, digest, s, nullTicket(TPM_ST_HASHCHECK)), TPM_RC_VALUE.Param(2))
	})
}

// TestSignVerifyPublicOnly verifies with the public part alone.
func TestSignVerifyPublicOnly(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	digest := make([]byte, 32)
	sig := x.readSignature(x.sign(key, digest, scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256), nullTicket(TPM_ST_HASHCHECK)))
	pub := x.transient(key).pub
	load := func(p TPMT_PUBLIC, h Handle) response {
		return x.cmd(TPM_CC_LoadExternal, u16(0), marshal(maxPublic, func(w *writer) { w.public2B(&p) }), u32(uint32(h)))
	}
	pub.Attributes &^= objFixedTPM | objFixedParent | objSensitiveDataOrigin
	ext := x.ok(load(pub, TPM_RH_OWNER)).handle
	x.ok(x.verifySig(ext, digest, sig))
	mac := hmacTemplate(TPM_ALG_NULL)
	mac.Attributes = objSign | objUserWithAuth
	mac.Unique = make([]byte, 32)
	h := x.ok(load(mac, TPM_RH_OWNER)).handle
	x.want(x.verifySig(h, digest, TPMT_SIGNATURE{Alg: TPM_ALG_HMAC, Hash: TPM_ALG_SHA256, R: make([]byte, 32)}), TPM_RC_HANDLE.Param(2))
	x.want(x.sign(ext, digest, nullScheme, nullTicket(TPM_ST_HASHCHECK)), TPM_RC_AUTH_UNAVAILABLE)
}

func bigInt(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
