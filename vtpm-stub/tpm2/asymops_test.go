package tpm2

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

const attrsDecrypt = objFixedTPM | objFixedParent | objSensitiveDataOrigin | objUserWithAuth | objNoDA | objDecrypt

func decryptBytes(s TPMT_SCHEME) []byte { return schemeBytes(s) }

func pointBytes(p tpmcrypto.Point) []byte { return b2(join(b2(p.X), b2(p.Y))) }

// point reads a TPM2B_ECC_POINT of a curve.
func (x *testTPM) point(g *tpmcrypto.Group, r *reader) tpmcrypto.Point {
	x.t.Helper()
	p := r.eccPoint2B()
	if len(p.X) == 0 && len(p.Y) == 0 && r.rc == TPM_RC_SUCCESS {
		return tpmcrypto.Point{}
	}
	if len(p.X) != g.Size() || len(p.Y) != g.Size() {
		x.t.Fatalf("coordinates of %d and %d octets", len(p.X), len(p.Y))
	}
	q, rc := onCurve(g, p)
	if r.rc != TPM_RC_SUCCESS || rc != TPM_RC_SUCCESS {
		x.t.Fatalf("point: %v %v", r.rc, rc)
	}
	return q
}

// TestRSA encrypts and decrypts with each padding, named by the caller or by the key, and
// against crypto/rsa.
func TestRSA(t *testing.T) {
	x := newTestTPM(t, withRSA1024)
	oaep, rsaes := scheme(TPM_ALG_OAEP, TPM_ALG_SHA256), TPMT_SCHEME{Scheme: TPM_ALG_RSAES, Hash: TPM_ALG_NULL}
	label := []byte("label\x00")
	enc := func(h Handle, m []byte, s TPMT_SCHEME, label []byte) response {
		return x.cmd(TPM_CC_RSA_Encrypt, handles(h), b2(m), decryptBytes(s), b2(label))
	}
	dec := func(h Handle, c []byte, s TPMT_SCHEME, label []byte) response {
		return x.cmdS(TPM_CC_RSA_Decrypt, handles(h), pw(""), b2(c), decryptBytes(s), b2(label))
	}
	for _, own := range []TPMT_SCHEME{nullScheme, oaep, rsaes} {
		h := x.createPrimaryKey(TPM_RH_OWNER, "", rsa1024(attrsDecrypt, own)).handle
		for _, in := range []TPMT_SCHEME{nullScheme, oaep, rsaes} {
			m := []byte("message")
			used, fits := in, own.Scheme == TPM_ALG_NULL || in.Scheme == TPM_ALG_NULL || in == own
			if in.Scheme == TPM_ALG_NULL {
				used = own
			}
			if !fits {
				x.want(enc(h, m, in, nil), TPM_RC_SCHEME.Param(2))
				x.want(dec(h, make([]byte, 128), in, nil), TPM_RC_SCHEME.Param(2))
				continue
			}
			c := bytes.Clone(x.ok(enc(h, m, in, label)).reader().b2(128))
			if used.Scheme == TPM_ALG_NULL {
				m = append(make([]byte, 128-len(m)), m...) // raw RSA gives the modulus' size
			}
			if got := x.ok(dec(h, c, in, label)).reader().b2(128); !bytes.Equal(got, m) {
				t.Errorf("%x with %x: %q", own.Scheme, in.Scheme, got)
			}
			if used.Scheme == TPM_ALG_OAEP {
				x.want(dec(h, c, in, []byte("other\x00")), TPM_RC_VALUE.Param(1))
			}
			if used.Scheme != TPM_ALG_NULL {
				x.want(dec(h, flip(c, 5), in, label), TPM_RC_VALUE.Param(1))
			}
		}
		x.flushObject(h)
	}
	h := x.createPrimaryKey(TPM_RH_OWNER, "", rsa1024(attrsDecrypt, nullScheme)).handle
	c, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, x.goPublic(h).(*rsa.PublicKey), []byte("from outside"), label)
	if err != nil {
		t.Fatal(err)
	}
	if got := x.ok(dec(h, c, oaep, label)).reader().b2(128); string(got) != "from outside" {
		t.Errorf("OAEP of crypto/rsa: %q", got)
	}
	sign := x.createPrimaryKey(TPM_RH_OWNER, "", rsa1024(attrsSign, scheme(TPM_ALG_RSASSA, TPM_ALG_SHA256))).handle
	storage := x.createPrimaryKey(TPM_RH_OWNER, "", rsa1024(attrsStorage, nullScheme)).handle
	ecc := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsDecrypt)).handle
	mod := x.transient(h).pub.Unique
	x.unchanged(func() {
		x.want(enc(ecc, nil, oaep, nil), TPM_RC_KEY.Handle(1))
		x.want(dec(ecc, nil, oaep, nil), TPM_RC_KEY.Handle(1))
		x.want(dec(sign, c, nullScheme, nil), TPM_RC_ATTRIBUTES.Handle(1))
		x.want(dec(storage, c, oaep, nil), TPM_RC_ATTRIBUTES.Handle(1))
		x.want(enc(sign, nil, nullScheme, nil), TPM_RC_SCHEME.Param(2))
		x.want(enc(h, nil, scheme(TPM_ALG_RSASSA, TPM_ALG_SHA256), nil), TPM_RC_VALUE.Param(2))
		x.want(enc(h, make([]byte, 128-64-1), oaep, nil), TPM_RC_VALUE.Param(1))
		x.want(enc(h, make([]byte, 118), rsaes, nil), TPM_RC_VALUE.Param(1))
		x.want(enc(h, mod, nullScheme, nil), TPM_RC_VALUE.Param(1))
		x.want(enc(h, make([]byte, 513), nullScheme, nil), TPM_RC_SIZE.Param(1))
		x.want(enc(h, nil, nullScheme, []byte("label")), TPM_RC_VALUE.Param(3))
		x.want(dec(h, c, oaep, []byte("label")), TPM_RC_VALUE.Param(3))
		x.want(dec(h, c[1:], oaep, nil), TPM_RC_SIZE.Param(1))
		x.want(dec(h, mod, nullScheme, nil), TPM_RC_VALUE.Param(1))
	})
	x.ok(enc(storage, []byte("x"), oaep, nil)) // attributes do not matter
}

