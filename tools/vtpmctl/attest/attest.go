// Package attest checks, offline, what a manager and a vTPM say about
// themselves: from the hardware TPM's endorsement key over the manager's keys to
// a vTPM's quote and the PCRs of the platform below it.
//
// Everything in a bundle may be forged, save what a signature covers whose key
// is trusted, and everything may be left out. The trust begins with one thing that
// the verifier brings: the public key of the authority that enrolled the manager.
// What he asks for and the bundle does not have is a failed check; what he does not
// ask for and nothing shows is said to be not proven.
package attest

import (
	"crypto/x509"

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

// Bundle is what is checked.
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
	Key         []byte `json:"key,omitempty"`        // TPMT_PUBLIC of the vTPM's AK
	Parent      []byte `json:"parent,omitempty"`     // TPMT_PUBLIC of the primary above it; not for a primary, nor below the EK
	PCRValues   []byte `json:"pcr_values,omitempty"` // of the PCRs in Quote, one behind the other, in rising order
	Nonce       []byte `json:"nonce,omitempty"`      // what the guest was asked for; a verifier knows his own
}

// Trust is what the verifier brings, and what he asks for. Only Authority is always
// asked for.
type Trust struct {
	Authority   []byte         // TPMT_PUBLIC of the enrolling authority
	EKRoots     *x509.CertPool // of TPM manufacturers, for the hardware TPM's certificate; nil: not asked for
	Nonce       []byte         // that the vTPM's quote carries; nil: not asked for
	Manager     *proto.UUID    // nil: any that the authority enrolled
	VTPM, Group *proto.UUID    // nil: any
	Approver    []byte         // TPMT_PUBLIC of the key that approves the group's states; nil: any, or none
	Hardware    *Rule          // nil: DefaultHardware
	Guest       *Rule          // nil: nothing
	EventLog    bool           // the platform's event log leads to the quoted PCRs
	ManagerOnly bool           // ask for the manager alone; nothing of a vTPM is looked at
}

// Verify checks a bundle.
func Verify(b *Bundle, trust Trust) *Report {
	r := &Report{OK: true}
	r.manager(b, trust)
	if trust.ManagerOnly {
		r.unproven("anything about a vTPM or the platform's state: only the manager's enrolment was asked for")
		return r
	}
	v := b.VTPM
	if v == nil {
		v = &VTPM{} // all that follows is then missing
	}
	q := r.vtpm(b, v, trust)
	r.quote(v, q, trust)
	r.eventLog(b.EventLog, q, trust.EventLog)
	return r
}
