package tpm2

import (
	"bytes"
	"crypto/x509"
	"testing"

	"filippo.io/mldsa"
	"golang.org/x/crypto/cryptobyte/asn1"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// holds reports whether a signature of ML-DSA over a message holds, with the library's own
// verification.
func (x *testTPM) holds(o *object, sig TPMT_SIGNATURE, context, msg []byte) bool {
	x.t.Helper()
	set := mldsa.MLDSA44()
	if o.pub.ParamSet == set65 {
		set = mldsa.MLDSA65()
	}
	k, err := mldsa.NewPublicKey(set, o.pub.Unique)
	if err != nil {
		x.t.Fatal(err)
	}
	return mldsa.Verify(k, msg, sig.R, &mldsa.Options{Context: string(context)}) == nil
}

// holdsHash is holds for HashML-DSA.
func (x *testTPM) holdsHash(o *object, sig TPMT_SIGNATURE, context, msg []byte) bool {
	x.t.Helper()
	k, err := tpmcrypto.NewMLDSAPublicKey(tpmcrypto.MLDSASet(o.pub.ParamSet), o.pub.Unique)
	if err != nil {
		x.t.Fatal(err)
	}
	mu, err := k.PrehashMu(sig.Hash, context, tpmcrypto.Sum(sig.Hash, msg))
	return err == nil && k.VerifyMu(mu, sig.R) == nil
}

// TestMLDSASequence signs and verifies messages in parts, with contexts, through saved
// contexts of the sequences, as keys that are loaded with both areas or the public one.
func TestMLDSASequence(t *testing.T) {
	x := newTestTPM(t)
	for name, tpl := range mlTemplates() {
		if !tpl.isMLDSA() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			key := x.createPrimaryKey(TPM_RH_OWNER, "", tpl).handle
			public := x.loadPublic(x.transient(key).pub, TPM_RH_OWNER)
			defer x.drop(key, public)
			o := x.transient(key)
			move := func(h Handle) Handle {
				c := x.saveContext(h)
				x.drop(h)
				return x.ok(x.loadContext(c)).handle
			}
			for _, context := range [][]byte{nil, []byte("context"), bytes.Repeat([]byte{7}, 255)} {
				seq := x.ok(x.signStart(key, "a", context)).handle
				x.ok(x.update(seq, "a", []byte("mess")))
				seq = move(seq)
				sig := x.readSignature(x.signComplete(seq, key, "a", []byte("age")))
				ok := x.holds
				if tpl.Type == TPM_ALG_HASH_MLDSA {
					ok = x.holdsHash
				}
				if !ok(o, sig, context, []byte("message")) || sig.Alg != tpl.Type || sig.Hash != tpl.Scheme.Hash {
					t.Errorf("context %x: the signature does not hold", context)
				}
				verify := func(context, msg []byte, sig TPMT_SIGNATURE) (response, Handle) {
					seq := x.ok(x.verifyStart(public, "b", nil, context)).handle
					x.ok(x.update(seq, "b", msg[:3]))
					seq = move(seq)
					x.ok(x.update(seq, "b", msg[3:]))
					return x.verifyComplete(seq, public, "b", sig), seq
				}
				r, seq := verify(context, []byte("message"), sig)
				in := x.ok(r).reader()
				k := in.ticket(TPM_ST_MESSAGE_VERIFIED)
				if in.end() != TPM_RC_SUCCESS || x.transient(seq) != nil {
					t.Errorf("%v, sequence %v", in.end(), x.transient(seq))
				}
				// The ticket does not tell the context: only the empty one gets a ticket.
				if len(context) == 0 && !x.checkTicket(&k, []byte("message"), o.name) ||
					len(context) != 0 && (k.Hierarchy != TPM_RH_NULL || len(k.Digest) != 0) {
					t.Errorf("context %x: ticket %+v", context, k)
				}
				bad := sig
				bad.R = flip(sig.R, 100)
				short := sig
				short.R = sig.R[1:]
				for what, c := range map[string]struct {
					context, msg []byte
					sig          TPMT_SIGNATURE
				}{
					"message": {context, []byte("massage"), sig}, "context": {append([]byte{1}, context...)[:max(1, len(context))], []byte("message"), sig},
					"bit": {context, []byte("message"), bad}, "size": {context, []byte("message"), short},
				} {
					r, seq := verify(c.context, c.msg, c.sig)
					if r.rc != TPM_RC_SIGNATURE.Param(1) {
						t.Errorf("another %s: %v", what, r.rc)
					}
					x.drop(seq)
				}
			}
		})
	}
}

