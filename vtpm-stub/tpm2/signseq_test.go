package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

func (x *testTPM) signStart(key Handle, auth string, context []byte) response {
	return x.cmd(TPM_CC_SignSequenceStart, handles(key), b2([]byte(auth)), b2(context))
}

func (x *testTPM) signComplete(seq, key Handle, auth string, data []byte) response {
	return x.cmdS(TPM_CC_SignSequenceComplete, handles(seq, key), pw(auth, ""), b2(data))
}

func (x *testTPM) verifyStart(key Handle, auth string, hint, context []byte) response {
	return x.cmd(TPM_CC_VerifySequenceStart, handles(key), b2([]byte(auth)), b2(hint), b2(context))
}

func (x *testTPM) verifyComplete(seq, key Handle, auth string, sig TPMT_SIGNATURE) response {
	return x.cmdS(TPM_CC_VerifySequenceComplete, handles(seq, key), pw(auth), sigBytes(sig))
}

func (x *testTPM) update(seq Handle, auth string, data []byte) response {
	return x.cmdS(TPM_CC_SequenceUpdate, handles(seq), pw(auth), b2(data))
}

// TestSignSequence signs a message in parts with keys of each type, and verifies it as a
// message, as a digest, and with a ticket for PolicyAuthorize.
func TestSignSequence(t *testing.T) {
	x := newTestTPM(t, withRSA1024)
	hash := AlgID(TPM_ALG_SHA256)
	for name, c := range map[string]struct {
		pub     TPMT_PUBLIC
		context []byte
	}{
		"ECDSA":      {eccSigner(attrsSign, TPM_ECC_NIST_P256, scheme(TPM_ALG_ECDSA, hash)), nil},
		"restricted": {akTemplate(), nil},
		"ECSCHNORR":  {eccSigner(attrsSign, TPM_ECC_NIST_P256, scheme(TPM_ALG_ECSCHNORR, hash)), nil},
		"SM2":        {eccSigner(attrsSign, TPM_ECC_SM2_P256, scheme(TPM_ALG_SM2, hash)), []byte("ALICE123@YAHOO.COM")},
		"RSASSA":     {rsa1024(attrsSign, scheme(TPM_ALG_RSASSA, hash)), nil},
		"RSAPSS":     {rsa1024(attrsSign, scheme(TPM_ALG_RSAPSS, hash)), nil},
		"HMAC":       {hmacTemplate(TPM_ALG_SHA256), nil},
	} {
		t.Run(name, func(t *testing.T) {
			key := x.createPrimaryKey(TPM_RH_OWNER, "", c.pub).handle
			defer x.flushObject(key)
			o := x.transient(key)
			seq := x.ok(x.signStart(key, "a", c.context)).handle
			x.ok(x.update(seq, "a", []byte("mess")))
			sig := x.readSignature(x.signComplete(seq, key, "a", []byte("age")))
			if x.transient(seq) != nil {
				t.Error("the sequence is still there")
			}
			start := func() Handle { return x.ok(x.verifyStart(key, "b", nil, c.context)).handle }
			seq = start()
			x.ok(x.update(seq, "b", []byte("message")))
			r := x.ok(x.verifyComplete(seq, key, "b", sig)).reader()
			k := r.ticket(TPM_ST_MESSAGE_VERIFIED)
			if r.end() != TPM_RC_SUCCESS || !x.checkTicket(&k, []byte("message"), o.name) || x.transient(seq) != nil {
				t.Errorf("ticket %+v", k)
			}
			seq = start()
			x.ok(x.update(seq, "b", []byte("massage")))
			x.unchanged(func() { x.want(x.verifyComplete(seq, key, "b", sig), TPM_RC_SIGNATURE.Param(1)) })
			x.flushObject(seq)
			if name == "HMAC" {
				if !bytes.Equal(sig.R, tpmcrypto.HMAC(hash, o.sens.Sensitive, []byte("message"))) {
					t.Error("not the HMAC of the message")
				}
				return
			}
			x.checkDigestCommands(o, key, sig, c.context)
		})
	}
}