func TestECDH(t *testing.T) {
	x := profiled(t, ProfileOwn)
	for _, curve := range x.offer.eccCurves() {
		g := tpmcrypto.GroupOf(curve)
		h := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsDecrypt, curve, nullScheme)).handle
		r := x.ok(x.cmd(TPM_CC_ECDH_KeyGen, handles(h))).reader()
		z, q := x.point(g, r), x.point(g, r)
		in := x.ok(x.cmdS(TPM_CC_ECDH_ZGen, handles(h), pw(""), pointBytes(q))).reader()
		if !x.point(g, in).Equal(z) || in.end() != TPM_RC_SUCCESS || r.end() != TPM_RC_SUCCESS {
			t.Errorf("%s: the ends differ", g.Name())
		}
		x.flushObject(h)
	}
	g := tpmcrypto.GroupOf(TPM_ECC_NIST_P256)
	G := g.Generator()
	off := tpmcrypto.Point{X: G.X, Y: flip(G.Y, 31)}
	sha := func(a AlgID) TPMT_SCHEME { return scheme(a, TPM_ALG_SHA256) }
	h := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsDecrypt, TPM_ECC_NIST_P256, sha(TPM_ALG_ECDH))).handle
	mqv := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsDecrypt, TPM_ECC_NIST_P256, sha(TPM_ALG_ECMQV))).handle
	storage := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	sign := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	mac := x.keyWith(hmacTemplate(TPM_ALG_SHA256), []byte("key"))
	zgen := func(h Handle, p []byte) response { return x.cmdS(TPM_CC_ECDH_ZGen, handles(h), pw(""), p) }
	x.unchanged(func() {
		x.ok(zgen(h, pointBytes(G)))
		x.want(x.cmd(TPM_CC_ECDH_KeyGen, handles(mac)), TPM_RC_KEY.Handle(1))
		x.want(zgen(mac, pointBytes(G)), TPM_RC_KEY.Handle(1))
		x.want(zgen(storage, pointBytes(G)), TPM_RC_ATTRIBUTES.Handle(1))
		x.want(zgen(sign, pointBytes(G)), TPM_RC_ATTRIBUTES.Handle(1))
		x.want(zgen(mqv, pointBytes(G)), TPM_RC_SCHEME.Handle(1))
		x.want(zgen(h, pointBytes(off)), TPM_RC_ECC_POINT.Param(1))
		x.want(zgen(h, pointBytes(tpmcrypto.Point{})), TPM_RC_ECC_POINT.Param(1))
		x.want(zgen(h, b2(nil)), TPM_RC_INSUFFICIENT.Param(1))
		x.want(zgen(h, b2(join(b2(make([]byte, maxECCBytes+1)), b2(nil)))), TPM_RC_SIZE.Param(1))
	})
}

