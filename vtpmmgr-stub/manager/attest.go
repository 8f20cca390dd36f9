package manager

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/ekcert"
	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// Attester is what the manager needs of a hardware TPM to attest. A TPM without
// it (TPM 1.2) leaves the attestation requests unavailable.
type Attester interface {
	MakeAttestKeys(auth []byte) (*hwtpm.AttestKeys, error)
	Sign(k *hwtpm.AttestKeys, auth []byte, digest [32]byte) ([]byte, error)
	CertifyCA(k *hwtpm.AttestKeys, auth, qualifying []byte) (hwtpm.Attestation, error)
	Quote(k *hwtpm.AttestKeys, auth, qualifying []byte, sel proto.PCRSelection) (hwtpm.Attestation, error)
	Endorsement() (public, certificate []byte, err error)
	Activate(k *hwtpm.AttestKeys, auth, credential, secret []byte) ([]byte, error)
}

var errNoAttest = errors.New("the hardware TPM cannot attest")

// authority is the manager's certification authority.
type authority struct {
	hw   Attester
	auth []byte
	keys *hwtpm.AttestKeys
	cert []byte // the CA's own
}

// attester returns the authority, making its keys at the first use. They are
// lost with the hardware TPM: a recovered manager makes new ones, and says so in
// its certificate's key.
func (m *Manager) attester() (*authority, error) {
	hw, ok := m.c.HW.(Attester)
	if !ok {
		return nil, errNoAttest
	}
	if !m.settled() && m.degraded == nil {
		return nil, errNotCounted
	}
	if m.degraded != nil {
		return nil, fmt.Errorf("%w: %v", errDegraded, m.degraded)
	}
	if m.ca != nil {
		return m.ca, nil
	}
	auth, err := m.attestAuth()
	if err != nil {
		return nil, err
	}
	a := &authority{hw: hw, auth: auth}
	if err := m.loadAuthority(a); err == nil {
		m.ca = a
		return a, nil
	}
	if err := m.makeAuthority(a); err != nil {
		m.discard()
		return nil, err
	}
	m.logf("made a certification key in the hardware TPM")
	m.ca = a
	return a, nil
}

// attestAuth derives the keys' authorisation; no zero bytes (see hwtpm).
func (m *Manager) attestAuth() ([]byte, error) {
	auth, err := store.DeriveKey(m.secret.key[:], "attestation keys")
	for i := range auth {
		if auth[i] == 0 {
			auth[i] = 1
		}
	}
	return auth, err
}

// loadAuthority reads the keys and tries them: those of a former hardware TPM do
// not work.
func (m *Manager) loadAuthority(a *authority) error {
	b, err := m.store.Get(metaKey(metaCA))
	if err != nil {
		return err
	}
	r := proto.NewReader(b)
	a.keys, a.cert = hwtpm.ReadAttestKeys(r), bytes.Clone(r.Sized(2048))
	if err := r.Done(); err != nil {
		return err
	}
	_, err = a.hw.Sign(a.keys, a.auth, [32]byte{})
	return err
}

func (m *Manager) makeAuthority(a *authority) (err error) {
	if a.keys, err = a.hw.MakeAttestKeys(a.auth); err != nil {
		return err
	}
	ca, err := m.caOf(a)
	if err != nil {
		return err
	}
	if a.cert, err = ca.SelfSigned(); err != nil {
		return err
	}
	if err := m.store.Put(metaKey(metaCA), proto.AppendSized(a.keys.Append(nil), a.cert)); err != nil {
		return err
	}
	return m.then(func() {})
}

func (m *Manager) caOf(a *authority) (*ekcert.CA, error) {
	_, point, err := hwtpm.ECCPoint(a.keys.CAPublic)
	if err != nil {
		return nil, err
	}
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return &ekcert.CA{Name: "Xen vTPM manager " + proto.UUID(m.store.ID()).String(), Point: point, Since: since,
		Sign: func(d [32]byte) ([]byte, error) { return a.hw.Sign(a.keys, a.auth, d) }}, nil
}

// certifyKey issues a certificate for an endorsement key of the client. Only the
// vTPM that has its uuid open gets one, and only for a key that can do nothing
// but decrypt for its own TPM.
func (m *Manager) certifyKey(req *Request, body []byte) answer {
	public, revision, err := proto.ParseCertifyKey(body)
	if err != nil {
		return answer{result: codecResult(err)}
	}
	if by, ok := m.open[req.UUID]; !ok || by != req.Client {
		return answer{result: proto.Disabled}
	}
	ek, err := endorsementKey(public)
	if err != nil {
		m.event(EventAttest, req, "certificate refused: "+err.Error())
		return answer{result: proto.BadParameter}
	}
	ek.Revision = revision
	der, ca, err := m.issue(req.UUID, ek)
	if err != nil {
		m.logf("certificate for vTPM %v: %v", req.UUID, err)
		return answer{result: proto.Unavailable}
	}
	m.event(EventAttest, req, "endorsement key certified")
	return answer{body: proto.Certificates{EK: der, CA: ca}.Append(nil)}
}

func codecResult(err error) proto.Result {
	if errors.Is(err, proto.BadVersion) {
		return proto.BadVersion
	}
	return proto.BadParameter
}

