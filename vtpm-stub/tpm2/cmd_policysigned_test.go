package tpm2

import (
	"bytes"
	"testing"
)

// TestPolicySigned signs authorizations outside of the TPM's knowledge of them: with a key that
// happens to be in the TPM, by the formula of Part 3.
func TestPolicySigned(t *testing.T) {
	x := newTestTPM(t)
	key := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	name := x.transient(key).name
	ecdsa := scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256)
	s := x.startSession(TPM_SE_POLICY, symNull)
	nonce := bytes.Clone(x.session(s).nonceTPM.bytes())
	cp := bytes.Repeat([]byte{7}, 32)
	sign := func(nonce, cp, ref []byte, expiration int32) TPMT_SIGNATURE {
		a := h256(nonce, u32(uint32(expiration)), cp, ref)
		return x.readSignature(x.sign(key, a, ecdsa, nullTicket(TPM_ST_HASHCHECK)))
	}
	use := func(s Handle, nonce, cp, ref []byte, expiration int32, sig TPMT_SIGNATURE) response {
		return x.cmd(TPM_CC_PolicySigned, handles(key, s), b2(nonce), b2(cp), b2(ref), u32(uint32(expiration)), sigBytes(sig))
	}
	want := h256(h256(make([]byte, 32), ccb(TPM_CC_PolicySigned), name), []byte("ref"))
	none := join(b2(nil), nullTicket(TPM_ST_AUTH_SIGNED))
	for what, c := range map[string]struct {
		nonce, cp  []byte
		expiration int32
		ticket     bool
	}{
		"open":             {nil, nil, 0, false},
		"this session":     {nonce, nil, 0, false},
		"one command":      {nil, cp, 0, false},
		"for a time":       {nonce, nil, 60, false},
		"for a time, kept": {nonce, cp, -60, true},
	} {
		sig := sign(c.nonce, c.cp, []byte("ref"), c.expiration)
		r := x.ok(use(s, c.nonce, c.cp, []byte("ref"), c.expiration, sig))
		if got := x.policyDigest(s); !bytes.Equal(got, want) {
			t.Errorf("%s: digest %x, want %x", what, got, want)
		}
		if bytes.Equal(r.params, none) == c.ticket {
			t.Errorf("%s: ticket %x", what, r.params)
		}
		p := &x.session(s).policy
		if (p.binding == bindCpHash) != (c.cp != nil) || (p.timeout != 0) != (c.expiration != 0) {
			t.Errorf("%s: session %+v", what, p)
		}
		x.ok(x.cmd(TPM_CC_PolicyRestart, handles(s)))
		bad := sig
		bad.S = flip(sig.S, 5)
		x.unchanged(func() {
			x.want(use(s, c.nonce, c.cp, []byte("ref"), c.expiration, bad), TPM_RC_SIGNATURE.Param(5))
			x.want(use(s, c.nonce, c.cp, []byte("fer"), c.expiration, sig), TPM_RC_SIGNATURE.Param(5))
		})
	}
	// The ticket stands for the signature.
	r := x.ok(use(s, nonce, nil, []byte("ref"), -60, sign(nonce, nil, []byte("ref"), -60))).reader()
	timeout, ticket := bytes.Clone(r.b2(8)), bytes.Clone(r.b)
	s2 := x.startSession(TPM_SE_POLICY, symNull)
	x.ok(x.cmd(TPM_CC_PolicyTicket, handles(s2), b2(timeout), b2(nil), b2([]byte("ref")), b2(name), ticket))
	if got := x.policyDigest(s2); !bytes.Equal(got, want) {
		t.Errorf("digest by ticket %x, want %x", got, want)
	}
	x.ok(x.cmd(TPM_CC_PolicyRestart, handles(s)))
	sig := sign(nil, nil, nil, 0)
	mac := TPMT_SIGNATURE{Alg: TPM_ALG_HMAC, Hash: TPM_ALG_SHA256, R: make([]byte, 32)}
	x.unchanged(func() {
		x.want(use(s, cp[:16], nil, nil, 0, sig), TPM_RC_NONCE.Param(1))
		x.want(use(s, nil, cp[:20], nil, 0, sig), TPM_RC_SIZE.Param(2))
		x.want(use(s, nil, nil, nil, 0, mac), TPM_RC_SCHEME.Param(5))
		x.want(x.cmd(TPM_CC_PolicySigned, handles(key, s), b2(nil), b2(nil), b2(nil), u32(0), u16(uint16(TPM_ALG_NULL))), TPM_RC_SCHEME.Param(5))
	})
	x.now += 61_000
	x.want(use(s, nonce, nil, nil, 60, sign(nonce, nil, nil, 60)), TPM_RC_EXPIRED.Param(4))
	// A trial session takes any signature.
	trial := x.startSession(TPM_SE_TRIAL, symNull)
	x.ok(use(trial, nil, nil, []byte("ref"), -60, mac))
	if got := x.policyDigest(trial); !bytes.Equal(got, want) {
		t.Errorf("digest of a trial %x, want %x", got, want)
	}
}

// TestPolicySignedHMAC authorizes with an HMAC key.
func TestPolicySignedHMAC(t *testing.T) {
	x := newTestTPM(t)
	key := x.keyWith(hmacTemplate(TPM_ALG_SHA256), []byte("key"))
	s := x.startSession(TPM_SE_POLICY, symNull)
	sig := x.readSignature(x.sign(key, h256(u32(0)), nullScheme, nullTicket(TPM_ST_HASHCHECK)))
	x.ok(x.cmd(TPM_CC_PolicySigned, handles(key, s), b2(nil), b2(nil), b2(nil), u32(0), sigBytes(sig)))
	if got, want := x.policyDigest(s), h256(h256(make([]byte, 32), ccb(TPM_CC_PolicySigned), x.transient(key).name)); !bytes.Equal(got, want) {
		t.Errorf("digest %x, want %x", got, want)
	}
}