// TestMLDSAMessageParts: a message needs no update, and may have many.
func TestMLDSAMessageParts(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_OWNER, "", mldsaTemplate(set44, attrsSign, false)).handle
	o := x.transient(key)
	seq := x.ok(x.signStart(key, "", nil)).handle
	if sig := x.readSignature(x.signComplete(seq, key, "", nil)); !x.holds(o, sig, nil, nil) {
		t.Error("the empty message")
	}
	seq = x.ok(x.signStart(key, "", nil)).handle
	part := bytes.Repeat([]byte("part"), maxDigestBuffer/4)
	for range 5 {
		x.ok(x.update(seq, "", part))
	}
	if sig := x.readSignature(x.signComplete(seq, key, "", part)); !x.holds(o, sig, nil, bytes.Repeat(part, 6)) {
		t.Error("six buffers")
	}
}

// TestMLDSASequenceErrors is about what ML-DSA keys may not do.
func TestMLDSASequenceErrors(t *testing.T) {
	x := newTestTPM(t)
	for name, ak := range map[string]TPMT_PUBLIC{"ML-DSA": mldsaTemplate(set44, attrsSign|objRestricted, true),
		"HashML-DSA": hashMLDSATemplate(set44, attrsSign|objRestricted, TPM_ALG_SHA256)} {
		key := x.createPrimaryKey(TPM_RH_OWNER, "", ak).handle
		ak.Attributes &^= objRestricted
		x509 := ak
		x509.Attributes |= objX509Sign
		cert := x.createPrimaryKey(TPM_RH_OWNER, "", x509).handle
		other := x.createPrimaryKey(TPM_RH_OWNER, "", ak).handle
		pair, _ := x.pair(ak)
		public := x.loadPublic(pair, TPM_RH_NULL)
		seq, certSeq := x.ok(x.signStart(key, "", nil)).handle, x.ok(x.signStart(cert, "", nil)).handle
		verify := x.ok(x.verifyStart(key, "", nil, nil)).handle
		digest := make([]byte, 32)
		ecdsa := TPMT_SIGNATURE{Alg: TPM_ALG_ECDSA, Hash: TPM_ALG_SHA256, R: []byte{1}, S: []byte{1}}
		sig := TPMT_SIGNATURE{Alg: ak.Type, Hash: ak.Scheme.Hash, R: make([]byte, 2420)}
		swapped := TPMT_SIGNATURE{Alg: TPM_ALG_MLDSA, R: sig.R}
		if ak.Type == TPM_ALG_MLDSA {
			swapped = TPMT_SIGNATURE{Alg: TPM_ALG_HASH_MLDSA, Hash: TPM_ALG_SHA256, R: sig.R}
		}
		long := sig
		long.R = make([]byte, maxMLDSASignature+1)
		x.unchanged(func() {
			x.want(x.signComplete(seq, key, "", []byte("\xffTCG message")), TPM_RC_VALUE.Param(1))
			x.want(x.signComplete(seq, other, "", []byte("message")), TPM_RC_SIGN_CONTEXT_KEY.Handle(2))
			x.want(x.signComplete(certSeq, cert, "", []byte("message")), TPM_RC_ATTRIBUTES.Handle(2))
			x.want(x.verifyStart(key, "", []byte{1}, nil), TPM_RC_SIZE.Param(2))
			x.want(x.signStart(key, "", make([]byte, 256)), TPM_RC_SIZE.Param(2))
			x.want(x.verifyComplete(verify, other, "", sig), TPM_RC_SIGN_CONTEXT_KEY.Handle(2))
			x.want(x.verifyComplete(verify, key, "", sig), TPM_RC_SIGNATURE.Param(1))
			x.want(x.verifyComplete(verify, key, "", ecdsa), TPM_RC_SCHEME.Param(1))
			x.want(x.verifyComplete(verify, key, "", swapped), TPM_RC_SCHEME.Param(1))
			x.want(x.verifyComplete(verify, key, "", long), TPM_RC_SIZE.Param(1))
			// TPM2_Sign and TPM2_VerifySignature do not have them (v185, P3 table 115).
			x.want(x.sign(other, digest, nullScheme, nullTicket(TPM_ST_HASHCHECK)), TPM_RC_SCHEME.Param(2))
			x.want(x.verifySig(other, digest, sig), TPM_RC_SCHEME.Param(2))
			x.want(x.verifySig(other, digest, ecdsa), TPM_RC_SCHEME.Param(2))
			x.want(x.cmdS(TPM_CC_Sign, handles(other), pw(""), b2(digest), u16(uint16(ak.Type)), nullTicket(TPM_ST_HASHCHECK)), TPM_RC_SCHEME.Param(2))
			x.want(x.cmdS(TPM_CC_MAC, handles(other), pw(""), b2(digest), u16(uint16(TPM_ALG_NULL))), TPM_RC_TYPE.Handle(1))
		})
		x.drop(seq, certSeq, verify)
		// Loaded without its sensitive part, a key cannot sign: there is no authorization.
		seq = x.ok(x.signStart(public, "", nil)).handle
		x.unchanged(func() { x.want(x.signComplete(seq, public, "", []byte("message")), TPM_RC_AUTH_UNAVAILABLE) })
		x.drop(seq, key, cert, other, public)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func (x *testTPM) signDigest(h Handle, context, digest, ticket []byte) response {
	return x.cmdS(TPM_CC_SignDigest, handles(h), pw(""), b2(context), b2(digest), ticket)
}

func (x *testTPM) verifyDigest(h Handle, context, digest []byte, sig TPMT_SIGNATURE) response {
	return x.cmd(TPM_CC_VerifyDigestSignature, handles(h), b2(context), b2(digest), sigBytes(sig))
}

// TestExternalMu signs and verifies mu that is made outside.
func TestExternalMu(t *testing.T) {
	x := newTestTPM(t)
	none := nullTicket(TPM_ST_HASHCHECK)
	for _, set := range []uint16{set44, set65} {
		key := x.createPrimaryKey(TPM_RH_OWNER, "", mldsaTemplate(set, attrsSign, true)).handle
		no := x.createPrimaryKey(TPM_RH_OWNER, "", mldsaTemplate(set, attrsSign, false)).handle
		ak := x.createPrimaryKey(TPM_RH_OWNER, "", mldsaTemplate(set, attrsSign|objRestricted, true)).handle
		cert := x.createPrimaryKey(TPM_RH_OWNER, "", mldsaTemplate(set, attrsSign|objX509Sign, true)).handle
		o := x.transient(key)
		k, rc := o.mldsaPublic()
		if rc != TPM_RC_SUCCESS {
			t.Fatal(rc)
		}
		s, err := k.StartMu([]byte("context"))
		if err != nil {
			t.Fatal(err)
		}
		s.Write([]byte("message"))
		mu := s.Sum(nil)
		sig := x.readSignature(x.signDigest(key, nil, mu, none))
		if !x.holds(o, sig, []byte("context"), []byte("message")) {
			t.Errorf("set %d: the signature does not hold", set)
		}
		r := x.ok(x.verifyDigest(key, nil, mu, sig)).params
		if !bytes.Equal(r, hx("8027 40000007 0000")) {
			t.Errorf("set %d: ticket %x, want the NULL Ticket", set, r)
		}
		hash := TPMT_SIGNATURE{Alg: TPM_ALG_HASH_MLDSA, Hash: TPM_ALG_SHA512, R: sig.R}
		ticket := ticketBytes(x.makeTicket(TPM_ST_HASHCHECK, TPM_RH_OWNER, u16(uint16(TPM_ALG_SHA512)), mu))
		x.unchanged(func() {
			x.want(x.signDigest(key, nil, mu[1:], none), TPM_RC_SIZE.Param(2))
			x.want(x.signDigest(key, []byte{1}, mu, none), TPM_RC_SIZE.Param(1))
			x.want(x.signDigest(key, nil, mu, ticket), TPM_RC_TICKET.Param(3))
			x.want(x.signDigest(no, nil, mu, none), TPM_RC_EXT_MU.Handle(1))
			x.want(x.signDigest(ak, nil, mu, none), TPM_RC_ATTRIBUTES.Handle(1))
			x.want(x.signDigest(ak, nil, mu, ticket), TPM_RC_ATTRIBUTES.Handle(1))
			x.want(x.signDigest(cert, nil, mu, none), TPM_RC_ATTRIBUTES.Handle(1))
			x.want(x.verifyDigest(no, nil, mu, sig), TPM_RC_EXT_MU.Handle(1))
			x.want(x.verifyDigest(key, []byte{1}, mu, sig), TPM_RC_SIZE.Param(1))
			x.want(x.verifyDigest(key, nil, mu[:32], sig), TPM_RC_SIZE.Param(2))
			x.want(x.verifyDigest(key, nil, mu, hash), TPM_RC_SCHEME.Param(3))
			x.want(x.verifyDigest(key, nil, flip(mu, 1), sig), TPM_RC_SIGNATURE.Param(3))
		})
		policy := x.startSession(TPM_SE_POLICY, symNull)
		x.want(x.cmd(TPM_CC_PolicyAuthorize, handles(policy), b2(x.policyDigest(policy)), b2(nil), b2(o.name), r), TPM_RC_VALUE.Param(4))
		x.drop(policy, key, no, ak, cert)
	}
}

// TestHashMLDSADigest signs and verifies digests, with a context, and by a restricted key with
// the ticket of TPM2_Hash.
func TestHashMLDSADigest(t *testing.T) {
	x := newTestTPM(t)
	none := nullTicket(TPM_ST_HASHCHECK)
	for _, alg := range []AlgID{TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512, TPM_ALG_SHA3_256, TPM_ALG_SHA3_384, TPM_ALG_SHA3_512} {
		key := x.createPrimaryKey(TPM_RH_OWNER, "", hashMLDSATemplate(set44, attrsSign, alg)).handle
		ak := x.createPrimaryKey(TPM_RH_OWNER, "", hashMLDSATemplate(set65, attrsSign|objRestricted, alg)).handle
		o := x.transient(key)
		digest := tpmcrypto.Sum(alg, []byte("message"))
		for _, context := range [][]byte{nil, []byte("context")} {
			sig := x.readSignature(x.signDigest(key, context, digest, none))
			if !x.holdsHash(o, sig, context, []byte("message")) || sig.Hash != alg {
				t.Errorf("%x: the signature does not hold", uint16(alg))
			}
			in := x.ok(x.verifyDigest(key, context, digest, sig)).reader()
			k, meta := in.verified()
			ok := x.checkTicket(&k, digest, o.name, meta) && bytes.Equal(meta, u16(uint16(alg)))
			if context != nil {
				ok = k.Hierarchy == TPM_RH_NULL && len(k.Digest) == 0 && len(meta) == 0
			}
			if !ok || in.end() != TPM_RC_SUCCESS {
				t.Errorf("%x: ticket %+v %x", uint16(alg), k, meta)
			}
			other := sig
			other.Hash = TPM_ALG_SHA1
			x.unchanged(func() {
				x.want(x.verifyDigest(key, []byte("kontext"), digest, sig), TPM_RC_SIGNATURE.Param(3))
				x.want(x.verifyDigest(key, context, digest[1:], sig), TPM_RC_SIZE.Param(2))
				x.want(x.verifyDigest(key, context, digest, other), TPM_RC_SCHEME.Param(3))
				x.want(x.signDigest(key, context, digest[1:], none), TPM_RC_SIZE.Param(2))
				x.want(x.signDigest(ak, context, digest, none), TPM_RC_TICKET.Param(3))
			})
		}
		h := x.ok(x.cmd(TPM_CC_Hash, b2([]byte("message")), u16(uint16(alg)), u32(uint32(TPM_RH_OWNER)))).reader()
		h.digest()
		sig := x.readSignature(x.signDigest(ak, nil, digest, bytes.Clone(h.b)))
		x.ok(x.verifyDigest(ak, nil, digest, sig))
		x.drop(key, ak)
	}
}

// TestMLDSAPolicies: PolicySigned and PolicyAuthorize by keys of both types.
func TestMLDSAPolicies(t *testing.T) {
	x := newTestTPM(t)
	for name, tpl := range map[string]TPMT_PUBLIC{"ML-DSA": mldsaTemplate(set65, attrsSign, false),
		"HashML-DSA": hashMLDSATemplate(set44, attrsSign, TPM_ALG_SHA384)} {
		key := x.createPrimaryKey(TPM_RH_OWNER, "", tpl).handle
		ecc := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
		keyName := bytes.Clone(x.transient(key).name)
		sign := func(context, msg []byte) TPMT_SIGNATURE {
			seq := x.ok(x.signStart(key, "", context)).handle
			return x.readSignature(x.signComplete(seq, key, "", msg))
		}
		s := x.startSession(TPM_SE_POLICY, symNull)
		nonce := bytes.Clone(x.session(s).nonceTPM.bytes())
		toBeSigned := join(nonce, u32(0), []byte("ref"))
		use := func(k Handle, sig TPMT_SIGNATURE) response {
			return x.cmd(TPM_CC_PolicySigned, handles(k, s), b2(nonce), b2(nil), b2([]byte("ref")), u32(0), sigBytes(sig))
		}
		sig := sign(nil, toBeSigned)
		x.unchanged(func() {
			x.want(use(key, sign([]byte("context"), toBeSigned)), TPM_RC_SIGNATURE.Param(5))
			x.want(use(key, sign(nil, toBeSigned[1:])), TPM_RC_SIGNATURE.Param(5))
			x.want(use(ecc, sig), TPM_RC_SCHEME.Param(5))
			x.want(use(key, TPMT_SIGNATURE{Alg: TPM_ALG_ECDSA, Hash: TPM_ALG_SHA256, R: []byte{1}, S: []byte{1}}), TPM_RC_SCHEME.Param(5))
		})
		x.ok(use(key, sig))
		if got, want := x.policyDigest(s), h256(h256(make([]byte, 32), ccb(TPM_CC_PolicySigned), keyName), []byte("ref")); !bytes.Equal(got, want) {
			t.Errorf("%s: policyDigest %x, want %x", name, got, want)
		}
		approved := bytes.Clone(x.policyDigest(s))
		msg := join(approved, []byte("ref"))
		seq := x.ok(x.verifyStart(key, "", nil, nil)).handle
		x.ok(x.update(seq, "", msg))
		ticket := bytes.Clone(x.ok(x.verifyComplete(seq, key, "", sign(nil, msg))).params)
		authorize := func(ticket []byte) response {
			return x.cmd(TPM_CC_PolicyAuthorize, handles(s), b2(approved), b2([]byte("ref")), b2(keyName), ticket)
		}
		// A signature for another purpose, which its context names, authorizes nothing.
		seq = x.ok(x.verifyStart(key, "", nil, []byte("mail"))).handle
		x.ok(x.update(seq, "", msg))
		mail := bytes.Clone(x.ok(x.verifyComplete(seq, key, "", sign([]byte("mail"), msg))).params)
		x.unchanged(func() { x.want(authorize(mail), TPM_RC_VALUE.Param(4)) })
		x.ok(authorize(ticket))
		x.drop(key, ecc, s)
	}
}

// TestMLDSALargestResponse: the last size of TPM2_NV_Certify that fits does, with the largest
// sessions, and the next one is an error and not the end of the TPM.
func TestMLDSALargestResponse(t *testing.T) {
	x := newTestTPM(t, func(c *Config) { c.MaxCommand = 4088 })
	x.defineIndex(testIndex, "", 0, 1024)
	x.ok(x.writeIndex(testIndex, "", bytes.Repeat([]byte{5}, 1024)))
	key := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", mldsaTemplate(set65, attrsSign, false)).handle
	r := x.ok(x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, TPM_RH_NULL), startParams(64, nil, TPM_SE_HMAC, symNull, TPM_ALG_SHA512)))
	audit := sess(r.handle, make([]byte, 64), sessAudit|sessContinue, nil)
	area := area(sess(TPM_RS_PW, nil, 0, nil), sess(TPM_RS_PW, nil, 0, nil), audit)
	var rsp response
	last := 0
	for size := 1; size <= 1024; size++ {
		rsp = x.cmdS(TPM_CC_NV_Certify, handles(key, testIndex, testIndex), area, b2(make([]byte, 66)), noScheme, u16(uint16(size)), u16(0))
		if rsp.rc != TPM_RC_SUCCESS {
			break
		}
		last = len(rsp.raw)
	}
	x.want(rsp, TPM_RC_SIZE.Param(3))
	if x.Failed() || last != 4088 {
		t.Errorf("largest response of %d octets, failed %v", last, x.Failed())
	}
}

