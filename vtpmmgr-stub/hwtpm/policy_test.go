package hwtpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

func signerFor(t testing.TB, key crypto.Signer) func([]byte) ([]byte, error) {
	t.Helper()
	return func(message []byte) ([]byte, error) {
		h := authorityHash(key.Public())
		sig, err := key.Sign(rand.Reader, digest(h, message), h)
		if err != nil {
			return nil, err
		}
		return EncodeSignature(key.Public(), sig)
	}
}

func testKeys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	keys := map[string]crypto.Signer{}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = k
	}
	if !testing.Short() {
		k, err := rsa.GenerateKey(rand.Reader, 3072)
		if err != nil {
			t.Fatal(err)
		}
		keys["RSA-3072"] = k
	}
	return keys
}

func presentState(t testing.TB, tpm *TPM) Approval {
	t.Helper()
	v, err := tpm.PCRs(pcrs07)
	if err != nil {
		t.Fatal(err)
	}
	return Approval{PCRs: pcrs07, Digest: PCRDigest(v)}
}

func TestPolicyAuthorize(t *testing.T) {
	for name, key := range testKeys(t) {
		t.Run(name, func(t *testing.T) {
			s := swtpmtest.Start(t, true)
			tpm := open(t, s)
			public, err := AuthorityPublic(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			now := presentState(t, tpm)
			list := PolicyList{Group: proto.UUID{1}, Sequence: 1, Approvals: []Approval{{PCRs: pcrs07, Digest: [32]byte{9}}, now}}
			if err := list.Sign(signerFor(t, key)); err != nil {
				t.Fatal(err)
			}
			if err := list.Verify(public); err != nil {
				t.Fatal(err)
			}
			auth := &Authority{Public: public, Ref: PolicyRef(list.Group), Approvals: list.Approvals}
			b, err := tpm.Seal([]byte("group key"), Policy{Authority: auth})
			if err != nil {
				t.Fatal(err)
			}
			if b, err = ParseBinding(b.Append(nil)); err != nil {
				t.Fatal(err)
			}
			if got, err := tpm.Unseal(b); err != nil || string(got) != "group key" {
				t.Fatalf("%q %v", got, err)
			}
			extend(t, s, 2)
			if _, err := tpm.Unseal(b); !errors.Is(err, ErrPCRMismatch) {
				t.Errorf("unapproved state: %v", err)
			}
			// The authority approves the new state; nothing is sealed again.
			next := PolicyList{Group: list.Group, Sequence: 2, Approvals: []Approval{presentState(t, tpm)}}
			if err := next.Sign(signerFor(t, key)); err != nil {
				t.Fatal(err)
			}
			b.Auth.Approvals = next.Approvals
			if got, err := tpm.Unseal(b); err != nil || string(got) != "group key" {
				t.Errorf("after an update: %q %v", got, err)
			}
			// An approval for another group, by the same key, does not open this one.
			other := PolicyList{Group: proto.UUID{2}, Approvals: []Approval{presentState(t, tpm)}}
			if err := other.Sign(signerFor(t, key)); err != nil {
				t.Fatal(err)
			}
			b.Auth.Approvals = other.Approvals
			if _, err := tpm.Unseal(b); err == nil {
				t.Error("another group's approval opens this one")
			}
			// Nor does one by another key, even with that key's public part put in.
			thief, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			forged := PolicyList{Group: list.Group, Approvals: []Approval{presentState(t, tpm)}}
			if err := forged.Sign(signerFor(t, thief)); err != nil {
				t.Fatal(err)
			}
			b.Auth.Approvals = forged.Approvals
			if _, err := tpm.Unseal(b); err == nil {
				t.Error("a forged approval opens the group")
			}
			b.Auth.Public, _ = AuthorityPublic(thief.Public())
			if _, err := tpm.Unseal(b); err == nil {
				t.Error("another authority opens the group")
			}
		})
	}
}

func TestPolicyListRefusals(t *testing.T) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	public, _ := AuthorityPublic(key.Public())
	list := func() *PolicyList {
		l := &PolicyList{Group: proto.UUID{1}, Sequence: 7, Approvals: []Approval{{PCRs: pcrs07, Digest: [32]byte{1}}}}
		if err := l.Sign(signerFor(t, key)); err != nil {
			t.Fatal(err)
		}
		return l
	}
	l, err := ParsePolicyList(list().Append(nil))
	if err != nil || l.Verify(public) != nil {
		t.Fatalf("%v %v", err, l.Verify(public))
	}
	for name, spoil := range map[string]func(*PolicyList){
		"sequence":        func(l *PolicyList) { l.Sequence++ },
		"group":           func(l *PolicyList) { l.Group[0]++ },
		"digest":          func(l *PolicyList) { l.Approvals[0].Digest[0]++ },
		"selection":       func(l *PolicyList) { l.Approvals[0].PCRs.Mask++ },
		"state signature": func(l *PolicyList) { l.Approvals[0].Signature[10]++ },
		"list signature":  func(l *PolicyList) { l.Signature[10]++ },
		"no signature":    func(l *PolicyList) { l.Signature = nil },
		"no states":       func(l *PolicyList) { l.Approvals = nil },
		"state added":     func(l *PolicyList) { l.Approvals = append(l.Approvals, l.Approvals[0]) },
	} {
		l := list()
		spoil(l)
		if err := l.Verify(public); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s altered: %v", name, err)
		}
	}
	small, _ := rsa.GenerateKey(rand.Reader, 2048)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	for _, k := range []crypto.PublicKey{small.Public(), p521.Public(), "no key"} {
		if _, err := AuthorityPublic(k); !errors.Is(err, ErrPolicy) {
			t.Errorf("%T accepted: %v", k, err)
		}
	}
}