// TestZGen2Phase plays both parties: A in the TPM, B here with the formulas of Part 1.
func TestZGen2Phase(t *testing.T) {
	x := newTestTPM(t)
	for _, curve := range []ECCCurve{TPM_ECC_NIST_P256, TPM_ECC_NIST_P521, TPM_ECC_SM2_P256} {
		g := tpmcrypto.GroupOf(curve)
		h := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsDecrypt, curve, nullScheme)).handle
		o := x.transient(h)
		qsA, _ := g.Point(o.pub.X, o.pub.Y)
		for _, alg := range []AlgID{TPM_ALG_ECDH, TPM_ALG_ECMQV, TPM_ALG_SM2} {
			r := x.ok(x.cmd(TPM_CC_EC_Ephemeral, u16(uint16(curve)))).reader()
			qeA := x.point(g, r)
			counter := r.u16()
			sB, _ := tpmcrypto.GenerateECC(curve, rng{x.TPM})
			eB, _ := tpmcrypto.GenerateECC(curve, rng{x.TPM})
			params := join(pointBytes(sB.Public().Point()), pointBytes(eB.Public().Point()), u16(uint16(alg)), u16(counter))
			in := x.ok(x.cmdS(TPM_CC_ZGen_2Phase, handles(h), pw(""), params)).reader()
			z1, z2 := x.point(g, in), x.point(g, in)
			w1, w2, err := exchange(sB, alg, eB.Private(), qsA, qeA)
			if err != nil || !z1.Equal(w1) || !z2.Equal(w2) || in.end() != TPM_RC_SUCCESS {
				t.Errorf("%s, %x: the parties differ (%v)", g.Name(), alg, err)
			}
			x.unchanged(func() {
				x.want(x.cmdS(TPM_CC_ZGen_2Phase, handles(h), pw(""), params), TPM_RC_VALUE.Param(4))
			})
		}
		x.flushObject(h)
	}
}