// checkDigestCommands verifies the signature over "message" as one over a digest, and
// signs the digest.
func (x *testTPM) checkDigestCommands(o *object, key Handle, sig TPMT_SIGNATURE, id []byte) {
	x.t.Helper()
	digest := tpmcrypto.Sum(TPM_ALG_SHA256, []byte("message"))
	if sig.Alg == TPM_ALG_SM2 { // Z_A comes first
		p := tpmcrypto.GroupOf(TPM_ECC_SM2_P256).Params()
		za := h256(u16(uint16(8*len(id))), id, p.A, p.B, p.Gx, p.Gy, o.pub.X, o.pub.Y)
		digest = h256(za, []byte("message"))
	}
	verify := func(context, digest []byte, sig TPMT_SIGNATURE) response {
		return x.cmd(TPM_CC_VerifyDigestSignature, handles(key), b2(context), b2(digest), sigBytes(sig))
	}
	r := x.ok(verify(nil, digest, sig)).reader()
	k, meta := r.verified()
	if r.end() != TPM_RC_SUCCESS || k.Tag != TPM_ST_DIGEST_VERIFIED || !bytes.Equal(meta, u16(uint16(TPM_ALG_SHA256))) || !x.checkTicket(&k, digest, o.name, meta) {
		x.t.Errorf("ticket %+v, %x", k, meta)
	}
	other := sig
	other.Hash = TPM_ALG_SHA384
	x.unchanged(func() {
		x.want(verify(nil, flip(digest, 0), sig), TPM_RC_SIGNATURE.Param(3))
		x.want(verify(nil, digest[1:], sig), TPM_RC_SIZE.Param(2))
		x.want(verify([]byte{1}, digest, sig), TPM_RC_SIZE.Param(1))
		x.want(verify(nil, digest, other), TPM_RC_SCHEME.Param(3))
	})
	sign := func(context, digest, ticket []byte) response {
		return x.cmdS(TPM_CC_SignDigest, handles(key), pw(""), b2(context), b2(digest), ticket)
	}
	none := nullTicket(TPM_ST_HASHCHECK)
	if o.pub.Attributes.has(objRestricted) {
		x.want(sign(nil, digest, none), TPM_RC_TICKET.Param(3))
		h := x.ok(x.cmd(TPM_CC_Hash, b2([]byte("message")), u16(uint16(TPM_ALG_SHA256)), u32(uint32(TPM_RH_OWNER)))).reader()
		h.digest()
		none = bytes.Clone(h.b)
	}
	x.ok(verify(nil, digest, x.readSignature(sign(nil, digest, none))))
	x.want(sign([]byte{1, 2}, digest, none), TPM_RC_SIZE.Param(1))
	if !o.pub.Attributes.has(objRestricted) {
		x.want(sign(nil, digest[1:], none), TPM_RC_SIZE.Param(2))
	}
}

// TestRestrictedMessages: a restricted key signs each message that does not begin with
// TPM_GENERATED_VALUE, however it is cut, and whether the sequence goes on or was saved between.
func TestRestrictedMessages(t *testing.T) {
	x := newTestTPM(t)
	for name, tpl := range map[string]TPMT_PUBLIC{"ECDSA": akTemplate(), "ML-DSA": mldsaTemplate(set44, attrsSign|objRestricted, false)} {
		key := x.createPrimaryKey(TPM_RH_OWNER, "", tpl).handle
		for _, tt := range []struct {
			parts []string // the last one goes with the end
			ok    bool
		}{
			{[]string{""}, true},
			{[]string{"abc"}, true},
			{[]string{"a", "b", ""}, true},
			{[]string{"\xffTC"}, true},
			{[]string{"\xffT", "C"}, true},
			{[]string{"\xffTC", "H"}, true},
			{[]string{"message"}, true},
			{[]string{"a", "\xffTCG"}, true},
			{[]string{"\xffTCG"}, false},
			{[]string{"\xffTCG message", "more"}, false},
			{[]string{"\xffTC", "G"}, false},
			{[]string{"", "\xff", "", "T", "CG message", "more"}, false},
		} {
			for _, saved := range []bool{false, true} {
				seq := x.ok(x.signStart(key, "", nil)).handle
				last := len(tt.parts) - 1
				for _, p := range tt.parts[:last] {
					x.ok(x.update(seq, "", []byte(p)))
					if saved {
						c := x.saveContext(seq)
						x.flushObject(seq)
						seq = x.ok(x.loadContext(c)).handle
					}
				}
				want := RC(TPM_RC_SUCCESS)
				if !tt.ok {
					want = TPM_RC_VALUE.Param(1)
				}
				if r := x.signComplete(seq, key, "", []byte(tt.parts[last])); r.rc != want {
					t.Errorf("%s, %q, saved %v: %v, want %v", name, tt.parts, saved, r.rc, want)
				}
				x.flushObject(seq)
			}
		}
		x.drop(key)
	}
}

