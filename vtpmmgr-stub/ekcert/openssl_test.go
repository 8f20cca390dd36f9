package ekcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// OpenSSL, which reads certificates for most who will ever see one of these, accepts the chain in its strict mode,
// and no other.
func TestOpenSSLAcceptsTheChain(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, der []byte) {
		t.Helper()
		if err := os.WriteFile(file(name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	authority := func(name string) *CA {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		ca := &CA{Name: "Xen vTPM manager 1", Point: point, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).In(time.FixedZone("", 20_700)), // a certificate has UTC (RFC 5280, 4.1.2.5.1)
			Sign: func(d [32]byte) ([]byte, error) { return ecdsa.SignASN1(rand.Reader, key, d[:]) }}
		der, err := ca.SelfSigned()
		if err != nil {
			t.Fatal(err)
		}
		write(name, der)
		return ca
	}
	ca := authority("ca")
	authority("other") // of the same name
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	rk, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, ek := range map[string]EK{
		"ecc": {SPKI: SPKIOfECC(256, point)},
		"rsa": {SPKI: SPKIOfRSA(rk.N.Bytes(), 65537), RSA: true},
	} {
		ek.URI, ek.Revision, ek.Serial = "urn:uuid:00000000-0000-0000-0000-000000000001", 183, [16]byte{1}
		der, err := ca.Certify(ek)
		if err != nil {
			t.Fatal(err)
		}
		write(name, der)
		der[len(der)-1] ^= 1
		write(name+"-forged", der)
		for _, c := range []struct {
			ca, cert string
			ok       bool
		}{{"ca", name, true}, {"other", name, false}, {"ca", name + "-forged", false}} {
			out, err := exec.Command("openssl", "verify", "-x509_strict", "-CAfile", file(c.ca), file(c.cert)).CombinedOutput()
			if ok := err == nil && strings.HasSuffix(strings.TrimSpace(string(out)), ": OK"); ok != c.ok {
				t.Errorf("%s under %s: %v\n%s", c.cert, c.ca, err, out)
			}
		}
	}
}
