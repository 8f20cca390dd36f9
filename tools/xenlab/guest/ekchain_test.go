package guest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os/exec"
	"testing"
	"time"

	"xenvtpm/vtpmmgr-stub/ekcert"
)

func TestIssued(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	authority := func() (*ekcert.CA, []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		ca := &ekcert.CA{Name: "manager", Point: point, Since: time.Now().Add(-time.Hour),
			Sign: func(d [32]byte) ([]byte, error) { return ecdsa.SignASN1(rand.Reader, key, d[:]) }}
		der, err := ca.SelfSigned()
		if err != nil {
			t.Fatal(err)
		}
		return ca, der
	}
	ca, root := authority()
	_, other := authority()
	cert, err := ca.Certify(ekcert.EK{SPKI: ekcert.SPKIOfECC(256, ca.Point), Revision: 183, URI: "urn:uuid:00000000-0000-0000-0000-000000000001"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := issued(openssl, dir, root, cert); err != nil {
		t.Error(err)
	}
	if err := issued(openssl, dir, other, cert); err == nil {
		t.Error("the CA is another one, of the same name")
	}
	if err := notIssued(openssl, dir, root, cert); err != nil {
		t.Error(err)
	}
	// The control can fail: where nothing is verified at all, and where OpenSSL cannot even read.
	if err := notIssued("/bin/true", dir, root, cert); err == nil {
		t.Error("a forged certificate that is accepted was not noticed")
	}
	if err := notIssued(openssl, dir, root, []byte("not a certificate")); err == nil {
		t.Error("what is no certificate proves nothing")
	}
}