// TestOldSequence: a signing sequence that an older program saved with the first octets of its
// message alone is not one for a restricted key.
func TestOldSequence(t *testing.T) {
	for _, tt := range []struct {
		head    string
		version uint16
		unsafe  bool
	}{{"\xffTC", 1, true}, {"\xffTC", 2, true}, {"\xffTC", 3, false}, {"mess", 1, false}} {
		s := &sequence{kind: seqSign, started: true, headLen: len(tt.head)}
		copy(s.head[:], tt.head)
		w := writer{b: make([]byte, 0, 16)}
		a := archive{out: &w, version: 1}
		archiveHead(&a, s)
		if want := uint16(1); len(tt.head) < 4 && a.version != 3 || len(tt.head) == 4 && a.version != want {
			t.Errorf("%q is written with version %d", tt.head, a.version)
		}
		var got sequence
		got.kind = seqSign
		archiveHead(&archive{in: &reader{b: w.b}, version: tt.version}, &got)
		if got.generated([]byte("x")) != tt.unsafe {
			t.Errorf("%q of version %d: unsafe %v", tt.head, tt.version, !tt.unsafe)
		}
	}
}

// TestNullVerifiedTicket: the NULL Ticket of a digest has eight octets, and is read with a hash too.
func TestNullVerifiedTicket(t *testing.T) {
	null := TPMT_TK{Tag: TPM_ST_DIGEST_VERIFIED, Hierarchy: TPM_RH_NULL}
	if got := marshal(16, func(w *writer) { w.verifiedDigest(&null, TPM_ALG_SHA256) }); !bytes.Equal(got, hx("8027 40000007 0000")) {
		t.Errorf("written as %x", got)
	}
	x := newTestTPM(t)
	name := x.computeName(&TPMT_PUBLIC{Type: TPM_ALG_KEYEDHASH, NameAlg: TPM_ALG_SHA256, Scheme: nullScheme})
	for octets, want := range map[string]RC{
		"8022 40000007 0000":      TPM_RC_SUCCESS,
		"8026 40000007 0000":      TPM_RC_SUCCESS,
		"8027 40000007 0000":      TPM_RC_SUCCESS,
		"8027 40000007 000b 0000": TPM_RC_SUCCESS,
		"8027 40000007 000b":      TPM_RC_INSUFFICIENT.Param(4),
		"8027 40000007 0010 0000": TPM_RC_HASH.Param(4),
		"8027 40000007 00":        TPM_RC_INSUFFICIENT.Param(4),
		"8027 40000001 0000":      TPM_RC_HASH.Param(4),
		"8027 40000007 0000 00":   TPM_RC_SIZE,
	} {
		for _, kind := range []sessionKind{TPM_SE_TRIAL, TPM_SE_POLICY} {
			s := x.startSession(kind, symNull)
			rc := x.cmd(TPM_CC_PolicyAuthorize, handles(s), b2(x.policyDigest(s)), b2(nil), b2(name), hx(octets)).rc
			x.flushSession(s)
			expect := want
			if kind == TPM_SE_POLICY && want == TPM_RC_SUCCESS {
				expect = TPM_RC_VALUE.Param(4) // it proves nothing
			}
			if rc != expect {
				t.Errorf("%s, session type %d: %v, want %v", octets, kind, rc, expect)
			}
		}
	}
}

