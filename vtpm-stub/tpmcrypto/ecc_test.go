package tpmcrypto

import (
	"bytes"
	"crypto/rand"
	"math/big"
	"testing"
)

func newECC(t testing.TB, c Curve) *ECCPrivateKey {
	t.Helper()
	k, err := GenerateECC(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// signers runs every scheme: sign, verify.
var signers = map[string]struct {
	sign   func(k *ECCPrivateKey, d []byte) (ECSignature, error)
	verify func(k *ECCPublicKey, d []byte, s ECSignature) error
	sm2    bool
}{
	"ECDSA": {
		func(k *ECCPrivateKey, d []byte) (ECSignature, error) { return k.SignECDSA(rand.Reader, d) },
		func(k *ECCPublicKey, d []byte, s ECSignature) error { return k.VerifyECDSA(d, s) }, false},
	"own ECDSA": {
		func(k *ECCPrivateKey, d []byte) (ECSignature, error) {
			own := *k
			own.std, own.pub.std = nil, nil
			return own.SignECDSA(rand.Reader, d)
		},
		func(k *ECCPublicKey, d []byte, s ECSignature) error { return k.VerifyECDSA(d, s) }, false},
	"Schnorr": {
		func(k *ECCPrivateKey, d []byte) (ECSignature, error) {
			return k.SignSchnorr(rand.Reader, AlgSHA256, d)
		},
		func(k *ECCPublicKey, d []byte, s ECSignature) error { return k.VerifySchnorr(AlgSHA256, d, s) }, false},
	"Schnorr SHA-512": {
		func(k *ECCPrivateKey, d []byte) (ECSignature, error) {
			return k.SignSchnorr(rand.Reader, AlgSHA512, d)
		},
		func(k *ECCPublicKey, d []byte, s ECSignature) error { return k.VerifySchnorr(AlgSHA512, d, s) }, false},
	"SM2": {
		func(k *ECCPrivateKey, d []byte) (ECSignature, error) { return k.SignSM2(rand.Reader, d) },
		func(k *ECCPublicKey, d []byte, s ECSignature) error { return k.VerifySM2(d, s) }, true},
}

func TestECSignatures(t *testing.T) {
	for name, s := range signers {
		for _, c := range Curves() {
			if s.sm2 && c != CurveSM2 {
				continue
			}
			k, other := newECC(t, c), newECC(t, c)
			for _, n := range []int{20, 32, 64} {
				d := fill(0xa5, n)
				sig, err := s.sign(k, d)
				if err != nil {
					t.Fatal(name, c, err)
				}
				if err := s.verify(k.Public(), d, sig); err != nil {
					t.Fatalf("%s %#x, digest of %d: %v", name, c, n, err)
				}
				zero, order := make([]byte, k.pub.g.OrderSize()), k.pub.g.params.N
				bad := fill(0xa5, n)
				bad[0] ^= 1
				for what, err := range map[string]error{
					"digest":  s.verify(k.Public(), bad, sig),
					"key":     s.verify(other.Public(), d, sig),
					"swapped": s.verify(k.Public(), d, ECSignature{sig.S, sig.R}),
					"zero s":  s.verify(k.Public(), d, ECSignature{sig.R, zero}),
					"zero r":  s.verify(k.Public(), d, ECSignature{zero, sig.S}),
					"s = n":   s.verify(k.Public(), d, ECSignature{sig.R, order}),
					"empty":   s.verify(k.Public(), d, ECSignature{}),
					"long":    s.verify(k.Public(), d, ECSignature{sig.R, append(fill(1, 200), sig.S...)}),
				} {
					if err != ErrSignature {
						t.Errorf("%s %#x: %s: %v", name, c, what, err)
					}
				}
			}
		}
	}
	if _, err := newECC(t, CurveP256).SignSM2(rand.Reader, make([]byte, 32)); err != ErrCurve {
		t.Error("SM2 on P-256:", err)
	}
}

// GB/T 32918.2 as repeated in draft-shen-sm2-ecdsa appendix uses SM3; the
// arithmetic can be checked with its digest e (recommended curve example of
// GB/T 32918.5 A.2).
func TestSM2Vector(t *testing.T) {
	k, err := NewECCPrivateKey(CurveSM2, unhex(t, "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"))
	if err != nil {
		t.Fatal(err)
	}
	q := k.Public().Point()
	if !bytes.Equal(q.X, unhex(t, "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020")) ||
		!bytes.Equal(q.Y, unhex(t, "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13")) {
		t.Fatalf("public key %x", q)
	}
	e := unhex(t, "f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640")
	sig := ECSignature{
		unhex(t, "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"),
		unhex(t, "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"),
	}
	if err := k.Public().VerifySM2(e, sig); err != nil {
		t.Fatal(err)
	}
}

func TestECDAAEquation(t *testing.T) {
	for _, c := range Curves() {
		k := newECC(t, c)
		g := k.pub.g
		r, err := g.CommitScalar(AlgSHA256, fill(1, 32), []byte("name"), 41)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := k.SignECDAA(rand.Reader, AlgSHA256, r, []byte("value to sign"))
		if err != nil {
			t.Fatal(err)
		}
		n := new(big.Int).SetBytes(g.params.N)
		tt := new(big.Int).SetBytes(Sum(AlgSHA256, sig.R, []byte("value to sign")))
		tt.Mul(tt, new(big.Int).SetBytes(k.d)).Add(tt, new(big.Int).SetBytes(r)).Mod(tt, n)
		if tt.Cmp(new(big.Int).SetBytes(sig.S)) != 0 {
			t.Errorf("%#x: s != r + H(k||P) d", c)
		}
		if _, err := k.SignECDAA(rand.Reader, AlgSHA256, g.params.N, nil); err != ErrValue {
			t.Errorf("%#x: commit value out of range: %v", c, err)
		}
	}
}

func TestCommit(t *testing.T) {
	for _, c := range Curves() {
		k := newECC(t, c)
		g := k.pub.g
		r, err := g.CommitScalar(AlgSHA256, fill(1, 32), []byte("name"), 1)
		if err != nil {
			t.Fatal(err)
		}
		other, _ := g.CommitScalar(AlgSHA256, fill(1, 32), []byte("name"), 2)
		if bytes.Equal(r, other) {
			t.Fatal("two counters give the same value")
		}
		// Find an s2 whose hash is an x-coordinate: by its y from [d]G this
		// needs a square root, so use the group law: E with p1 only.
		p1 := newECC(t, c).Public().Point()
		_, _, e, err := k.Commit(r, p1, Point{})
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := g.Mul(r, p1); !e.Equal(want) {
			t.Errorf("%#x: E", c)
		}
		kp, l, e, err := k.Commit(r, Point{}, p1)
		if err != nil || !e.IsInfinity() {
			t.Fatal(err)
		}
		if want, _ := g.Mul(k.d, p1); !kp.Equal(want) {
			t.Errorf("%#x: K", c)
		}
		if want, _ := g.Mul(r, p1); !l.Equal(want) {
			t.Errorf("%#x: L", c)
		}
		if _, _, e, err = k.Commit(r, Point{}, Point{}); err != nil {
			t.Fatal(err)
		}
		if want, _ := g.BaseMul(r); !e.Equal(want) {
			t.Errorf("%#x: E = [r]G", c)
		}
		bad := Point{p1.X, p1.X}
		if _, _, _, err := k.Commit(r, bad, Point{}); err != ErrPoint {
			t.Errorf("%#x: bad point: %v", c, err)
		}
		if _, err := g.CommitPoint(AlgSHA256, []byte("s2"), p1.Y); err != ErrPoint {
			t.Errorf("%#x: CommitPoint with a foreign y: %v", c, err)
		}
	}
}

// On BN-P256 (p = 3 mod 4) a square root is one exponentiation, so CommitPoint
// can be checked with a true pair.
func TestCommitPointOnCurve(t *testing.T) {
	g := GroupOf(CurveBN256)
	p := new(big.Int).SetBytes(g.params.P)
	found := 0
	for i := byte(0); i < 20; i++ {
		s2 := []byte{'s', i}
		x := new(big.Int).SetBytes(Sum(AlgSHA256, s2))
		x.Mod(x, p)
		rhs := new(big.Int).Exp(x, big.NewInt(3), p)
		y := new(big.Int).ModSqrt(rhs.Add(rhs, big.NewInt(3)).Mod(rhs, p), p)
		if y == nil {
			continue
		}
		found++
		q, err := g.CommitPoint(AlgSHA256, s2, y.Bytes())
		if err != nil || new(big.Int).SetBytes(q.X).Cmp(x) != 0 {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if found == 0 {
		t.Fatal("no x-coordinate found")
	}
}

func TestTwoPhase(t *testing.T) {
	for _, c := range Curves() {
		sa, ea, sb, eb := newECC(t, c), newECC(t, c), newECC(t, c), newECC(t, c)
		a1, a2, err := sa.ZGenFullUnified(ea.d, sb.pub.q, eb.pub.q)
		if err != nil {
			t.Fatal(err)
		}
		b1, b2, err := sb.ZGenFullUnified(eb.d, sa.pub.q, ea.pub.q)
		if err != nil || !a1.Equal(b1) || !a2.Equal(b2) || a1.Equal(a2) {
			t.Fatalf("%#x: Full Unified: %v", c, err)
		}
		ma, err := sa.ZGenMQV(ea.d, sb.pub.q, eb.pub.q)
		if err != nil {
			t.Fatal(err)
		}
		mb, err := sb.ZGenMQV(eb.d, sa.pub.q, ea.pub.q)
		if err != nil || !ma.Equal(mb) || ma.IsInfinity() {
			t.Fatalf("%#x: MQV: %v", c, err)
		}
		bad := Point{sa.pub.q.X, sa.pub.q.X}
		if _, _, err := sa.ZGenFullUnified(ea.d, bad, eb.pub.q); err != ErrPoint {
			t.Error(err)
		}
		if _, err := sa.ZGenMQV(ea.d, sb.pub.q, bad); err != ErrPoint {
			t.Error(err)
		}
	}
}

func TestSecretSharing(t *testing.T) {
	labels := []string{LabelSecret, LabelDuplicate, LabelIdentity}
	rk := testKey(t, 2048)
	for _, label := range labels {
		for _, h := range []Alg{AlgSHA1, AlgSHA256, AlgSHA384} {
			seed, enc, err := ShareRSA(rk.Public(), h, label, rand.Reader)
			if err != nil || len(seed) != h.DigestSize() {
				t.Fatal(err)
			}
			if got, err := RecoverRSA(rk, h, label, enc); err != nil || !Equal(got, seed) {
				t.Errorf("RSA %s %#x: %v", label, h, err)
			}
			if _, err := RecoverRSA(rk, h, "OTHER", enc); err != ErrDecrypt {
				t.Errorf("RSA %s: other label: %v", label, err)
			}
		}
		for _, c := range Curves() {
			k := newECC(t, c)
			seed, e, err := ShareECC(k.Public(), AlgSHA256, label, rand.Reader)
			if err != nil || len(seed) != 32 {
				t.Fatal(err)
			}
			if got, err := RecoverECC(k, AlgSHA256, label, e); err != nil || !Equal(got, seed) {
				t.Errorf("ECC %s %#x: %v", label, c, err)
			}
			if got, err := RecoverECC(k, AlgSHA256, "OTHER", e); err != nil || Equal(got, seed) {
				t.Errorf("ECC %s: other label gives the seed", label)
			}
			if _, err := RecoverECC(k, AlgSHA256, label, Point{e.X, e.X}); err != ErrPoint {
				t.Errorf("ECC %s: bad point: %v", label, err)
			}
		}
	}
	// A secret longer than the digest is refused although OAEP carries it.
	c, err := rk.Public().EncryptOAEP(AlgSHA256, []byte("SECRET\x00"), make([]byte, 33))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RecoverRSA(rk, AlgSHA256, LabelSecret, c); err != ErrSize {
		t.Error(err)
	}
}

func TestECCKeyRefusals(t *testing.T) {
	for _, c := range Curves() {
		g := GroupOf(c)
		for name, d := range map[string][]byte{"zero": nil, "order": g.params.N, "long": append([]byte{1}, g.params.N...)} {
			if _, err := NewECCPrivateKey(c, d); err != ErrKey {
				t.Errorf("%#x %s: %v", c, name, err)
			}
		}
		k, err := NewECCPrivateKey(c, []byte{0, 0, 1})
		if err != nil || !k.Public().Point().Equal(g.Generator()) {
			t.Errorf("%#x: d = 1: %v", c, err)
		}
	}
	if _, err := NewECCPrivateKey(0x30, []byte{1}); err != ErrCurve {
		t.Error(err)
	}
	if _, err := NewECCPublicKey(0, nil, nil); err != ErrCurve {
		t.Error(err)
	}
}

func FuzzECCPublicKey(f *testing.F) {
	for _, c := range Curves() {
		g := GroupOf(c)
		f.Add(uint16(c), g.params.Gx, g.params.Gy, g.params.N)
		f.Add(uint16(c), g.params.P, g.params.Gy, []byte{})
	}
	f.Add(uint16(3), []byte{}, []byte{}, []byte{0})
	f.Fuzz(func(t *testing.T, c uint16, x, y, k []byte) {
		pub, err := NewECCPublicKey(Curve(c), x, y)
		if err != nil {
			return
		}
		g := pub.Group()
		if p, err := g.Mul(k, pub.Point()); err == nil && !p.IsInfinity() {
			if _, err := g.Point(p.X, p.Y); err != nil {
				t.Fatal("a product is not on the curve")
			}
		}
		// A digest, as the holder of no private key can make signatures of chosen numbers.
		sig, digest := ECSignature{x, k}, Sum(AlgSHA256, y)
		if pub.VerifyECDSA(digest, sig) == nil || pub.VerifySchnorr(AlgSHA256, digest, sig) == nil {
			t.Fatal("a forgery")
		}
	})
}

func BenchmarkSignECDSA256(b *testing.B) {
	k := newECC(b, CurveP256)
	d := make([]byte, 32)
	for b.Loop() {
		if _, err := k.SignECDSA(rand.Reader, d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGenerateP256(b *testing.B) {
	for b.Loop() {
		if _, err := GenerateECC(CurveP256, rand.Reader); err != nil {
			b.Fatal(err)
		}
	}
}

// TestZGenSM2 runs the exchange of P1 D.2.3 from both ends: the points agree, as
// [tA]([tB]G) = [tB]([tA]G).
func TestZGenSM2(t *testing.T) {
	for _, c := range Curves() {
		g := GroupOf(c)
		rnd := NewDRBG([]byte("TestZGenSM2"), []byte{byte(c)}, nil)
		key := func() *ECCPrivateKey {
			k, err := GenerateECC(c, rnd)
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		sa, ea, sb, eb := key(), key(), key(), key()
		za, err := sa.ZGenSM2(ea.Private(), sb.Public().Point(), eb.Public().Point())
		if err != nil {
			t.Fatal(err)
		}
		zb, err := sb.ZGenSM2(eb.Private(), sa.Public().Point(), ea.Public().Point())
		if err != nil || !za.Equal(zb) {
			t.Errorf("%s: the ends differ (%v)", g.Name(), err)
		}
		if m, err := sa.ZGenMQV(ea.Private(), sb.Public().Point(), eb.Public().Point()); err != nil || m.Equal(za) {
			t.Errorf("%s: MQV gives the same point", g.Name())
		}
		if _, err := sa.ZGenSM2(ea.Private(), Point{X: []byte{1}, Y: []byte{1}}, eb.Public().Point()); err == nil {
			t.Errorf("%s: a point off the curve was taken", g.Name())
		}
	}
}