func TestZGen2PhaseErrors(t *testing.T) {
	x := newTestTPM(t)
	g := tpmcrypto.GroupOf(TPM_ECC_NIST_P256)
	G := g.Generator()
	off := tpmcrypto.Point{X: G.X, Y: flip(G.Y, 31)}
	mqv := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsDecrypt, TPM_ECC_NIST_P256, scheme(TPM_ALG_ECMQV, TPM_ALG_SHA256))).handle
	sign := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	mac := x.keyWith(hmacTemplate(TPM_ALG_SHA256), []byte("key"))
	r := x.ok(x.cmd(TPM_CC_EC_Ephemeral, u16(uint16(TPM_ECC_NIST_P256)))).reader()
	x.point(g, r)
	counter := r.u16()
	other := x.ok(x.cmd(TPM_CC_EC_Ephemeral, u16(uint16(TPM_ECC_NIST_P384))))
	if len(other.params) == 0 {
		t.Fatal("no point")
	}
	zgen := func(h Handle, s, e tpmcrypto.Point, alg AlgID, counter uint16) response {
		return x.cmdS(TPM_CC_ZGen_2Phase, handles(h), pw(""), pointBytes(s), pointBytes(e), u16(uint16(alg)), u16(counter))
	}
	x.unchanged(func() {
		x.want(zgen(mac, G, G, TPM_ALG_ECMQV, counter), TPM_RC_KEY.Handle(1))
		x.want(zgen(sign, G, G, TPM_ALG_ECMQV, counter), TPM_RC_ATTRIBUTES.Handle(1))
		x.want(zgen(mqv, off, G, TPM_ALG_ECMQV, counter), TPM_RC_ECC_POINT.Param(1))
		x.want(zgen(mqv, G, off, TPM_ALG_ECMQV, counter), TPM_RC_ECC_POINT.Param(2))
		x.want(zgen(mqv, G, G, TPM_ALG_ECDH, counter), TPM_RC_SCHEME.Param(3))
		x.want(zgen(mqv, G, G, TPM_ALG_ECDSA, counter), TPM_RC_SCHEME.Param(3))
		x.want(zgen(mqv, G, G, TPM_ALG_NULL, counter), TPM_RC_SCHEME.Param(3))
		x.want(zgen(mqv, G, G, TPM_ALG_ECMQV, counter+2), TPM_RC_RANGE.Param(4))
		x.want(x.cmd(TPM_CC_EC_Ephemeral, u16(uint16(TPM_ECC_NIST_P192))), TPM_RC_CURVE.Param(1))
	})
}

// TestCommit checks the points of a commit, the window of pending values and their loss.
func TestCommit(t *testing.T) {
	x := newTestTPM(t)
	daa := scheme(TPM_ALG_ECDAA, TPM_ALG_SHA256)
	key := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign, TPM_ECC_BN_P256, daa)).handle
	g := tpmcrypto.GroupOf(TPM_ECC_BN_P256)
	G, empty := g.Generator(), tpmcrypto.Point{}
	commit := func(p tpmcrypto.Point, s2, y2 []byte) response {
		return x.cmdS(TPM_CC_Commit, handles(key), pw(""), pointBytes(p), b2(s2), b2(y2))
	}
	// A base point that the caller knows how to find: try s2 until y exists. For y2 the
	// generator's is of no use, so take the x of a hash and look for y by square root.
	s2, base := basePoint(t, g)
	r := x.ok(commit(G, s2, base.Y)).reader()
	K, L, E, count := x.point(g, r), x.point(g, r), x.point(g, r), r.u16()
	if r.end() != TPM_RC_SUCCESS || count != 0 {
		t.Errorf("counter %d, %v", count, r.end())
	}
	d := x.transient(key).sens.Sensitive
	scalar, _ := g.CommitScalar(commitHash, x.sr.commitNonce[:], x.transient(key).name, 0)
	mul := func(k []byte, p tpmcrypto.Point) tpmcrypto.Point {
		q, err := g.Mul(k, p)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	if !K.Equal(mul(d, base)) || !L.Equal(mul(scalar, base)) || !E.Equal(mul(scalar, G)) {
		t.Error("K, L or E is wrong")
	}
	r = x.ok(commit(empty, nil, nil)).reader()
	if !x.point(g, r).IsInfinity() || !x.point(g, r).IsInfinity() || x.point(g, r).IsInfinity() || r.u16() != 1 {
		t.Error("without points only E is there")
	}
	open := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	mac := x.keyWith(hmacTemplate(TPM_ALG_SHA256), []byte("key"))
	off := tpmcrypto.Point{X: G.X, Y: flip(G.Y, 31)}
	x.unchanged(func() {
		x.want(commit(off, nil, nil), TPM_RC_ECC_POINT.Param(1))
		x.want(commit(G, s2, flip(base.Y, 31)), TPM_RC_ECC_POINT.Param(2))
		x.want(commit(G, s2, nil), TPM_RC_SIZE.Param(3))
		x.want(commit(G, nil, base.Y), TPM_RC_SIZE.Param(3))
		x.want(x.cmdS(TPM_CC_Commit, handles(open), pw(""), pointBytes(G), b2(nil), b2(nil)), TPM_RC_SCHEME.Handle(1))
		x.want(x.cmdS(TPM_CC_Commit, handles(mac), pw(""), pointBytes(G), b2(nil), b2(nil)), TPM_RC_KEY.Handle(1))
		x.want(x.cmdS(TPM_CC_Commit, handles(key), pw(""), b2(nil), b2(nil), b2(nil)), TPM_RC_INSUFFICIENT.Param(1))
	})
	sign := func(count uint16) RC {
		s := daa
		s.Count = count
		return x.sign(key, make([]byte, 32), s, nullTicket(TPM_ST_HASHCHECK)).rc
	}
	if rc := sign(0); rc != TPM_RC_SUCCESS {
		t.Errorf("signing: %v", rc)
	}
	for range maxCommits - 2 { // value 1 is the oldest that is left
		x.ok(commit(empty, nil, nil))
	}
	x.ok(x.cmd(TPM_CC_EC_Ephemeral, u16(uint16(TPM_ECC_NIST_P256)))) // counts too
	for count, want := range map[uint16]RC{1: TPM_RC_RANGE.Param(2), 129: TPM_RC_RANGE.Param(2), 0xfff0: TPM_RC_RANGE.Param(2), 2: 0} {
		if rc := sign(count); rc != want {
			t.Errorf("count %d: %v, want %v", count, rc, want)
		}
	}
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_CLEAR)))
	x.reboot()
	x.start(TPM_SU_CLEAR)
	if x.sr.commitCounter != 0 || x.sr.commitArray != [16]byte{} {
		t.Error("values are pending after TPM Reset")
	}
}