// TestSignSequenceErrors has the error tables of the five commands.
func TestSignSequenceErrors(t *testing.T) {
	x := newTestTPM(t)
	sha := scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256)
	daa := scheme(TPM_ALG_ECDAA, TPM_ALG_SHA256)
	key := x.createPrimaryKey(TPM_RH_OWNER, "", akTemplate()).handle
	other := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign, TPM_ECC_NIST_P256, sha)).handle
	open := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	storage := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	start := x.ok(x.signStart(key, "", nil)).handle
	x.unchanged(func() {
		x.want(x.signStart(storage, "", nil), TPM_RC_KEY.Handle(1))
		x.want(x.signStart(open, "", nil), TPM_RC_SCHEME.Handle(1))
		x.want(x.signStart(key, "", []byte{1}), TPM_RC_SIZE.Param(2))
		x.want(x.cmd(TPM_CC_SignSequenceStart, handles(key), b2(make([]byte, 65)), b2(nil)), TPM_RC_SIZE.Param(1))
		x.want(x.verifyStart(storage, "", nil, nil), TPM_RC_KEY.Handle(1))
		x.want(x.verifyStart(open, "", nil, nil), TPM_RC_SCHEME.Handle(1))
		x.want(x.verifyStart(key, "", []byte{1}, nil), TPM_RC_SIZE.Param(2))
		x.want(x.verifyStart(key, "", nil, []byte{1}), TPM_RC_SIZE.Param(3))
		x.want(x.signComplete(start, other, "", []byte("message")), TPM_RC_SIGN_CONTEXT_KEY.Handle(2))
		x.want(x.signComplete(start, storage, "", []byte("message")), TPM_RC_KEY.Handle(2))
		x.want(x.signComplete(start, start, "", []byte("message")), TPM_RC_KEY.Handle(2))
		x.want(x.signComplete(key, key, "", []byte("message")), TPM_RC_MODE.Handle(1))
		x.want(x.verifyComplete(start, key, "", TPMT_SIGNATURE{Alg: TPM_ALG_ECDSA, Hash: TPM_ALG_SHA256}), TPM_RC_MODE.Handle(1))
		// A restricted key signs no message that looks like an attestation.
		x.want(x.signComplete(start, key, "", []byte("\xffTCG message")), TPM_RC_VALUE.Param(1))
		x.want(x.cmdS(TPM_CC_SequenceComplete, handles(start), pw(""), b2(nil), u32(uint32(TPM_RH_NULL))), TPM_RC_MODE.Handle(1))
	})
	x.ok(x.update(start, "", []byte("\xffTC")))
	x.ok(x.update(start, "", []byte("G message")))
	x.want(x.signComplete(start, key, "", []byte("more")), TPM_RC_VALUE.Param(1))
	x.flushObject(start)
	x.flushObject(open)
	x.flushObject(storage)

	verify := x.ok(x.verifyStart(key, "", nil, nil)).handle
	sig := TPMT_SIGNATURE{Alg: TPM_ALG_ECDSA, Hash: TPM_ALG_SHA256, R: []byte{1}, S: []byte{1}}
	wrong := sig
	wrong.Hash = TPM_ALG_SHA384
	x.unchanged(func() {
		x.want(x.verifyComplete(verify, key, "", sig), TPM_RC_SIGNATURE.Param(1))
		x.want(x.verifyComplete(verify, key, "", wrong), TPM_RC_SCHEME.Param(1))
		x.want(x.verifyComplete(verify, other, "", sig), TPM_RC_SIGN_CONTEXT_KEY.Handle(2))
		x.want(x.signComplete(verify, key, "", nil), TPM_RC_MODE.Handle(1))
	})
	x.flushObject(verify)

	x509 := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign|objX509Sign, TPM_ECC_NIST_P256, sha)).handle
	mac := hmacTemplate(TPM_ALG_SHA256)
	mac.Attributes |= objRestricted
	hmac := x.createPrimaryKey(TPM_RH_OWNER, "", mac).handle
	anon := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign, TPM_ECC_BN_P256, daa)).handle
	seq := x.ok(x.signStart(x509, "", nil)).handle
	digest := func(h Handle, context []byte) response {
		return x.cmdS(TPM_CC_SignDigest, handles(h), pw(""), b2(context), b2(make([]byte, 32)), nullTicket(TPM_ST_HASHCHECK))
	}
	vdigest := func(h Handle) response {
		return x.cmd(TPM_CC_VerifyDigestSignature, handles(h), b2(nil), b2(make([]byte, 32)), sigBytes(sig))
	}
	x.unchanged(func() {
		x.want(x.signComplete(seq, x509, "", []byte("message")), TPM_RC_ATTRIBUTES.Handle(2))
		x.want(digest(x509, nil), TPM_RC_ATTRIBUTES.Handle(1))
		x.want(x.signStart(hmac, "", nil), TPM_RC_ATTRIBUTES.Handle(1))
		x.want(digest(hmac, nil), TPM_RC_SCHEME.Handle(1))
		x.want(vdigest(hmac), TPM_RC_SCHEME.Handle(1))
		x.want(vdigest(anon), TPM_RC_SCHEME.Handle(1))
		x.want(x.verifyStart(anon, "", nil, nil), TPM_RC_SCHEME.Handle(1))
		x.want(x.signStart(anon, "", nil), TPM_RC_SIZE.Param(2))
		x.want(digest(anon, nil), TPM_RC_SIZE.Param(1))
		x.want(digest(anon, []byte{0, 9}), TPM_RC_RANGE.Param(1))
	})
	// ECDAA: the context is the count; used up by the first signature.
	x.ok(x.cmdS(TPM_CC_Commit, handles(anon), pw(""), b2(join(u16(0), u16(0))), b2(nil), b2(nil)))
	x.ok(digest(anon, []byte{0, 0}))
	x.want(digest(anon, []byte{0, 0}), TPM_RC_VALUE.Param(1))
	seq = x.ok(x.signStart(anon, "", []byte{0, 0})).handle
	x.want(x.signComplete(seq, anon, "", nil), TPM_RC_VALUE.Handle(1))
}