func FuzzParseBinding(f *testing.F) {
	b := &Binding{Kind: KindTPM20, Identity: Identity{SRK: make([]byte, 34)}, PCRs: pcrs07, Values: make([][]byte, 8), Public: []byte{1}, Private: []byte{2}}
	for i := range b.Values {
		b.Values[i] = make([]byte, 32)
	}
	f.Add(b.Append(nil))
	b.Auth = &Authority{Public: []byte{1}, Ref: []byte{2}, Approvals: []Approval{{PCRs: pcrs07}}}
	f.Add(b.Append(nil))
	b.Proof = &Proof{Creation: []byte{1}, Ticket: []byte{2}}
	f.Add(b.Append(nil))
	b.Proof.State = &Approval{PCRs: pcrs07, Signature: []byte{3}}
	f.Add(b.Append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := ParseBinding(in)
		if err != nil {
			return
		}
		again, err := ParseBinding(b.Append(nil))
		if err != nil || !bytes.Equal(again.Append(nil), b.Append(nil)) {
			t.Fatalf("encode(decode(x)) differs: %v", err)
		}
	})
}

func FuzzPolicyList(f *testing.F) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	public, _ := AuthorityPublic(key.Public())
	l := &PolicyList{Approvals: []Approval{{PCRs: pcrs07}}}
	_ = l.Sign(signerFor(f, key))
	f.Add(l.Append(nil), public)
	f.Fuzz(func(t *testing.T, in, public []byte) {
		l, err := ParsePolicyList(in)
		if err != nil {
			return
		}
		if !bytes.Equal(l.Append(nil), in) {
			t.Fatal("encode(decode(x)) differs")
		}
		_ = l.Verify(public)
	})
}

func FuzzRelease(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	public, err := AuthorityPublic(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	l := Release{Authority: public, Group: proto.UUID{1}, Sequence: 2, To: proto.UUID{3}, VTPMs: []proto.UUID{{4}, {5}}}
	if l.Signature, err = signerFor(f, key)(l.Message()); err != nil {
		f.Fatal(err)
	}
	if err := l.Verify(); err != nil {
		f.Fatal(err)
	}
	f.Add(l.Append(nil))
	f.Add([]byte(releaseMagic))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := ParseRelease(in)
		if err != nil {
			return
		}
		if !bytes.Equal(got.Append(nil), in) {
			t.Error("a release does not survive its encoding")
		}
		if got.Verify() == nil && !bytes.Equal(got.Message(), l.Message()) {
			t.Error("a forged release verifies")
		}
	})
}

func FuzzRecoveryKey(f *testing.F) {
	k := RecoveryKey{Manager: proto.UUID{1}, Number: 2, Public: make([]byte, recoveryPoint), Signature: []byte{3}}
	f.Add(k.Append(nil))
	f.Add([]byte(recoveryKeyMagic))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := ParseRecoveryKey(in)
		if err == nil && !bytes.Equal(got.Append(nil), in) {
			t.Error("a certified recovery key does not survive its encoding")
		}
	})
}

// The encodings on disks that are out there.
func TestGoldenEncodings(t *testing.T) {
	b := &Binding{Kind: KindTPM20, Identity: Identity{SRK: []byte{1, 2}, EK: []byte{3}}, PCRs: proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 1},
		Values: [][]byte{bytes.Repeat([]byte{0xAA}, 32)}, Public: []byte{4}, Private: []byte{5}}
	values := strings.Repeat("aa", 32)
	check := func(what, want string) {
		t.Helper()
		if got := hex.EncodeToString(b.Append(nil)); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
		raw, _ := hex.DecodeString(want)
		if again, err := ParseBinding(raw); err != nil || !bytes.Equal(again.Append(nil), raw) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("version 1, local", "0102"+"00020102"+"000103"+"000b00000001"+values+"00"+"000104"+"000105")
	b.Proof = &Proof{Creation: []byte{6, 7}, Ticket: []byte{8}}
	check("version 2, local", "0202"+"00020102"+"000103"+"000b00000001"+values+"00"+"000104"+"000105"+"00020607"+"000108"+"00")
	b.Proof.State = &Approval{PCRs: b.PCRs, Digest: [32]byte(b.Values[0]), Signature: []byte{9}}
	check("version 2, approved", "0202"+"00020102"+"000103"+"000b00000001"+values+"00"+"000104"+"000105"+"00020607"+"000108"+"01"+"000b00000001"+values+"000109")
	r := Release{Authority: []byte{1}, Group: proto.UUID{2}, Sequence: 3, To: proto.UUID{4}, VTPMs: []proto.UUID{{5}}, Signature: []byte{6}}
	zeros := strings.Repeat("00", 15)
	if got, want := hex.EncodeToString(r.Append(nil)), "58565452454c0001"+"000101"+"02"+zeros+"0000000000000003"+"04"+zeros+"0001"+"05"+zeros+"000106"; got != want {
		t.Errorf("release: %s, want %s", got, want)
	}
	k := RecoveryKey{Manager: proto.UUID{1}, Number: 2, Public: make([]byte, recoveryPoint), Signature: []byte{3}}
	if got, want := hex.EncodeToString(k.Append(nil)), "58565452434b0001"+"01"+zeros+"0000000000000002"+"0041"+strings.Repeat("00", 65)+"000103"; got != want {
		t.Errorf("recovery key: %s, want %s", got, want)
	}
}
