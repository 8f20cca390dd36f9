package manager

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// ekPublics are endorsement keys as vTPMs have them.
func ekPublics(t *testing.T, s *site) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for name, template := range map[string]tpm2.TPMTPublic{"ECC": tpm2.ECCEKTemplate, "RSA": tpm2.RSAEKTemplate} {
		rsp, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement, InPublic: tpm2.New2B(template)}.Execute(s.tpm)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = bytes.Clone(rsp.OutPublic.Bytes())
		if _, err := (tpm2.FlushContext{FlushHandle: rsp.ObjectHandle}).Execute(s.tpm); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func (s *site) attest(req proto.AttestRequest) (a proto.Attest) {
	s.t.Helper()
	if err := s.a.Admin(proto.OrdAttest, req, &a); err != nil {
		s.t.Fatal(err)
	}
	return a
}

func TestCertifyKey(t *testing.T) {
	s := newSite(t)
	eks := ekPublics(t, s)
	c := vtpmClient(s.m, 1)
	if _, err := c.CertifyKey(eks["ECC"], 183); !errors.Is(err, proto.Disabled) {
		t.Errorf("a vTPM that has not opened its record: %v", err)
	}
	if err := c.SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	a := s.attest(proto.AttestRequest{})
	for name, ek := range eks {
		certs, err := c.CertifyKey(ek, 183)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		ca, err := x509.ParseCertificate(certs.CA)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cert, err := x509.ParseCertificate(certs.EK)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := errors.Join(cert.CheckSignatureFrom(ca), ca.CheckSignatureFrom(ca)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(certs.CA, a.CACertificate) || cert.URIs[0].String() != "urn:uuid:"+uuid(1).String() {
			t.Errorf("%s: other CA, or %v", name, cert.URIs)
		}
		// tcg-at-tpmSpecification: "2.0", 0, 183.
		if !bytes.Contains(certs.EK, []byte("\x0c\x032.0\x02\x01\x00\x02\x02\x00\xb7")) {
			t.Errorf("%s: the certificate does not say revision 183: %x", name, certs.EK)
		}
		old := binary.BigEndian.AppendUint16(nil, 1)
		body, err := c.Call(proto.TagVTPM, proto.OrdCertifyKey, proto.AppendSized(old, ek))
		if err != nil || !bytes.Contains(body, []byte("\x0c\x032.0\x02\x01\x00\x02\x02\x00\x9f")) {
			t.Errorf("%s: a request of version 1: %v", name, err)
		}
	}
	for name, public := range map[string][]byte{"empty": nil, "junk": {1, 2, 3}, "a signing key": a.CAPublic, "a storage key": marshalled(tpm2.RSASRKTemplate)[:40]} {
		if _, err := c.CertifyKey(public, 183); !errors.Is(err, proto.BadParameter) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The same CA after a power cycle.
	if err := s.reboot(); err != nil {
		t.Fatal(err)
	}
	if again := s.attest(proto.AttestRequest{}); !bytes.Equal(again.CACertificate, a.CACertificate) {
		t.Error("another CA after a restart")
	}
}

func marshalled(p tpm2.TPMTPublic) []byte { return tpm2.Marshal(p) }

func TestAttestChain(t *testing.T) {
	s := newSite(t)
	a := s.attest(proto.AttestRequest{})
	if !hwtpm.IsAK(a.AKPublic) || hwtpm.IsAK(a.CAPublic) || !hwtpm.IsSigner(a.CAPublic) {
		t.Error("the keys' attributes")
	}
	if err := hwtpm.VerifyAttest(a.AKPublic, a.Certify, a.CertifySig); err != nil {
		t.Errorf("certification: %v", err)
	}
	name, extra, err := hwtpm.CertifiedName(a.Certify)
	want, _ := hwtpm.KeyName(a.CAPublic)
	sum := sha256.Sum256(a.CACertificate)
	if err != nil || !bytes.Equal(name, want) || !bytes.Equal(extra, sum[:]) {
		t.Errorf("certified %x over %x: %v", name, extra, err)
	}
	secret := []byte("0123456789abcdef")
	cred, enc, err := hwtpm.Challenge(rand.Reader, a.EKPublic, a.AKPublic, secret)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.attest(proto.AttestRequest{Credential: cred, Secret: enc}); !bytes.Equal(got.Activated, secret) {
		t.Errorf("activation: %x", got.Activated)
	}
	// A challenge for another key is not opened.
	cred, enc, _ = hwtpm.Challenge(rand.Reader, a.EKPublic, a.CAPublic, secret)
	if err := s.a.Admin(proto.OrdAttest, proto.AttestRequest{Credential: cred, Secret: enc}, &a); err == nil {
		t.Error("a challenge for another key was opened")
	}
}

func TestDeepQuote(t *testing.T) {
	s := newSite(t)
	g := proto.UUID{0x33}
	s.must(proto.OrdGroupCreate, proto.GroupCreate{ID: g, Name: "g", Authority: s.public(), Policy: s.list(g, 1, s.present())})
	s.must(proto.OrdCreate, proto.Target{UUID: uuid(1), Group: &g})
	c := vtpmClient(s.m, 1)
	req := proto.DeepQuoteRequest{Data: bytes.Repeat([]byte{5}, 32), PCRs: proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0x0200FF}}
	if _, err := c.DeepQuote(req); !errors.Is(err, proto.Disabled) {
		t.Errorf("before open: %v", err)
	}
	if err := c.SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	s.extend(7)
	q, err := c.DeepQuote(req)
	if err != nil {
		t.Fatal(err)
	}
	a := s.attest(proto.AttestRequest{})
	if err := hwtpm.VerifyAttest(a.AKPublic, q.Attest, q.Signature); err != nil {
		t.Error(err)
	}
	quoted, err := hwtpm.ParseQuote(q.Attest)
	want := q.Qualifying()
	digest := hwtpm.PCRDigest(q.Values)
	if err != nil || !bytes.Equal(quoted.Extra, want[:]) || !bytes.Equal(quoted.Digest, digest[:]) || quoted.PCRs != req.PCRs {
		t.Errorf("%+v %v", quoted, err)
	}
	if q.UUID != uuid(1) || q.Group != g || q.Authority != sha256.Sum256(s.public()) || bytes.Equal(q.Values[7], make([]byte, 32)) {
		t.Errorf("%+v", q)
	}
	req.Data = make([]byte, 65)
	if _, err := c.DeepQuote(req); !errors.Is(err, proto.BadParameter) {
		t.Errorf("long data: %v", err)
	}
	if _, err := c.Call(proto.TagVTPM, proto.OrdDeepQuote, nil); !errors.Is(err, proto.BadParameter) {
		t.Errorf("no body: %v", err)
	}
}