func (m *Manager) issue(u proto.UUID, ek ekcert.EK) (der, caDER []byte, err error) {
	a, err := m.attester()
	if err != nil {
		return nil, nil, err
	}
	ca, err := m.caOf(a)
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.ReadFull(m.c.Rand, ek.Serial[:]); err != nil {
		return nil, nil, err
	}
	ek.URI = "urn:uuid:" + u.String()
	der, err = ca.Certify(ek)
	return der, a.cert, err
}

// endorsementKey checks that a TPMT_PUBLIC has an endorsement key's attributes
// (EKP 2.1.5: fixedTPM, fixedParent, restricted, decrypt, not sign).
func endorsementKey(public []byte) (ek ekcert.EK, err error) {
	defer func() {
		if recover() != nil { // go-tpm on bytes of a client's choice
			err = errors.New("public area malformed")
		}
	}()
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return ek, errors.New("public area malformed")
	}
	at := pub.ObjectAttributes
	if !at.FixedTPM || !at.FixedParent || !at.SensitiveDataOrigin || !at.Restricted || !at.Decrypt || at.SignEncrypt {
		return ek, errors.New("not an endorsement key by its attributes")
	}
	if pub.Type == tpm2.TPMAlgRSA {
		params, perr := pub.Parameters.RSADetail()
		n, nerr := pub.Unique.RSA()
		if perr != nil || nerr != nil || len(n.Buffer) < 256 || len(n.Buffer) > 512 {
			return ek, errors.New("RSA key malformed, or below 2048 bits")
		}
		exponent := params.Exponent
		if exponent == 0 {
			exponent = 65537
		}
		return ekcert.EK{SPKI: ekcert.SPKIOfRSA(n.Buffer, exponent), RSA: true}, nil
	}
	bits, point, err := hwtpm.ECCPoint(public)
	if err != nil {
		return ek, err
	}
	if ek.SPKI = ekcert.SPKIOfECC(bits, point); ek.SPKI == nil {
		return ek, fmt.Errorf("curve of %d bits has no certificate form here", bits)
	}
	return ek, nil
}

// deepQuote quotes the hardware TPM for the client, over its data, its uuid and
// its group.
func (m *Manager) deepQuote(req *Request, body []byte) answer {
	in, err := proto.ParseDeepQuoteRequest(body)
	if err != nil {
		return answer{result: codecResult(err)}
	}
	if by, ok := m.open[req.UUID]; !ok || by != req.Client {
		return answer{result: proto.Disabled}
	}
	q, err := m.quoteFor(req.UUID, in)
	if err != nil {
		m.logf("deep quote for vTPM %v: %v", req.UUID, err)
		return answer{result: proto.Unavailable}
	}
	return answer{body: q.Append(nil)}
}

func (m *Manager) quoteFor(u proto.UUID, in proto.DeepQuoteRequest) (*proto.DeepQuote, error) {
	a, err := m.attester()
	if err != nil {
		return nil, err
	}
	v, ok, err := m.lookup(u)
	if err != nil || !ok {
		return nil, errors.Join(err, errNoVTPM)
	}
	q := &proto.DeepQuote{UUID: u, Group: v.group, Data: in.Data, PCRs: in.PCRs}
	if q.Authority, err = m.authorityHash(v.group); err != nil {
		return nil, err
	}
	want := q.Qualifying()
	// PCRs can move between the two commands; then the quote does not fit the
	// values, and both are taken again.
	for range 3 {
		if q.Values, err = m.c.HW.PCRs(in.PCRs); err != nil {
			return nil, err
		}
		got, err := a.hw.Quote(a.keys, a.auth, want[:], in.PCRs)
		if err != nil {
			return nil, err
		}
		q.Attest, q.Signature = got.Attest, got.Signature
		if hwtpm.QuotedDigest(got.Attest) == hwtpm.PCRDigest(q.Values) {
			return q, nil
		}
	}
	return nil, errors.New("the hardware PCRs keep changing")
}

// authorityHash names a group's approval key; the default group's is the root's.
func (m *Manager) authorityHash(id proto.UUID) (h [32]byte, err error) {
	b := (*hwtpm.Binding)(nil)
	if g := m.groups[id]; g != nil && g.binding != nil {
		b = g.binding
	} else if _, b, err = m.rootBinding(); err != nil {
		return h, err
	}
	if b.Auth == nil {
		return h, nil
	}
	return sha256.Sum256(b.Auth.Public), nil
}

// adminAttest gives out what a verifier needs.
func (m *Manager) adminAttest(req *Request, in proto.AttestRequest) (any, error) {
	a, err := m.attester()
	if err != nil {
		return nil, err
	}
	out := proto.Attest{Manager: m.store.ID(), AKPublic: a.keys.AKPublic, CAPublic: a.keys.CAPublic, CACertificate: a.cert}
	if out.EKPublic, out.EKCertificate, err = a.hw.Endorsement(); err != nil {
		return nil, err
	}
	qualifying := sha256.Sum256(a.cert)
	c, err := a.hw.CertifyCA(a.keys, a.auth, qualifying[:])
	if err != nil {
		return nil, err
	}
	out.Certify, out.CertifySig = c.Attest, c.Signature
	if len(in.Credential) > 0 {
		if out.Activated, err = a.hw.Activate(a.keys, a.auth, in.Credential, in.Secret); err != nil {
			return nil, err
		}
		m.eventFor(EventAttest, req, m.store.ID(), "attestation key enrolled by the administrator")
	}
	return out, nil
}
