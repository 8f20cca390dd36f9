package tpmcrypto

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// vectors reads a file of testdata: the fields of each line. It fails when the
// file holds nothing or a line has another number of fields.
func vectors(t testing.TB, name string, fields int) [][]string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out [][]string
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if line := s.Text(); line != "" && line[0] != '#' {
			w := strings.Fields(line)
			if len(w) != fields {
				t.Fatalf("%s: %d fields: %s", name, len(w), line)
			}
			out = append(out, w)
		}
	}
	if s.Err() != nil || len(out) == 0 {
		t.Fatal(name, "is empty or unreadable", s.Err())
	}
	return out
}

// unhex decodes a field; "-" is empty.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	if s == "-" {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// algNames are the names used in testdata.
var algNames = map[string]Alg{
	"SHA1": AlgSHA1, "SHA256": AlgSHA256, "SHA384": AlgSHA384, "SHA512": AlgSHA512,
	"AES": AlgAES, "CAMELLIA": AlgCamellia,
	"CTR": AlgCTR, "OFB": AlgOFB, "CBC": AlgCBC, "CFB": AlgCFB, "ECB": AlgECB,
}

func named(t testing.TB, s string) Alg {
	t.Helper()
	a, ok := algNames[s]
	if !ok {
		t.Fatal("unknown name", s)
	}
	return a
}

func TestModeVectors(t *testing.T) {
	done := map[string]int{}
	for _, v := range vectors(t, "modes.txt", 6) {
		alg, mode := named(t, v[0]), named(t, v[1])
		done[v[0]+v[1]]++
		key, iv, pt, ct := unhex(t, v[2]), unhex(t, v[3]), unhex(t, v[4]), unhex(t, v[5])
		b, err := NewBlock(alg, key)
		if err != nil {
			t.Fatal(err)
		}
		x, xiv := bytes.Clone(pt), bytes.Clone(iv)
		if err := Encrypt(b, mode, xiv, x); err != nil || !bytes.Equal(x, ct) {
			t.Fatalf("%v: encrypt gives %x, %v", v, x, err)
		}
		y, yiv := bytes.Clone(ct), bytes.Clone(iv)
		if err := Decrypt(b, mode, yiv, y); err != nil || !bytes.Equal(y, pt) {
			t.Fatalf("%v: decrypt gives %x, %v", v, y, err)
		}
		if !bytes.Equal(xiv, yiv) {
			t.Fatalf("%v: IVs differ after encryption and decryption", v)
		}
	}
	for _, m := range []string{"CTR", "OFB", "CBC", "CFB", "ECB"} {
		if done["AES"+m] < 3 {
			t.Errorf("AES %s: only %d vectors", m, done["AES"+m])
		}
		if m != "CTR" && done["CAMELLIA"+m] < 3 {
			t.Errorf("Camellia %s: only %d vectors", m, done["CAMELLIA"+m])
		}
	}
}

func TestCMACVectors(t *testing.T) {
	for _, v := range vectors(t, "cmac.txt", 3) {
		b, err := NewBlock(AlgAES, unhex(t, v[0]))
		if err != nil {
			t.Fatal(err)
		}
		msg, want := unhex(t, v[1]), unhex(t, v[2])
		for cut := 0; cut <= len(msg); cut++ {
			c, err := NewCMAC(b)
			if err != nil {
				t.Fatal(err)
			}
			c.Write(msg[:cut])
			if c, err = RestoreCMAC(b, c.State()); err != nil {
				t.Fatal(err)
			}
			c.Write(msg[cut:])
			if got := c.Sum(nil); !bytes.Equal(got, want) || !bytes.Equal(c.Sum(nil), want) {
				t.Fatalf("cut at %d: %x, want %x", cut, got, want)
			}
		}
	}
}