// basePoint finds s2 whose hash is the x of a point.
func basePoint(t *testing.T, g *tpmcrypto.Group) ([]byte, tpmcrypto.Point) {
	t.Helper()
	p, b := bigInt(g.Params().P), bigInt(g.Params().B)
	a := bigInt(g.Params().A)
	for i := byte(0); ; i++ {
		s2 := []byte{i}
		px := bigInt(tpmcrypto.Sum(TPM_ALG_SHA256, s2))
		px.Mod(px, p)
		y := bigInt(nil)
		y.Mul(px, px).Add(y, a).Mul(y, px).Add(y, b).Mod(y, p)
		if y.ModSqrt(y, p) != nil {
			q, err := g.Point(px.Bytes(), y.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			return s2, q
		}
	}
}

func TestECCEncrypt(t *testing.T) {
	x := newTestTPM(t)
	kdf2 := scheme(TPM_ALG_KDF2, TPM_ALG_SHA256)
	for _, curve := range []ECCCurve{TPM_ECC_NIST_P256, TPM_ECC_NIST_P521, TPM_ECC_SM2_P256} {
		g := tpmcrypto.GroupOf(curve)
		h := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsDecrypt, curve, nullScheme)).handle
		for _, n := range []int{0, 1, 32, 100, 1024} {
			m := bytes.Repeat([]byte("m"), n)
			r := x.ok(x.cmd(TPM_CC_ECC_Encrypt, handles(h), b2(m), schemeBytes(kdf2))).reader()
			c1, c2, c3 := x.point(g, r), bytes.Clone(r.maxBuffer()), bytes.Clone(r.digest())
			if r.end() != TPM_RC_SUCCESS || n > 20 && bytes.Equal(c2, m) {
				t.Errorf("%d octets: %v", n, r.end())
			}
			dec := func(c2, c3 []byte) response {
				return x.cmdS(TPM_CC_ECC_Decrypt, handles(h), pw(""), pointBytes(c1), b2(c2), b2(c3), schemeBytes(kdf2))
			}
			if got := x.ok(dec(c2, c3)).reader().maxBuffer(); !bytes.Equal(got, m) {
				t.Errorf("%d octets: %q", n, got)
			}
			x.want(dec(c2, flip(c3, 0)), TPM_RC_VALUE.Param(3))
			if n > 0 {
				x.want(dec(flip(c2, n-1), c3), TPM_RC_VALUE.Param(3))
			}
			// Independently: KDF2 of the shared point, and the digest around the message.
			z := mustECDH(t, x.transient(h), c1)
			var stream []byte
			for i := byte(1); len(stream) < n; i++ {
				stream = append(stream, tpmcrypto.Sum(TPM_ALG_SHA256, z.X, z.Y, []byte{0, 0, 0, i})...)
			}
			for i := range c2 {
				if c2[i]^stream[i] != 'm' {
					t.Fatalf("octet %d is not masked by KDF2", i)
				}
			}
			if !bytes.Equal(c3, tpmcrypto.Sum(TPM_ALG_SHA256, z.X, m, z.Y)) {
				t.Error("C3 is not the digest of x2, M, y2")
			}
		}
		x.flushObject(h)
	}
	h := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsDecrypt)).handle
	ecdh := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsDecrypt, TPM_ECC_NIST_P256, scheme(TPM_ALG_ECDH, TPM_ALG_SHA256))).handle
	storage := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	mac := x.keyWith(hmacTemplate(TPM_ALG_SHA256), []byte("key"))
	G := tpmcrypto.GroupOf(TPM_ECC_NIST_P256).Generator()
	off := tpmcrypto.Point{X: G.X, Y: flip(G.Y, 0)}
	enc := func(h Handle, s TPMT_SCHEME) response {
		return x.cmd(TPM_CC_ECC_Encrypt, handles(h), b2(nil), schemeBytes(s))
	}
	dec := func(h Handle, p tpmcrypto.Point, s TPMT_SCHEME) response {
		return x.cmdS(TPM_CC_ECC_Decrypt, handles(h), pw(""), pointBytes(p), b2(nil), b2(nil), schemeBytes(s))
	}
	x.unchanged(func() {
		x.want(enc(mac, kdf2), TPM_RC_KEY.Handle(1))
		x.want(enc(h, nullScheme), TPM_RC_SCHEME.Param(2))
		x.want(enc(ecdh, kdf2), TPM_RC_SCHEME.Param(2))
		x.want(dec(mac, G, kdf2), TPM_RC_KEY.Handle(1))
		x.want(dec(storage, G, kdf2), TPM_RC_ATTRIBUTES.Handle(1))
		x.want(dec(h, G, scheme(TPM_ALG_MGF1, TPM_ALG_SHA256)), TPM_RC_SCHEME.Param(4))
		x.want(dec(h, off, kdf2), TPM_RC_ECC_POINT.Param(1))
		x.want(dec(h, G, kdf2), TPM_RC_VALUE.Param(3))
	})
}