// TestPolicyAuthorizeTickets uses the tickets of all three ways to verify.
func TestPolicyAuthorizeTickets(t *testing.T) {
	x := newTestTPM(t)
	// A scheme hash that differs from nameAlg: only the v185 tickets allow it.
	key := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign, TPM_ECC_NIST_P256, scheme(TPM_ALG_ECDSA, TPM_ALG_SHA384))).handle
	name := x.transient(key).name
	policy, ref := h256(make([]byte, 32), ccb(TPM_CC_PolicyAuthValue)), []byte("ref")
	message := join(policy, ref)
	digest := tpmcrypto.Sum(TPM_ALG_SHA384, message)
	sig := x.readSignature(x.cmdS(TPM_CC_SignDigest, handles(key), pw(""), b2(nil), b2(digest), nullTicket(TPM_ST_HASHCHECK)))
	seq := x.ok(x.verifyStart(key, "", nil, nil)).handle
	x.ok(x.update(seq, "", message))
	byMessage := x.ok(x.verifyComplete(seq, key, "", sig)).params
	byDigest := x.ok(x.cmd(TPM_CC_VerifyDigestSignature, handles(key), b2(nil), b2(digest), sigBytes(sig))).params
	old := x.ok(x.verifySig(key, digest, sig)).params
	want := h256(h256(make([]byte, 32), ccb(TPM_CC_PolicyAuthorize), name), ref)
	s := x.startSession(TPM_SE_POLICY, symNull)
	authorize := func(ref, ticket []byte) response {
		x.ok(x.cmd(TPM_CC_PolicyRestart, handles(s)))
		x.ok(x.cmd(TPM_CC_PolicyAuthValue, handles(s)))
		return x.cmd(TPM_CC_PolicyAuthorize, handles(s), b2(policy), b2(ref), b2(name), ticket)
	}
	for what, ticket := range map[string][]byte{"message": byMessage, "digest": byDigest} {
		x.ok(authorize(ref, ticket))
		if got := x.policyDigest(s); !bytes.Equal(got, want) {
			t.Errorf("%s: policyDigest %x, want %x", what, got, want)
		}
		x.want(authorize([]byte("rEf"), ticket), TPM_RC_VALUE.Param(4))
	}
	x.want(authorize(ref, old), TPM_RC_VALUE.Param(4)) // its hash is taken to be nameAlg
	mixed := bytes.Clone(byMessage)
	mixed[1] = byte(TPM_ST_VERIFIED & 0xff)
	x.want(authorize(ref, mixed), TPM_RC_VALUE.Param(4))
	x.want(authorize(ref, nullTicket(TPM_ST_HASHCHECK)), TPM_RC_TAG.Param(4))
}

// TestSignSequenceContext saves and loads sequences in the middle of a message.
func TestSignSequenceContext(t *testing.T) {
	x := newTestTPM(t)
	for name, pub := range map[string]TPMT_PUBLIC{"ECDSA": akTemplate(), "HMAC": hmacTemplate(TPM_ALG_SHA256)} {
		key := x.createPrimaryKey(TPM_RH_OWNER, "", pub).handle
		move := func(h Handle) Handle {
			ctx := bytes.Clone(x.ok(x.cmd(TPM_CC_ContextSave, handles(h))).params)
			x.flushObject(h)
			return x.ok(x.cmd(TPM_CC_ContextLoad, ctx)).handle
		}
		seq := x.ok(x.signStart(key, "a", nil)).handle
		x.ok(x.update(seq, "a", []byte("mess")))
		seq = move(seq)
		x.want(x.signComplete(seq, key, "b", []byte("age")), TPM_RC_BAD_AUTH.Session(1))
		sig := x.readSignature(x.signComplete(seq, key, "a", []byte("age")))
		seq = x.ok(x.verifyStart(key, "b", nil, nil)).handle
		x.ok(x.update(seq, "b", []byte("mess")))
		seq = move(seq)
		x.ok(x.update(seq, "b", []byte("age")))
		r := x.ok(x.verifyComplete(seq, key, "b", sig)).reader()
		if k := r.ticket(TPM_ST_MESSAGE_VERIFIED); !x.checkTicket(&k, []byte("message"), x.transient(key).name) {
			t.Errorf("%s: ticket %+v", name, k)
		}
		x.flushObject(key)
	}
}
