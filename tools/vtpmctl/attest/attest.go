// Package attest checks, offline, what a manager and a vTPM say about
// themselves: from the hardware TPM's endorsement key over the manager's keys to
// a vTPM's quote and the PCRs of the platform below it.
//
// Everything in a bundle may be forged, save what a signature covers whose key
// is trusted. The trust begins with one thing that the verifier brings: the
// public key of the authority that enrolled the manager.
package attest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Enrolment is an authority's word that a manager's AK lives in the TPM with
// that endorsement key, which it has seen proven (TPM2_ActivateCredential).
type Enrolment struct {
	Authority []byte `json:"authority"` // TPMT_PUBLIC
	Signature []byte `json:"signature"` // TPMT_SIGNATURE over Message
}

// Message is what an enrolment's signature covers.
func Message(a *proto.Attest) ([]byte, error) {
	ek, err := hwtpm.KeyName(a.EKPublic)
	if err != nil {
		return nil, err
	}
	ak, err := hwtpm.KeyName(a.AKPublic)
	if err != nil {
		return nil, err
	}
	b := append([]byte("xenvtpm enrolment 1\x00"), a.Manager[:]...)
	return proto.AppendSized(proto.AppendSized(b, ek), ak), nil
}

// Bundle is what is checked. Manager is always there.
type Bundle struct {
	Manager   proto.Attest `json:"manager"`
	Enrolment *Enrolment   `json:"enrolment,omitempty"`
	VTPM      *VTPM        `json:"vtpm,omitempty"`
	EventLog  []byte       `json:"event_log,omitempty"` // of the platform (TCG PFP)
}

// VTPM is what a guest collects from its vTPM.
type VTPM struct {
	Certificate []byte `json:"certificate"` // DER, of the vTPM's endorsement key
	DeepQuote   []byte `json:"deep_quote"`  // proto.DeepQuote
	Quote       []byte `json:"quote,omitempty"`
	Signature   []byte `json:"signature,omitempty"`
	Key         []byte `json:"key,omitempty"`    // TPMT_PUBLIC of the vTPM's AK
	Parent      []byte `json:"parent,omitempty"` // TPMT_PUBLIC of the primary above it; not for a primary, nor below the EK
	Nonce       []byte `json:"nonce,omitempty"`
}

