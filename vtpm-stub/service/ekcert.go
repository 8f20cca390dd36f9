package service

import (
	"bytes"
	"errors"
	"fmt"

	"xenvtpm/vtpm-stub/tpm2"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Certifier issues certificates for endorsement keys; *proto.Client is one.
type Certifier interface {
	CertifyKey(public []byte, revision uint32) (proto.Certificates, error)
}

// Provisionable is a TPM that certificates are put into; *tpm2.TPM is one.
type Provisionable interface {
	EKPublic(k tpm2.EKTemplate) (public, unique []byte, err error)
	ProvisionNV(index tpm2.Handle, data []byte) error
	NVData(index tpm2.Handle) []byte
	Profile() *tpm2.Profile
}

// EKCerts says which endorsement keys get a certificate.
type EKCerts uint8

// The values of option ekcert.
const (
	CertECC EKCerts = 1 << iota // the default: a P-256 key costs milliseconds
	CertRSA                     // an RSA key costs a search for primes, once
)

func parseEKCerts(s string) (EKCerts, error) {
	switch s {
	case "ecc":
		return CertECC, nil
	case "rsa":
		return CertRSA, nil
	case "all":
		return CertECC | CertRSA, nil
	case "none":
		return 0, nil
	}
	return 0, errors.New("use ecc, rsa, all or none")
}

// ekKind is one endorsement key and where its certificate lies.
type ekKind struct {
	kind  EKCerts
	name  string
	key   tpm2.EKTemplate
	index tpm2.Handle
}

var ekKinds = []ekKind{
	{CertECC, "ECC P-256", tpm2.EKECCP256, tpm2.NVCertECCP256},
	{CertRSA, "RSA 2048", tpm2.EKRSA2048, tpm2.NVCertRSA2048},
}

// provisioner brings certificates that are missing, or of another seed, into
// the TPM.
type provisioner struct {
	want EKCerts
	from Certifier
	tpm  Provisionable
	logf func(string, ...any)
}

// run goes over all kinds. again is true when it is worth another try later:
// the manager did not answer, or its hardware was not available.
func (p *provisioner) run() (again bool) {
	renewed := false
	for _, k := range ekKinds {
		if p.want&k.kind == 0 {
			continue
		}
		made, err := p.provision(k, renewed)
		if err == nil {
			renewed = renewed || made
			p.want &^= k.kind
			continue
		}
		var refused proto.Result
		isResult := errors.As(err, &refused)
		if refused == proto.BadOrdinal {
			p.logf("service: this manager does not certify endorsement keys")
			return false
		}
		p.logf("service: no certificate for the %s endorsement key: %v", k.name, err)
		var rc tpm2.RC
		if isResult && refused != proto.Unavailable || errors.As(err, &rc) && rc != tpm2.TPM_RC_CANCELED {
			p.want &^= k.kind // the same again would have the same outcome
		}
	}
	return p.want != 0
}

// provision puts one certificate in its place. The certificate of an ECC key
// is compared with the key, which costs nothing; that of an RSA key is taken for
// right when there is one, unless the ECC key turned out to be a new one.
func (p *provisioner) provision(k ekKind, renew bool) (made bool, err error) {
	have := p.tpm.NVData(k.index)
	if k.key == tpm2.EKRSA2048 && have != nil && !renew {
		return false, nil
	}
	public, unique, err := p.tpm.EKPublic(k.key)
	if err != nil {
		return false, fmt.Errorf("creating the key: %w", err)
	}
	if bytes.Contains(have, unique) {
		return false, nil
	}
	certs, err := p.from.CertifyKey(public, p.tpm.Profile().Specification().Revision)
	if err != nil {
		return false, fmt.Errorf("CERTIFY_KEY: %w", err)
	}
	if !bytes.Contains(certs.EK, unique) {
		return false, fmt.Errorf("CERTIFY_KEY: %w: the certificate is not for this key", tpm2.TPM_RC_BINDING)
	}
	if err := p.tpm.ProvisionNV(k.index, certs.EK); err != nil {
		return false, fmt.Errorf("NV index %#x: %w", uint32(k.index), err)
	}
	if len(certs.CA) > 0 && !bytes.Equal(p.tpm.NVData(tpm2.NVCertChain), certs.CA) {
		if err := p.tpm.ProvisionNV(tpm2.NVCertChain, certs.CA); err != nil {
			p.logf("service: issuer's certificate, NV index %#x: %v", uint32(tpm2.NVCertChain), err)
		}
	}
	p.logf("service: certificate of the %s endorsement key at NV index %#x", k.name, uint32(k.index))
	return have != nil, nil
}

// Provision does what the TPM's manufacturer has left to do: certificates for
// its endorsement keys. It is called when no guest waits for an answer, and
// asks cancelled during a long computation. It reports whether it should be
// called again, after a while.
func (s *Service) Provision(cancelled func() bool) (again bool) {
	if s.ek == nil {
		return false
	}
	if s.Failed() {
		s.ek = nil
		return false
	}
	s.now = &Request{From: "provisioning", Cancelled: cancelled}
	defer func() { s.now = nil }()
	if !s.ek.run() {
		s.ek = nil
	}
	return s.ek != nil
}
