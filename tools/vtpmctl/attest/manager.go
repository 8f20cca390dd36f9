package attest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// manager checks the chain from the endorsement key to the CA.
func (r *Report) manager(b *Bundle, trust Trust) {
	a := &b.Manager
	name, err := ekName(a.EKPublic)
	r.check(CheckEK, err, "hardware TPM: endorsement key %x", name)
	r.endorsement(a, trust)
	enrolment := enrolled(a, b.Enrolment, trust.Authority)
	r.check(CheckEnrolment, enrolment, "%s saw that the manager's attestation key and the endorsement key are in one TPM", authorityText(trust.Authority))
	err = present(a.AKPublic)
	if err == nil && !hwtpm.IsAK(a.AKPublic) {
		err = errors.New("it is not restricted to signing what the TPM has made")
	}
	r.check(CheckAK, err, "the manager's attestation key cannot leave its TPM nor sign forgeries")
	r.check(CheckCA, checkCA(a), "the manager's CA key lives in that TPM, and its certificate is its own (manager %v)", a.Manager)
	r.asked(CheckManager, "manager", trust.Manager, a.Manager, enrolment == nil)
	if enrolment == nil {
		r.Manager = a.Manager.String()
	}
}

func ekName(public []byte) ([]byte, error) {
	if len(public) == 0 {
		return nil, errMissing
	}
	return hwtpm.KeyName(public)
}

func authorityText(public []byte) string {
	if public == nil {
		return "an authority"
	}
	return "authority " + hwtpm.AuthorityName(public)
}

func (r *Report) endorsement(a *proto.Attest, trust Trust) {
	switch {
	case trust.EKRoots != nil:
		r.check(CheckEKCert, checkEK(a, trust.EKRoots), "the manufacturer certifies the endorsement key")
	case len(a.EKCertificate) == 0:
		r.unproven("that a manufacturer made the hardware TPM: it has no certificate; the authority's word stands alone")
	default:
		r.unproven("that a manufacturer made the hardware TPM: its certificate was not checked (give --ek-roots)")
	}
}

func checkEK(a *proto.Attest, roots *x509.CertPool) error {
	if len(a.EKCertificate) == 0 {
		return errors.New("the hardware TPM's certificate is missing from the bundle")
	}
	cert, err := x509.ParseCertificate(trimmed(a.EKCertificate))
	if err != nil {
		return err
	}
	// The alternative name is critical, and crypto/x509 does not read its form
	// (EKP 3.1.2); it says nothing that is decided on here.
	cert.UnhandledCriticalExtensions = nil
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return err
	}
	_, point, err := hwtpm.ECCPoint(a.EKPublic)
	if err != nil {
		return err
	}
	if !bytes.HasSuffix(cert.RawSubjectPublicKeyInfo, point) {
		return errors.New("it is for another key")
	}
	return nil
}

// trimmed cuts what NV indices carry behind a certificate.
func trimmed(der []byte) []byte {
	if len(der) > 4 && der[0] == 0x30 && der[1] == 0x82 {
		if n := int(der[2])<<8 + int(der[3]) + 4; n <= len(der) {
			return der[:n]
		}
	}
	return der
}

func enrolled(a *proto.Attest, e *Enrolment, authority []byte) error {
	switch {
	case authority == nil:
		return errors.New("no authority given to check it against")
	case e == nil:
		return errMissing
	case !bytes.Equal(e.Authority, authority):
		return errors.New("it was another authority")
	}
	msg, err := Message(a)
	if err != nil {
		return err
	}
	return hwtpm.VerifyMessage(authority, msg, e.Signature)
}

func checkCA(a *proto.Attest) error {
	for _, b := range [][]byte{a.AKPublic, a.CAPublic, a.CACertificate, a.Certify, a.CertifySig} {
		if len(b) == 0 {
			return errMissing
		}
	}
	if err := hwtpm.VerifyAttest(a.AKPublic, a.Certify, a.CertifySig); err != nil {
		return err
	}
	name, extra, err := hwtpm.CertifiedName(a.Certify)
	if err != nil {
		return err
	}
	want, err := hwtpm.KeyName(a.CAPublic)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(a.CACertificate)
	if !bytes.Equal(name, want) || !bytes.Equal(extra, sum[:]) || !hwtpm.IsSigner(a.CAPublic) {
		return errors.New("the TPM certified another key, or another certificate")
	}
	cert, err := x509.ParseCertificate(a.CACertificate)
	if err != nil {
		return err
	}
	_, point, err := hwtpm.ECCPoint(a.CAPublic)
	if err != nil {
		return err
	}
	if !bytes.HasSuffix(cert.RawSubjectPublicKeyInfo, point) {
		return errors.New("the certificate is for another key")
	}
	return cert.CheckSignatureFrom(cert)
}
