package tpmcrypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"filippo.io/mldsa"
)

func mldsaSetOf(t testing.TB, bits string) MLDSASet {
	t.Helper()
	s, ok := map[string]MLDSASet{"44": MLDSA44, "65": MLDSA65, "87": MLDSA87}[bits]
	if !ok {
		t.Fatalf("parameter set %q", bits)
	}
	return s
}

func sha256Hex(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// TestMLDSARejectionKATs signs and verifies what NIST published for the paths of
// rejection. The table gives M' of Sign_internal without its usual form, so that
// mu is made here.
func TestMLDSARejectionKATs(t *testing.T) {
	data, err := os.ReadFile("testdata/mldsa-acvp-rejection.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(f) != 5 {
			t.Fatalf("line %q", line)
		}
		n++
		k, err := NewMLDSAPrivateKey(mldsaSetOf(t, f[0]), mustDecode(f[1]))
		if err != nil {
			t.Fatal(err)
		}
		mu := shake256(64, k.Public().tr[:], mustDecode(f[3]))
		sig, err := k.signMuDeterministic(mu)
		if err != nil || sha256Hex(sig) != f[4] {
			t.Errorf("ML-DSA-%s seed %s: signature %s, %v", f[0], f[1], sha256Hex(sig), err)
		}
		if err := k.Public().VerifyMu(mu, sig); err != nil {
			t.Errorf("ML-DSA-%s seed %s: %v", f[0], f[1], err)
		}
	}
	if n != 27 {
		t.Errorf("%d vectors, want 27", n)
	}
}

// mldsaAnswers are deterministic signatures with seed 00 01 .. 1f over "message
// to be signed" with context "context", made with @noble/post-quantum 0.4.1, an
// implementation that shares nothing with ours: SHA2-256 of public key, of
// ML-DSA and of HashML-DSA with each hash.
var mldsaAnswers = map[MLDSASet]map[Alg]string{
	MLDSA44: {
		AlgNull: "9f107644c1084526af3bc8098680b05499a2325a644e388fb4f970e058d19d46", AlgMLDSA: "427e3e672e8dcb7afef72449636b8e8f54a4d97b3580e8a690534746a9404600",
		AlgSHA256: "fbe9674933e3fbb7bfe65d0b9b17d4e39ac2feb9bcee6a08ae270074ff6bd3e3", AlgSHA384: "be7177a72c75b723ad0eafe330f87241415b80314627575449f1d14208d90c89", AlgSHA512: "1eb2684dc60fc91c901d75f7e7671ea406ce2504ec0ba73bd8ff5e680a86ef9c",
		AlgSHA3_256: "ac104e78d192b931284c8c9cf36b7cc4f32e621d3095d3c15a0998ceb20edead", AlgSHA3_384: "6792e72c6b0224962b7abaf9aa17542b0612caa122ff7c6dc0cc50e4ad58881a", AlgSHA3_512: "c6a6a8a9143c36e8c72416a4b1396ccfef2613fd2bcea3141c8869bc9857fb70",
	},
	MLDSA65: {
		AlgNull: "d666806e11cee19a7c989f7445f90dd419cf4d2d51db8c0fdb4c0f0a542238c9", AlgMLDSA: "47359d7ee9e69379fbbc3f6fc17bd85715c4bb09b7be5aae0dd59ba60fd7d557",
		AlgSHA256: "b3297578b51f7e18e88066fc5633238d20623a07797a4d609cf4de5bc9cb4314", AlgSHA384: "537912b1e855f2366a6a8c953b269bd67ea8ee16ef36c248075cf0fcd1e5ebab", AlgSHA512: "328b5d0f399f085aa071d247b0c05cf1c91c456560924d61aca7945f2891e506",
		AlgSHA3_256: "b7da1cd0f41efb1cae414e1f764e9a9f9a72008a6941bab15a73ced21755f5f8", AlgSHA3_384: "1d1d73bcf731fe06a37811b1ca60ba195268abea950dad60149e247fbc351510", AlgSHA3_512: "72d81722d83dccc216ab6043db073095b11b6fc57212aaea1748271572fcba4a",
	},
	MLDSA87: {
		AlgNull: "91dc389cfaa01470b7f66eee45a4ae9026d154817c754dfe22298b3fa241ffcd", AlgMLDSA: "69ea39621a96e09e3c6de701b84bf3724157c7c5a87fcb2d10c7095d0271bde5",
		AlgSHA256: "56e0968308899ef8a553b200ee2fec9e96b07bc0cfc7b685552a881dfd15cd06", AlgSHA384: "e20bf75b7515c75540fff797f5bbb1834bee893ad841a0db2e7d1a5cd2757c5e", AlgSHA512: "5fc583131a268829b0e1119263af224fd0c1a95cb4c3d9c64ba2c473c527e74d",
		AlgSHA3_256: "9b399f34147a02960c8a87f3c5404fdf02e54d19d5914ec8470038a182825de9", AlgSHA3_384: "398aeccc022ae1ec19053b14d92e5c1f51854b73702cb8380433275a0132f292", AlgSHA3_512: "816e14d0ef4de2d22eb32c7e9ca6ab096af24275a5319412dc7fae4bce56d881",
	},
}