func TestHMACVectors(t *testing.T) {
	var s Hasher
	for _, v := range vectors(t, "hmac.txt", 4) {
		a, key, msg, want := named(t, v[0]), unhex(t, v[1]), unhex(t, v[2]), unhex(t, v[3])
		seq, err := NewHMACSequence(a, key)
		if err != nil {
			t.Fatal(err)
		}
		seq.Write(msg[:len(msg)/2])
		saved, err := seq.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if seq, err = UnmarshalSequence(saved); err != nil {
			t.Fatal(err)
		}
		seq.Write(msg[len(msg)/2:])
		for name, got := range map[string][]byte{
			"HMAC": HMAC(a, key, msg), "Hasher": s.HMAC(a, nil, key, msg[:1], msg[1:]), "Sequence": seq.Sum(nil),
		} {
			// RFC 4231 test 5 gives a truncated value.
			if len(got) != a.DigestSize() || !bytes.Equal(got[:len(want)], want) {
				t.Fatalf("%s %v: %x", name, v, got)
			}
		}
	}
}

func TestKBKDFVectors(t *testing.T) {
	var s Hasher
	for _, v := range vectors(t, "kbkdf.txt", 5) {
		a, key, fixed, want := named(t, v[0]), unhex(t, v[2]), unhex(t, v[3]), unhex(t, v[4])
		got := s.counterKDF(a, nil, key, len(want)*8, fixed[:9], nil, fixed[9:], nil)
		if !bytes.Equal(got, want) {
			t.Fatalf("%v: %x", v, got)
		}
	}
}

func TestECDSAVectors(t *testing.T) {
	curves := map[string]Curve{"P-224": CurveP224, "P-256": CurveP256, "P-384": CurveP384, "P-521": CurveP521}
	passed := 0
	for _, v := range vectors(t, "ecdsa.txt", 7) {
		digest, sig := unhex(t, v[3]), ECSignature{unhex(t, v[4]), unhex(t, v[5])}
		k, err := NewECCPublicKey(curves[v[0]], unhex(t, v[1]), unhex(t, v[2]))
		ok := err == nil && k.VerifyECDSA(digest, sig) == nil
		if ok != (v[6] == "P") {
			t.Errorf("%v: verified %v, %v", v, ok, err)
		}
		if k != nil {
			// The same signature through the code for other curves.
			own := &ECCPublicKey{g: k.g, q: k.q}
			if ok := own.VerifyECDSA(digest, sig) == nil; ok != (v[6] == "P") {
				t.Errorf("%v: own code verified %v", v, ok)
			}
		}
		if v[6] == "P" {
			passed++
		}
	}
	if passed < 16 {
		t.Errorf("only %d good signatures", passed)
	}
}

func TestOAEPVectors(t *testing.T) {
	for _, v := range vectors(t, "oaep.txt", 4) {
		k, err := NewRSAPrivateKey(unhex(t, v[0]), 0, unhex(t, v[1]))
		if err != nil {
			t.Fatal(err)
		}
		c := unhex(t, v[3])
		m, err := k.DecryptOAEP(AlgSHA1, nil, c)
		if err != nil || !bytes.Equal(m, unhex(t, v[2])) {
			t.Fatalf("%.20s: %x %v", v[3], m, err)
		}
		if _, err := k.DecryptOAEP(AlgSHA1, []byte("SECRET\x00"), c); err != ErrDecrypt {
			t.Errorf("another label: %v", err)
		}
		// RSADP gives the padded block, from which RSAEP gives c again.
		raw, err := k.RawDecrypt(c)
		if err != nil || raw[0] != 0 {
			t.Fatal("raw", err)
		}
		if back, err := k.Public().RawEncrypt(raw); err != nil || !bytes.Equal(back, c) {
			t.Fatal("raw encrypt", err)
		}
	}
}

func TestPSSVectors(t *testing.T) {
	for _, v := range vectors(t, "pss.txt", 4) {
		k, err := NewRSAPublicKey(unhex(t, v[0]), DefaultExponent)
		if err != nil {
			t.Fatal(err)
		}
		digest, sig := Sum(AlgSHA1, unhex(t, v[2])), unhex(t, v[3])
		if err := k.VerifyPSS(AlgSHA1, digest, sig); err != nil {
			t.Fatal(err)
		}
		sig[len(sig)-1] ^= 1
		if err := k.VerifyPSS(AlgSHA1, digest, sig); err != ErrSignature {
			t.Error("changed signature:", err)
		}
	}
}
