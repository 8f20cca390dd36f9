package tpmcrypto

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"encoding/hex"
	"testing"
)

// mlkemAnswers are for seed 00 01 .. 3f and randomness ff fe .. e0, made with
// @noble/post-quantum 0.4.1: SHA2-256 of encapsulation key and ciphertext, the
// shared secret, the secrets of the ciphertext with its first bit changed and of
// a ciphertext of zeros.
var mlkemAnswers = map[MLKEMSet][5]string{
	MLKEM768: {"0b7934c83125c788995e2ba6bd761e33046b3e40571be53e023309a29f398cc9", "090f7fa36cc47927b54f906d60ae5adb6b1b6a033b566ec9cb866edba8dfc9a1",
		"f2c2678a3be8ba85e9053a0eaffc557661d15f2742caaf272cd93770062b53ca", "21c1e6b315b5a2020c7634e4f0e2c33384a7b55e045aa02cb6b84ef25bfff6a4",
		"c8fbeddafdacef2ffeb8b354ea644f11b5c150f3e2c4a74ce38abba8f854ae16"},
	MLKEM1024: {"c7b8fa0aa471d5ae18922d6ccad5b31e1d84f92ae723abfd13747018740a8530", "ae99a338bf6dff77d90d9fde49b74df551f151e10b6d247d4ceb555820bbec60",
		"323e526bcf53a6354dc3e74722383f34fc1aa2de0dc6af18378a9c25ec7d96a2", "7951d9690ef490e3a5184fac416592e230d9099b3b0e688ff9a3509c33d38952",
		"294cb5b6b0f37a047745a2a69991f66ac85936e1b077e717eaeb26bb0ba42c68"},
}

func TestMLKEMForeignAnswers(t *testing.T) {
	random := make([]byte, 32)
	for i := range random {
		random[i] = byte(255 - i)
	}
	for set, want := range mlkemAnswers {
		k, err := NewMLKEMPrivateKey(set, countingKey(64))
		if err != nil {
			t.Fatal(err)
		}
		ek := k.Public().Bytes()
		if len(ek) != set.PublicSize() || sha256Hex(ek) != want[0] {
			t.Errorf("set %d: key %s", set, sha256Hex(ek))
		}
		var ct, shared []byte
		switch p := k.Public().k.(type) {
		case *mlkem.EncapsulationKey768:
			shared, ct, err = mlkemtest.Encapsulate768(p, random)
		case *mlkem.EncapsulationKey1024:
			shared, ct, err = mlkemtest.Encapsulate1024(p, random)
		}
		if err != nil || sha256Hex(ct) != want[1] || hex.EncodeToString(shared) != want[2] {
			t.Errorf("set %d: ciphertext %s, secret %x, %v", set, sha256Hex(ct), shared, err)
		}
		back, err := k.Decapsulate(ct)
		if err != nil || !bytes.Equal(back, shared) {
			t.Errorf("set %d: %x, %v", set, back, err)
		}
		ct[0] ^= 1
		for i, c := range [][]byte{ct, make([]byte, len(ct))} {
			if s, err := k.Decapsulate(c); err != nil || hex.EncodeToString(s) != want[3+i] {
				t.Errorf("set %d: rejected secret %d is %x, %v", set, i, s, err)
			}
		}
	}
}

// TestMLKEMSharing goes through encapsulation and the labeled KEM of both sets.
func TestMLKEMSharing(t *testing.T) {
	for _, set := range []MLKEMSet{MLKEM768, MLKEM1024} {
		k, err := NewMLKEMPrivateKey(set, fill(7, 64))
		if err != nil {
			t.Fatal(err)
		}
		pub, err := NewMLKEMPublicKey(set, k.Public().Bytes())
		if err != nil {
			t.Fatal(err)
		}
		shared, ct := pub.Encapsulate()
		if got, err := k.Decapsulate(ct); err != nil || !bytes.Equal(got, shared) || len(ct) != set.CiphertextSize() || len(shared) != MLKEMSharedSize {
			t.Errorf("set %d: %x and %x, %v", set, got, shared, err)
		}
		seed, ct, err := ShareMLKEM(pub, AlgSHA384, LabelDuplicate)
		if err != nil || len(seed) != 48 {
			t.Fatalf("set %d: %x, %v", set, seed, err)
		}
		got, err := RecoverMLKEM(k, AlgSHA384, LabelDuplicate, ct)
		if err != nil || !bytes.Equal(got, seed) {
			t.Errorf("set %d: %x and %x, %v", set, got, seed, err)
		}
		// The definition, P1 equation 67 of version 185.
		shared, err = k.Decapsulate(ct)
		if err != nil {
			t.Fatal(err)
		}
		if want := KDFa(AlgSHA384, shared, "DUPLICATE", ct, pub.Bytes(), 384); !bytes.Equal(want, seed) {
			t.Errorf("set %d: %x, want %x", set, seed, want)
		}
		if other, err := RecoverMLKEM(k, AlgSHA384, LabelSecret, ct); err != nil || bytes.Equal(other, seed) {
			t.Errorf("set %d: the label does not matter: %v", set, err)
		}
	}
}

func TestMLKEMErrors(t *testing.T) {
	k, err := NewMLKEMPrivateKey(MLKEM768, countingKey(64))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, got, want error) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	_, err = NewMLKEMPrivateKey(MLKEM512, countingKey(64))
	check("set", err, ErrScheme)
	_, err = NewMLKEMPrivateKey(MLKEM1024, countingKey(63))
	check("seed", err, ErrKey)
	_, err = NewMLKEMPublicKey(MLKEM512, k.Public().Bytes())
	check("set of public key", err, ErrScheme)
	_, err = NewMLKEMPublicKey(MLKEM1024, k.Public().Bytes())
	check("size of public key", err, ErrKey)
	bad := bytes.Clone(k.Public().Bytes())
	bad[0], bad[1] = 0xff, 0xff // a coefficient of q or more
	_, err = NewMLKEMPublicKey(MLKEM768, bad)
	check("coefficient", err, ErrKey)
	_, err = k.Decapsulate(make([]byte, 1087))
	check("ciphertext", err, ErrSize)
	_, err = RecoverMLKEM(k, AlgSHA256, LabelSecret, make([]byte, 1568))
	check("encrypted secret", err, ErrSize)
	_, err = RecoverMLKEM(k, AlgNull, LabelSecret, make([]byte, 1088))
	check("hash", err, ErrHash)
	_, _, err = ShareMLKEM(k.Public(), AlgNull, LabelSecret)
	check("hash to share", err, ErrHash)
	if MLKEM512.PublicSize() != 0 || MLKEM512.CiphertextSize() != 0 {
		t.Error("ML-KEM-512 has sizes")
	}
}