func TestMLDSAForeignAnswers(t *testing.T) {
	msg, context := []byte("message to be signed"), []byte("context")
	for set, answers := range mldsaAnswers {
		k, err := NewMLDSAPrivateKey(set, countingKey(32))
		if err != nil {
			t.Fatal(err)
		}
		pub := k.Public()
		if len(pub.Bytes()) != set.PublicSize() || sha256Hex(pub.Bytes()) != answers[AlgNull] {
			t.Errorf("set %d: public key %s", set, sha256Hex(pub.Bytes()))
		}
		for h, want := range answers {
			var mu []byte
			switch h {
			case AlgNull:
				continue
			case AlgMLDSA:
				s, err := pub.StartMu(context)
				if err != nil {
					t.Fatal(err)
				}
				s.Write(msg)
				mu = s.Sum(nil)
			default:
				if mu, err = pub.PrehashMu(h, context, Sum(h, msg)); err != nil {
					t.Fatal(err)
				}
			}
			sig, err := k.signMuDeterministic(mu)
			if err != nil || len(sig) != set.SignatureSize() || sha256Hex(sig) != want {
				t.Errorf("set %d, %#x: %s, %v", set, uint16(h), sha256Hex(sig), err)
			}
			if err := pub.VerifyMu(mu, sig); err != nil {
				t.Errorf("set %d, %#x: %v", set, uint16(h), err)
			}
		}
	}
}

// TestMLDSAAgainstLibrary: our verification agrees with the library's on hedged
// signatures over whole messages, on ones with any octet changed, and on
// messages that arrive in pieces through a saved state.
func TestMLDSAAgainstLibrary(t *testing.T) {
	for set, step := range map[MLDSASet]int{MLDSA44: 41, MLDSA65: 67, MLDSA87: 97} {
		k, err := NewMLDSAPrivateKey(set, fill(byte(set), 32))
		if err != nil {
			t.Fatal(err)
		}
		msg, context := countingKey(300), countingKey(255)
		s, err := k.Public().StartMu(context)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			s.Write(msg[100*i : 100*i+100])
			state, err := s.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if s, err = UnmarshalSequence(state); err != nil {
				t.Fatal(err)
			}
		}
		mu := s.Sum(nil)
		sig, err := k.SignMu(mu)
		if err != nil {
			t.Fatal(err)
		}
		again, err := k.SignMu(mu)
		if err != nil || bytes.Equal(sig, again) {
			t.Errorf("set %d: signatures are not hedged: %v", set, err)
		}
		lib, err := mldsa.NewPublicKey(set.params().lib, k.Public().Bytes())
		if err != nil {
			t.Fatal(err)
		}
		both := func(what string, want bool) {
			t.Helper()
			ours := k.Public().VerifyMu(mu, sig) == nil
			theirs := mldsa.Verify(lib, msg, sig, &mldsa.Options{Context: string(context)}) == nil
			if ours != want || theirs != want {
				t.Errorf("set %d, %s: we say %v, the library %v, want %v", set, what, ours, theirs, want)
			}
		}
		both("good", true)
		for i := 0; i < len(sig); i += step {
			sig[i] ^= 1 << (i % 8)
			both("one bit changed", false)
			sig[i] ^= 1 << (i % 8)
		}
		for i := len(sig) - set.params().omega - set.params().k; i < len(sig); i++ { // the hint
			sig[i]++
			both("hint changed", false)
			sig[i]--
		}
		sig = sig[:len(sig)-1]
		both("short", false)
		sig = append(sig, 0, 0)
		both("long", false)
	}
}

// TestMLDSAHintNorm covers UseHint where r is at the edges.
func TestMLDSAHintNorm(t *testing.T) {
	p := MLDSA65.params()
	g := p.gamma2 // 261888; m = 16
	for _, c := range []struct {
		r           uint32
		plain, hint uint32
	}{
		{0, 0, 15}, {1, 0, 1}, {g, 0, 1}, {g + 1, 1, 0}, {2 * g, 1, 0}, {2*g + 1, 1, 2},
		{mlQ - 1, 0, 15}, {mlQ - 1 - g, 15, 0}, {mlQ - g, 0, 15},
	} {
		if a, b := p.useHint(false, c.r), p.useHint(true, c.r); a != c.plain || b != c.hint {
			t.Errorf("r = %d: %d and %d, want %d and %d", c.r, a, b, c.plain, c.hint)
		}
	}
}

