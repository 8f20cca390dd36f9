package proto

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// MaxPublic is the longest TPMT_PUBLIC that is certified, in bytes.
const MaxPublic = 1024

// certifyVersion is that of CertifyKeyBody. Version 1 had no revision, and its vTPMs follow 1.59.
const (
	certifyVersion = 2
	firstRevision  = 159
)

// CertifyKeyBody is the body of OrdCertifyKey: u16 version, sized TPMT_PUBLIC, u32
// TPM_PT_REVISION of the vTPM.
func CertifyKeyBody(public []byte, revision uint32) []byte {
	b := AppendSized(binary.BigEndian.AppendUint16(nil, certifyVersion), public)
	return binary.BigEndian.AppendUint32(b, revision)
}

// certifyKeyBody1 is version 1 of it.
func certifyKeyBody1(public []byte) []byte {
	return AppendSized(binary.BigEndian.AppendUint16(nil, 1), public)
}

// ParseCertifyKey reads either.
func ParseCertifyKey(body []byte) (public []byte, revision uint32, err error) {
	r := NewReader(body)
	v := r.U16()
	public, revision = r.Sized(MaxPublic), firstRevision
	switch v {
	case 1:
	case certifyVersion:
		revision = r.U32()
	default:
		return nil, 0, BadVersion
	}
	return public, revision, r.Done()
}

func finish(r *Reader, version uint16) error {
	if err := r.Done(); err != nil {
		return err
	}
	if version != Version {
		return BadVersion
	}
	return nil
}

// Certificates is the answer: DER of the key's certificate and of the CA's.
type Certificates struct {
	EK, CA []byte
}

// Append appends the body.
func (c Certificates) Append(b []byte) []byte { return AppendSized(AppendSized(b, c.EK), c.CA) }

// ParseCertificates reads it.
func ParseCertificates(body []byte) (Certificates, error) {
	r := NewReader(body)
	c := Certificates{EK: bytes.Clone(r.Sized(MaxBody)), CA: bytes.Clone(r.Sized(MaxBody))}
	return c, r.Done()
}

// MaxQuoteData is the longest data that a deep quote is made over. A vTPM passes
// the SHA-256 of its own quote's TPMS_ATTEST.
const MaxQuoteData = 64

// DeepQuoteRequest is the body of OrdDeepQuote.
type DeepQuoteRequest struct {
	Data []byte
	PCRs PCRSelection // of the hardware TPM
}

// Append appends the body: u16 version, sized data, selection.
func (q DeepQuoteRequest) Append(b []byte) []byte {
	return q.PCRs.Append(AppendSized(binary.BigEndian.AppendUint16(b, Version), q.Data))
}

// ParseDeepQuoteRequest reads it.
func ParseDeepQuoteRequest(body []byte) (DeepQuoteRequest, error) {
	r := NewReader(body)
	v := r.U16()
	q := DeepQuoteRequest{Data: bytes.Clone(r.Sized(MaxQuoteData)), PCRs: ReadPCRSelection(r)}
	return q, finish(r, v)
}

// DeepQuote is the answer: a quote of the hardware TPM that says which vTPM
// asked, of which group, over which data.
type DeepQuote struct {
	UUID      UUID
	Group     UUID
	Authority [32]byte // SHA-256 of the group authority's TPMT_PUBLIC; zero for the default group of an unprovisioned manager
	Data      []byte
	PCRs      PCRSelection
	Values    [][]byte // PCR values at the time of the quote
	Attest    []byte   // TPMS_ATTEST; its extraData is Qualifying
	Signature []byte   // TPMT_SIGNATURE by the manager's AK
}

// Qualifying is what the hardware quote is made over.
func (q *DeepQuote) Qualifying() [32]byte {
	b := append([]byte("xenvtpm deep quote 1\x00"), q.UUID[:]...)
	b = append(b, q.Group[:]...)
	b = append(b, q.Authority[:]...)
	return sha256.Sum256(AppendSized(b, q.Data))
}

// Append appends the body.
func (q *DeepQuote) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, Version)
	b = append(b, q.UUID[:]...)
	b = append(b, q.Group[:]...)
	b = append(b, q.Authority[:]...)
	b = AppendSized(b, q.Data)
	b = q.PCRs.Append(b)
	for _, v := range q.Values {
		b = append(b, v...)
	}
	return AppendSized(AppendSized(b, q.Attest), q.Signature)
}

// ParseDeepQuote reads it.
func ParseDeepQuote(body []byte) (*DeepQuote, error) {
	r := NewReader(body)
	v := r.U16()
	q := &DeepQuote{UUID: r.UUID(), Group: r.UUID()}
	copy(q.Authority[:], r.Bytes(32))
	q.Data = bytes.Clone(r.Sized(MaxQuoteData))
	q.PCRs = ReadPCRSelection(r)
	if r.Err() != nil {
		return nil, ErrBody
	}
	for range q.PCRs.Count() {
		q.Values = append(q.Values, bytes.Clone(r.Bytes(DigestSize(q.PCRs.Alg))))
	}
	q.Attest, q.Signature = bytes.Clone(r.Sized(1024)), bytes.Clone(r.Sized(600))
	return q, finish(r, v)
}

// CertifyKey has the manager certify an endorsement key of this vTPM, whose TPM_PT_REVISION is given.
// A manager that does not know of revisions is asked without.
func (c *Client) CertifyKey(public []byte, revision uint32) (Certificates, error) {
	body, err := c.Call(TagVTPM, OrdCertifyKey, CertifyKeyBody(public, revision))
	if errors.Is(err, BadParameter) || errors.Is(err, BadVersion) {
		body, err = c.Call(TagVTPM, OrdCertifyKey, certifyKeyBody1(public))
	}
	if err != nil {
		return Certificates{}, err
	}
	return ParseCertificates(body)
}

// DeepQuote has the manager quote the hardware TPM for this vTPM.
func (c *Client) DeepQuote(req DeepQuoteRequest) (*DeepQuote, error) {
	body, err := c.Call(TagVTPM, OrdDeepQuote, req.Append(nil))
	if err != nil {
		return nil, err
	}
	q, err := ParseDeepQuote(body)
	if err == nil && !bytes.Equal(q.Data, req.Data) {
		err = errors.New("proto: deep quote over other data than asked for")
	}
	return q, err
}
