package clienttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"testing"
	"time"

	"xenvtpm/vtpmmgr-stub/ekcert"
)

// certAuthority is a manager's certificate authority, with a key of the test's.
func certAuthority(t *testing.T) *ekcert.CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &ekcert.CA{Name: "Xen vTPM manager", Point: point, Since: time.Now().Add(-time.Hour),
		Sign: func(d [32]byte) ([]byte, error) { return ecdsa.SignASN1(rand.Reader, key, d[:]) }}
}

// spki is the SubjectPublicKeyInfo of a PEM file.
func (c *client) spki(name string) []byte {
	c.t.Helper()
	block, _ := pem.Decode([]byte(c.read(name)))
	if block == nil {
		c.t.Fatalf("%s is not PEM", name)
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		c.t.Fatal(err)
	}
	return block.Bytes
}

// TestTSSEndorsement: IBM's checker of endorsement certificates takes those that the manager issues: it
// verifies the chain, makes the key from the default template, and compares the two.
func TestTSSEndorsement(t *testing.T) {
	x := newTSS(t)
	need(t, "tsscreateek", "tpm2_createek")
	x.env = append(x.env, "TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port="+x.port())
	ca, other := certAuthority(t), certAuthority(t)
	for name, a := range map[string]*ekcert.CA{"ca": ca, "other": other} {
		der, err := a.SelfSigned()
		if err != nil {
			t.Fatal(err)
		}
		x.write(name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		x.write(name+".list", x.path(name+".pem")+"\n")
	}
	for _, k := range []struct {
		tool, ibm, index string
		rsa              bool
	}{{"ecc", "ec", "0x01c0000a", false}, {"rsa", "rsa", "0x01c00002", true}} {
		x.tss("tpm2_createek -c ek.ctx -G "+k.tool+" -u ek.pem -f pem", "tpm2_flushcontext -t")
		der, err := ca.Certify(ekcert.EK{SPKI: x.spki("ek.pem"), RSA: k.rsa, URI: "urn:uuid:00000000-0000-0000-0000-000000000001", Serial: [16]byte{7}, Revision: 183})
		if err != nil {
			t.Fatal(err)
		}
		x.write("ek.der", string(der))
		x.tss(fmt.Sprintf("tpm2_nvdefine %s -C p -s %d -a ppwrite|ppread|ownerread|authread|no_da|platformcreate|writedefine", k.index, len(der)),
			"tpm2_nvwrite "+k.index+" -C p -i ek.der", "tsscreateek -alg "+k.ibm+" -root ca.list -cp")
		x.tssFails("", "tsscreateek -alg "+k.ibm+" -root other.list -cp")
	}
}
