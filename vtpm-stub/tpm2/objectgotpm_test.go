package tpm2

import (
	"bytes"
	"crypto/rand"
	"testing"

	gotpm "github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// storageKeys are the EK-like parents that go-tpm's own cryptography encrypts for.
func storageKeys() map[string]gotpm.TPMTPublic {
	return map[string]gotpm.TPMTPublic{"ECC": gotpm.ECCSRKTemplate, "RSA": gotpm.RSASRKTemplate}
}

func goPrimary(t *testing.T, x transport.TPM, tpl gotpm.TPMTPublic) (gotpm.NamedHandle, gotpm.LabeledEncapsulationKey) {
	t.Helper()
	p, err := gotpm.CreatePrimary{PrimaryHandle: gotpm.TPMRHOwner, InPublic: gotpm.New2B(tpl)}.Execute(x)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := p.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	key, err := gotpm.ImportEncapsulationKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return gotpm.NamedHandle{Handle: p.ObjectHandle, Name: p.Name}, key
}

// TestGoTPMCredential: a credential that software made is recovered.
func TestGoTPMCredential(t *testing.T) {
	for kind, tpl := range storageKeys() {
		x := newTestTPM(t)
		ek, key := goPrimary(t, x, tpl)
		cred := bytes.Repeat([]byte{9}, 32)
		id, secret, err := gotpm.CreateCredential(rand.Reader, key, ek.Name.Buffer, cred)
		if err != nil {
			t.Fatal(err)
		}
		a, err := gotpm.ActivateCredential{
			ActivateHandle: gotpm.AuthHandle{Handle: ek.Handle, Name: ek.Name, Auth: gotpm.PasswordAuth(nil)},
			KeyHandle:      gotpm.AuthHandle{Handle: ek.Handle, Name: ek.Name, Auth: gotpm.PasswordAuth(nil)},
			CredentialBlob: gotpm.TPM2BIDObject{Buffer: id},
			Secret:         gotpm.TPM2BEncryptedSecret{Buffer: secret},
		}.Execute(x)
		if err != nil || !bytes.Equal(a.CertInfo.Buffer, cred) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestGoTPMImport: data that software sealed to a parent are imported and
// unsealed, all over sessions that encrypt.
func TestGoTPMImport(t *testing.T) {
	for kind, tpl := range storageKeys() {
		x := newTestTPM(t)
		parent, key := goPrimary(t, x, tpl)
		seed := bytes.Repeat([]byte{3}, 32)
		secret := []byte("sealed far away")
		pub := gotpm.TPMTPublic{
			Type: gotpm.TPMAlgKeyedHash, NameAlg: gotpm.TPMAlgSHA256,
			ObjectAttributes: gotpm.TPMAObject{UserWithAuth: true, NoDA: true},
			Unique: gotpm.NewTPMUPublicID(gotpm.TPMAlgKeyedHash, &gotpm.TPM2BDigest{
				Buffer: x.hash.Sum(TPM_ALG_SHA256, nil, seed, secret)}),
		}
		name, err := gotpm.ObjectName(&pub)
		if err != nil {
			t.Fatal(err)
		}
		sens := gotpm.TPMTSensitive{
			SensitiveType: gotpm.TPMAlgKeyedHash,
			AuthValue:     gotpm.TPM2BAuth{Buffer: []byte("pass")},
			SeedValue:     gotpm.TPM2BDigest{Buffer: seed},
			Sensitive:     gotpm.NewTPMUSensitiveComposite(gotpm.TPMAlgKeyedHash, &gotpm.TPM2BSensitiveData{Buffer: secret}),
		}
		dup, encSeed, err := gotpm.CreateDuplicate(rand.Reader, key, name.Buffer, gotpm.Marshal(sens))
		if err != nil {
			t.Fatal(err)
		}
		auth := gotpm.AuthHandle{Handle: parent.Handle, Name: parent.Name, Auth: gotpm.HMAC(gotpm.TPMAlgSHA256, 16, gotpm.AESEncryption(128, gotpm.EncryptOut))}
		imp, err := gotpm.Import{
			ParentHandle: auth, ObjectPublic: gotpm.New2B(pub),
			Duplicate: gotpm.TPM2BPrivate{Buffer: dup},
			InSymSeed: gotpm.TPM2BEncryptedSecret{Buffer: encSeed},
			Symmetric: gotpm.TPMTSymDef{Algorithm: gotpm.TPMAlgNull},
		}.Execute(x)
		if err != nil {
			t.Fatal(kind, err)
		}
		load, err := gotpm.Load{ParentHandle: auth, InPrivate: imp.OutPrivate, InPublic: gotpm.New2B(pub)}.Execute(x)
		if err != nil {
			t.Fatal(kind, err)
		}
		u, err := gotpm.Unseal{ItemHandle: gotpm.AuthHandle{Handle: load.ObjectHandle, Name: load.Name,
			Auth: gotpm.HMAC(gotpm.TPMAlgSHA256, 16, gotpm.Auth([]byte("pass")), gotpm.AESEncryption(128, gotpm.EncryptOut))}}.Execute(x)
		if err != nil || !bytes.Equal(u.OutData.Buffer, secret) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestGoTPMChangeAuth changes an authValue through an encrypted, salted session:
// the response HMAC still uses the old value.
func TestGoTPMChangeAuth(t *testing.T) {
	x := newTestTPM(t)
	parent, _ := goPrimary(t, x, gotpm.ECCSRKTemplate)
	p, err := gotpm.ReadPublic{ObjectHandle: parent.Handle}.Execute(x)
	if err != nil {
		t.Fatal(err)
	}
	srk, err := p.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	salt := gotpm.Salted(parent.Handle, *srk)
	c, err := gotpm.Create{
		ParentHandle: gotpm.AuthHandle{Handle: parent.Handle, Name: parent.Name, Auth: gotpm.HMAC(gotpm.TPMAlgSHA256, 16, salt, gotpm.AESEncryption(128, gotpm.EncryptInOut))},
		InSensitive:  gotpm.TPM2BSensitiveCreate{Sensitive: &gotpm.TPMSSensitiveCreate{UserAuth: gotpm.TPM2BAuth{Buffer: []byte("old")}}},
		InPublic:     gotpm.New2B(gotpm.TPMTPublic{Type: gotpm.TPMAlgECC, NameAlg: gotpm.TPMAlgSHA256, ObjectAttributes: gotpm.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, SignEncrypt: true}, Parameters: gotpm.NewTPMUPublicParms(gotpm.TPMAlgECC, &gotpm.TPMSECCParms{CurveID: gotpm.TPMECCNistP256})}),
	}.Execute(x)
	if err != nil {
		t.Fatal(err)
	}
	l, err := gotpm.Load{ParentHandle: parent, InPrivate: c.OutPrivate, InPublic: c.OutPublic}.Execute(x)
	if err != nil {
		t.Fatal(err)
	}
	for _, auth := range []string{"wrong", "old"} {
		_, err = gotpm.ObjectChangeAuth{
			ObjectHandle: gotpm.AuthHandle{Handle: l.ObjectHandle, Name: l.Name, Auth: gotpm.HMAC(gotpm.TPMAlgSHA256, 16, salt, gotpm.Auth([]byte(auth)), gotpm.AESEncryption(128, gotpm.EncryptInOut))},
			ParentHandle: parent, NewAuth: gotpm.TPM2BAuth{Buffer: []byte("new")},
		}.Execute(x)
		if (err == nil) != (auth == "old") {
			t.Errorf("auth %q: %v", auth, err)
		}
	}
}