func mustECDH(t *testing.T, o *object, p tpmcrypto.Point) tpmcrypto.Point {
	t.Helper()
	k, rc := o.eccKey()
	if rc != TPM_RC_SUCCESS {
		t.Fatal(rc)
	}
	z, err := k.ECDH(p)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestECCParameters(t *testing.T) {
	x := newTestTPM(t)
	for _, curve := range x.offer.eccCurves() {
		r := x.ok(x.cmd(TPM_CC_ECC_Parameters, u16(uint16(curve)))).reader()
		g := tpmcrypto.GroupOf(curve)
		if ECCCurve(r.u16()) != curve || int(r.u16()) != g.OrderBits() {
			t.Errorf("%s: curve or size", g.Name())
		}
		kdf := r.kdfScheme()
		if sign := r.sigScheme(); sign.Scheme != TPM_ALG_NULL || kdf != curveKDF(curve) {
			t.Errorf("%s: %+v %+v", g.Name(), kdf, sign)
		}
		p, a, b, gx, gy := bigInt(r.b2(66)), bigInt(r.b2(66)), bigInt(r.b2(66)), r.b2(66), r.b2(66)
		n, h := bigInt(r.b2(66)), r.b2(66)
		if r.end() != TPM_RC_SUCCESS || len(gx) != g.Size() || len(gy) != g.Size() {
			t.Fatalf("%s: %v", g.Name(), r.end())
		}
		// y^2 = x^3 + ax + b for the generator, and the order is prime.
		gX, gY := bigInt(gx), bigInt(gy)
		left := bigInt(nil).Mul(gY, gY)
		right := bigInt(nil).Mul(gX, gX)
		right.Add(right, a).Mul(right, gX).Add(right, b)
		if left.Sub(left, right).Mod(left, p).Sign() != 0 || !n.ProbablyPrime(10) || !bytes.Equal(h, []byte{1}) {
			t.Errorf("%s: the parameters are not those of a curve of prime order", g.Name())
		}
	}
	x.want(x.cmd(TPM_CC_ECC_Parameters, u16(uint16(TPM_ECC_NIST_P192))), TPM_RC_CURVE.Param(1))
	x.want(x.cmd(TPM_CC_ECC_Parameters, u16(uint16(TPM_ECC_NONE))), TPM_RC_CURVE.Param(1))
}

func TestTestParms(t *testing.T) {
	x := newTestTPM(t)
	parms := func(p TPMT_PUBLIC) []byte {
		return marshal(64, func(w *writer) { w.alg(p.Type); w.publicParms(&p) })
	}
	bits := func(n uint16, e uint32) TPMT_PUBLIC {
		p := rsa1024(attrsSign, nullScheme)
		p.KeyBits, p.Exponent = n, e
		return p
	}
	for name, c := range map[string]struct {
		p  []byte
		rc RC
	}{
		"ECC":           {parms(eccTemplate(attrsStorage)), 0},
		"HMAC":          {parms(hmacTemplate(TPM_ALG_SHA256)), 0},
		"AES":           {parms(aesTemplate(TPM_ALG_CFB, objDecrypt)), 0},
		"RSA 2048":      {parms(bits(2048, 0)), 0},
		"RSA 3072":      {parms(bits(3072, 65537)), 0},
		"RSA 1024":      {parms(bits(1024, 0)), TPM_RC_VALUE.Param(1)},
		"RSA 2047":      {parms(bits(2047, 0)), TPM_RC_VALUE.Param(1)},
		"even exponent": {parms(bits(2048, 4)), TPM_RC_VALUE.Param(1)},
		"curve":         {parms(eccSigner(attrsSign, TPM_ECC_NIST_P192, nullScheme)), TPM_RC_CURVE.Param(1)},
		"hash":          {parms(eccSigner(attrsSign, TPM_ECC_NIST_P256, scheme(TPM_ALG_ECDSA, TPM_ALG_SM3_256))), TPM_RC_HASH.Param(1)},
		"scheme":        {parms(eccSigner(attrsSign, TPM_ECC_NIST_P256, scheme(TPM_ALG_RSASSA, TPM_ALG_SHA256))), TPM_RC_SCHEME.Param(1)},
		"cipher":        {join(u16(uint16(TPM_ALG_SYMCIPHER)), u16(uint16(TPM_ALG_SM4)), u16(128), u16(uint16(TPM_ALG_CFB))), TPM_RC_SYMMETRIC.Param(1)},
		"key size":      {join(u16(uint16(TPM_ALG_SYMCIPHER)), u16(uint16(TPM_ALG_AES)), u16(100), u16(uint16(TPM_ALG_CFB))), TPM_RC_VALUE.Param(1)},
		"type":          {u16(uint16(TPM_ALG_AES)), TPM_RC_TYPE.Param(1)},
		"left over":     {append(parms(eccTemplate(attrsSign)), 0), TPM_RC_SIZE},
		"too short":     {parms(eccTemplate(attrsSign))[:5], TPM_RC_INSUFFICIENT.Param(1)},
	} {
		x.unchanged(func() {
			if r := x.cmd(TPM_CC_TestParms, c.p); r.rc != c.rc {
				t.Errorf("%s: %v, want %v", name, r.rc, c.rc)
			}
		})
	}
}