// Finding is the outcome of one check.
type Finding struct {
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

// Report is the outcome of all.
type Report struct {
	OK       bool              `json:"ok"`
	Findings []Finding         `json:"findings"`
	PCRs     map[string]string `json:"pcrs,omitempty"` // of the platform, as quoted
}

func (r *Report) check(err error, format string, args ...any) bool {
	f := Finding{OK: err == nil, Text: fmt.Sprintf(format, args...)}
	if err != nil {
		f.Text += ": " + err.Error()
		r.OK = false
	}
	r.Findings = append(r.Findings, f)
	return err == nil
}

func (r *Report) note(format string, args ...any) { r.check(nil, format, args...) }

// Trust is what the verifier brings.
type Trust struct {
	Authority []byte         // TPMT_PUBLIC of the enrolling authority, nil: none
	EKRoots   *x509.CertPool // of TPM manufacturers, nil: not checked
	Nonce     []byte         // that the vTPM's quote must carry, nil: not checked
}

// Verify checks a bundle.
func Verify(b *Bundle, trust Trust) *Report {
	r := &Report{OK: true}
	r.manager(b, trust)
	if b.VTPM != nil {
		q := r.vtpm(b)
		r.quote(b.VTPM, q, trust)
		if q != nil && len(b.EventLog) > 0 {
			r.log(b.EventLog, q)
		}
	}
	return r
}

// manager checks the chain from the endorsement key to the CA.
func (r *Report) manager(b *Bundle, trust Trust) {
	a := &b.Manager
	name, err := hwtpm.KeyName(a.EKPublic)
	if !r.check(err, "hardware TPM: endorsement key %x", name) {
		return
	}
	r.endorsement(a, trust)
	switch {
	case trust.Authority == nil:
		r.check(errors.New("no authority given to check it against"), "enrolment of the manager's attestation key")
	case b.Enrolment == nil:
		r.check(errors.New("missing"), "enrolment of the manager's attestation key")
	default:
		r.check(enrolled(a, b.Enrolment, trust.Authority), "authority %s saw that attestation key and endorsement key are in one TPM", hwtpm.AuthorityName(trust.Authority))
	}
	err = nil
	if !hwtpm.IsAK(a.AKPublic) {
		err = errors.New("it is not restricted to signing what the TPM has made")
	}
	r.check(err, "the manager's attestation key cannot leave its TPM nor sign forgeries")
	r.check(checkCA(a), "the manager's CA key lives in that TPM, and its certificate is its own (manager %v)", a.Manager)
}

func (r *Report) endorsement(a *proto.Attest, trust Trust) {
	switch {
	case len(a.EKCertificate) == 0:
		r.note("the hardware TPM has no manufacturer's certificate; the authority's word stands alone")
	case trust.EKRoots == nil:
		r.note("the manufacturer's certificate was not checked (give --ek-roots)")
	default:
		r.check(checkEK(a, trust.EKRoots), "the manufacturer certifies the endorsement key")
	}
}

func checkEK(a *proto.Attest, roots *x509.CertPool) error {
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
	if !bytes.Equal(e.Authority, authority) {
		return errors.New("it was another authority")
	}
	msg, err := Message(a)
	if err != nil {
		return err
	}
	return hwtpm.VerifyMessage(authority, msg, e.Signature)
}

func checkCA(a *proto.Attest) error {
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

// vtpm checks certificate and deep quote; nil if there is no good quote.
func (r *Report) vtpm(b *Bundle) *proto.DeepQuote {
	uuid, err := checkCertificate(b)
	r.check(err, "the manager certifies the endorsement key of vTPM %s", uuid)
	q, err := proto.ParseDeepQuote(b.VTPM.DeepQuote)
	if !r.check(err, "deep quote can be read") {
		return nil
	}
	if err == nil && uuid != "" && uuid != q.UUID.String() {
		r.check(fmt.Errorf("it is of vTPM %v", q.UUID), "deep quote and certificate belong together")
	}
	if !r.check(checkDeepQuote(b.Manager.AKPublic, q), "hardware TPM quotes its PCRs for vTPM %v of group %v", q.UUID, q.Group) {
		return nil
	}
	if q.Authority == ([32]byte{}) {
		r.note("the vTPM's group has no approval key: the manager is not provisioned")
	} else {
		r.note("the vTPM's group opens in states that key %x approves", q.Authority[:8])
	}
	r.PCRs = map[string]string{}
	i := 0
	for pcr := range 24 {
		if q.PCRs.Mask>>pcr&1 == 1 {
			r.PCRs[fmt.Sprint(pcr)] = hex.EncodeToString(q.Values[i])
			i++
		}
	}
	return q
}

func checkCertificate(b *Bundle) (uuid string, err error) {
	ca, err := x509.ParseCertificate(b.Manager.CACertificate)
	if err != nil {
		return "", err
	}
	cert, err := x509.ParseCertificate(trimmed(b.VTPM.Certificate))
	if err != nil {
		return "", err
	}
	if len(cert.URIs) == 1 && len(cert.URIs[0].String()) == len("urn:uuid:")+36 {
		uuid = cert.URIs[0].String()[len("urn:uuid:"):]
	}
	if uuid == "" {
		return "", errors.New("it names no vTPM")
	}
	return uuid, cert.CheckSignatureFrom(ca)
}

func checkDeepQuote(ak []byte, q *proto.DeepQuote) error {
	if err := hwtpm.VerifyAttest(ak, q.Attest, q.Signature); err != nil {
		return err
	}
	quoted, err := hwtpm.ParseQuote(q.Attest)
	if err != nil {
		return err
	}
	want, digest := q.Qualifying(), hwtpm.PCRDigest(q.Values)
	switch {
	case !bytes.Equal(quoted.Extra, want[:]):
		return errors.New("it was made for another vTPM, group or data")
	case quoted.PCRs != q.PCRs || !bytes.Equal(quoted.Digest, digest[:]):
		return errors.New("the PCR values are not those that were quoted")
	}
	return nil
}

// quote checks the vTPM's own quote, and that the deep quote was made over it.
func (r *Report) quote(v *VTPM, q *proto.DeepQuote, trust Trust) {
	if len(v.Quote) == 0 {
		r.note("no quote of the vTPM itself in this bundle")
		return
	}
	if !r.check(hwtpm.VerifyAttest(v.Key, v.Quote, v.Signature), "the vTPM's quote is signed by its attestation key") {
		return
	}
	quoted, err := hwtpm.ParseQuote(v.Quote)
	if !r.check(err, "the vTPM's quote can be read") {
		return
	}
	where, err := origin(v, quoted.Signer)
	r.check(err, "that attestation key lives in the vTPM and signs no forgeries%s", where)
	if q != nil {
		sum := sha256.Sum256(v.Quote)
		err = nil
		if !bytes.Equal(q.Data, sum[:]) {
			err = errors.New("it was made over something else")
		}
		r.check(err, "the deep quote was made over this quote of the vTPM")
	}
	if trust.Nonce != nil {
		err = nil
		if !bytes.Equal(quoted.Extra, trust.Nonce) {
			err = errors.New("it carries another nonce: it may be old")
		}
		r.check(err, "the quote is fresh")
	}
}