func TestMLDSANTT(t *testing.T) {
	var a, b mlPoly
	for i := range a {
		a[i] = uint32(i*i*7919+5) % mlQ
	}
	b[1] = 1 // X: a shift with a sign
	want := mlPoly{mlSub(0, a[255])}
	copy(want[1:], a[:255])
	a.ntt()
	b.ntt()
	var c mlPoly
	c.addProduct(&a, &b)
	c.inverseNTT()
	if c != want {
		t.Error("X times a is not a shifted")
	}
	packed := packBits(nil, &c, 23)
	if unpackBits(packed, 23) != c || len(packed) != 23*32 {
		t.Error("bits are not packed and unpacked")
	}
}

func TestMLDSAErrors(t *testing.T) {
	k, err := NewMLDSAPrivateKey(MLDSA44, countingKey(32))
	if err != nil {
		t.Fatal(err)
	}
	pub := k.Public()
	check := func(what string, got, want error) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	_, err = NewMLDSAPrivateKey(0, countingKey(32))
	check("set", err, ErrScheme)
	_, err = NewMLDSAPrivateKey(MLDSA44, countingKey(31))
	check("seed", err, ErrKey)
	_, err = NewMLDSAPublicKey(4, pub.Bytes())
	check("set of public key", err, ErrScheme)
	_, err = NewMLDSAPublicKey(MLDSA65, pub.Bytes())
	check("size of public key", err, ErrKey)
	_, err = pub.StartMu(make([]byte, 256))
	check("context", err, ErrSize)
	_, err = pub.PrehashMu(AlgSHA256, make([]byte, 256), make([]byte, 32))
	check("context of a digest", err, ErrSize)
	_, err = pub.PrehashMu(AlgSHA256, nil, make([]byte, 33))
	check("digest", err, ErrSize)
	_, err = pub.PrehashMu(AlgSHA1, nil, make([]byte, 20))
	check("SHA-1", err, ErrHash)
	_, err = k.SignMu(make([]byte, 63))
	check("mu to sign", err, ErrSize)
	check("mu to verify", pub.VerifyMu(make([]byte, 65), make([]byte, MLDSA44.SignatureSize())), ErrSize)
	check("no signature", pub.VerifyMu(make([]byte, 64), nil), ErrSignature)
	if MLDSASet(9).PublicSize() != 0 || MLDSASet(9).SignatureSize() != 0 {
		t.Error("an unknown set has sizes")
	}
}

// FuzzMLDSAVerify: no key or signature makes verification panic, and ours agrees
// with the library's.
func FuzzMLDSAVerify(f *testing.F) {
	for _, set := range []MLDSASet{MLDSA44, MLDSA65, MLDSA87} {
		k, err := NewMLDSAPrivateKey(set, countingKey(32))
		if err != nil {
			f.Fatal(err)
		}
		s, err := k.Public().StartMu(nil)
		if err != nil {
			f.Fatal(err)
		}
		s.Write([]byte("msg"))
		sig, err := k.signMuDeterministic(s.Sum(nil))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(set), k.Public().Bytes(), []byte("msg"), sig)
	}
	f.Fuzz(func(t *testing.T, set uint16, raw, msg, sig []byte) {
		k, err := NewMLDSAPublicKey(MLDSASet(set), raw)
		if err != nil {
			return
		}
		s, err := k.StartMu(nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Write(msg)
		lib, err := mldsa.NewPublicKey(k.p.lib, raw)
		if err != nil {
			t.Fatal(err)
		}
		if ours, theirs := k.VerifyMu(s.Sum(nil), sig), mldsa.Verify(lib, msg, sig, nil); (ours == nil) != (theirs == nil) {
			t.Fatalf("we say %v, the library %v", ours, theirs)
		}
	})
}

func BenchmarkMLDSA65(b *testing.B) {
	k, err := NewMLDSAPrivateKey(MLDSA65, countingKey(32))
	if err != nil {
		b.Fatal(err)
	}
	mu := countingKey(64)
	sig, err := k.SignMu(mu)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("key", func(b *testing.B) {
		for b.Loop() {
			_, _ = NewMLDSAPrivateKey(MLDSA65, countingKey(32))
		}
	})
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			_, _ = k.SignMu(mu)
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			_ = k.Public().VerifyMu(mu, sig)
		}
	})
}