// TestMLCertifyX509: HashML-DSA signs certificates when the caller names the algorithm; public
// keys of ML-KEM and ML-DSA are not certified.
func TestMLCertifyX509(t *testing.T) {
	x := newTestTPM(t)
	o := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign, TPM_ECC_NIST_P384, nullScheme)).handle
	key := x.createPrimaryKey(TPM_RH_OWNER, "", hashMLDSATemplate(set65, attrsSign|objX509Sign, TPM_ALG_SHA512)).handle
	pure := x.createPrimaryKey(TPM_RH_OWNER, "", mldsaTemplate(set65, attrsSign, false)).handle
	exts := certExts(certExt(oidKeyUsage, 6, useSign|useContent), certExt(oidTPMAObject, 0, u32(uint32(attrsSign))...))
	oid := der(asn1.SEQUENCE, der(asn1.OBJECT_IDENTIFIER, hx("608648016503040321"))) // id-hash-ml-dsa-65-with-sha512
	given := partial(exts, oid)
	r := x.ok(x.certifyX509(o, key, nullScheme, given)).reader()
	added, digest := r.maxBuffer(), r.digest()
	sig := r.signature(false)
	if r.end() != TPM_RC_SUCCESS {
		t.Fatal(r.end())
	}
	// crypto/x509 knows neither the algorithm nor HashML-DSA; the frame is read all the same.
	cert, err := x509.ParseCertificate(assemble(t, given, added, sig))
	if err != nil {
		t.Fatal(err)
	}
	if !x.holdsHash(x.transient(key), sig, nil, cert.RawTBSCertificate) || !bytes.Equal(digest, tpmcrypto.Sum(TPM_ALG_SHA512, cert.RawTBSCertificate)) {
		t.Error("the signature is not over the certificate")
	}
	x.unchanged(func() {
		x.want(x.certifyX509(o, key, nullScheme, partial(exts)), TPM_RC_SCHEME.Param(2))
		x.want(x.certifyX509(o, pure, nullScheme, given), TPM_RC_SCHEME.Param(2))
		x.want(x.certifyX509(pure, key, nullScheme, given), TPM_RC_KEY.Handle(1))
	})
	// Where the response would be larger than the transport takes, that is an error, not a failure.
	x.cfg.MaxCommand = 3500
	x.unchanged(func() { x.want(x.certifyX509(o, key, nullScheme, given), TPM_RC_SIZE.Param(3)) })
}

// TestMLKeysNotKept: persistent objects do not hold expanded keys.
func TestMLKeysNotKept(t *testing.T) {
	x := mlTPM(t)
	x.checkML()
	for _, o := range x.perm.objects {
		switch o.key.(type) {
		case *tpmcrypto.MLDSAPrivateKey, *tpmcrypto.MLKEMPrivateKey:
			t.Errorf("%x keeps its expanded key", o.handle)
		}
	}
	if x.transient(mlPure).key == nil {
		t.Error("a transient object does not keep it")
	}
}
