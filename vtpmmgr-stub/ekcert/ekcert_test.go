package ekcert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"testing"
	"time"
)

// testCA returns an authority and its key.
func testCA(t *testing.T) (*CA, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, _ := key.PublicKey.Bytes()
	return &CA{Name: "Xen vTPM manager 1", Point: point, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Sign: func(d [32]byte) ([]byte, error) { return ecdsa.SignASN1(rand.Reader, key, d[:]) }}, key
}

func TestCertificates(t *testing.T) {
	ca, _ := testCA(t)
	der, err := ca.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if !root.IsCA || root.MaxPathLen != 0 || !root.MaxPathLenZero || root.Subject.CommonName != ca.Name || root.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("CA certificate: %+v", root)
	}
	if err := root.CheckSignatureFrom(root); err != nil {
		t.Error(err)
	}
	ec, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	ecPoint, _ := ec.PublicKey.Bytes()
	rk, _ := rsa.GenerateKey(rand.Reader, 2048)
	for name, c := range map[string]struct {
		ek    EK
		usage x509.KeyUsage
		want  any
	}{
		"ECC": {EK{SPKI: SPKIOfECC(384, ecPoint)}, x509.KeyUsageKeyAgreement, &ec.PublicKey},
		"RSA": {EK{SPKI: SPKIOfRSA(rk.N.Bytes(), 65537), RSA: true}, x509.KeyUsageKeyEncipherment, &rk.PublicKey},
	} {
		c.ek.URI, c.ek.Revision, c.ek.Serial = "urn:uuid:00000000-0000-0000-0000-000000000001", 183, [16]byte{0xFF, 1}
		der, err := ca.Certify(c.ek)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := cert.CheckSignatureFrom(root); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if cert.IsCA || cert.KeyUsage != c.usage || len(cert.URIs) != 1 || cert.URIs[0].String() != c.ek.URI || !cert.NotAfter.After(time.Now().AddDate(100, 0, 0)) ||
			len(cert.UnknownExtKeyUsage) != 1 || !cert.UnknownExtKeyUsage[0].Equal(oidEKCertificate) || cert.SerialNumber.Sign() <= 0 || !bytes.Equal(cert.AuthorityKeyId, root.SubjectKeyId) {
			t.Errorf("%s: %+v", name, cert)
		}
		if k, ok := c.want.(interface {
			Equal(any) bool
		}); ok && !k.Equal(cert.PublicKey) {
			t.Errorf("%s: another public key", name)
		}
		wantDER, _ := x509.MarshalPKIXPublicKey(c.want)
		if !bytes.Equal(wantDER, cert.RawSubjectPublicKeyInfo) {
			t.Errorf("%s: SubjectPublicKeyInfo %x, want %x", name, cert.RawSubjectPublicKeyInfo, wantDER)
		}
		for _, id := range cert.UnhandledCriticalExtensions {
			if !id.Equal(oidSAN) {
				t.Errorf("%s: critical extension %v", name, id)
			}
		}
	}
	if _, err := ca.Certify(EK{SPKI: SPKIOfECC(224, ecPoint)}); err == nil {
		t.Error("a key without an encoding was certified")
	}
}
