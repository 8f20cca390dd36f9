package attest

import (
	"errors"
	"fmt"
	"strconv"

	"xenvtpm/vtpmmgr-stub/proto"
)

// Check names a check; it is part of the --json output.
type Check string

const (
	CheckEK          Check = "hardware-ek"      // the hardware TPM's endorsement key can be read
	CheckEKCert      Check = "ek-certificate"   // its manufacturer certifies it
	CheckEnrolment   Check = "enrolment"        // the authority saw AK and EK in one TPM
	CheckAK          Check = "manager-ak"       // the manager's AK signs no forgeries
	CheckCA          Check = "manager-ca"       // the manager's CA key lives in that TPM
	CheckManager     Check = "manager"          // it is the manager asked for
	CheckCertificate Check = "vtpm-certificate" // the CA certifies a vTPM's endorsement key
	CheckDeepQuote   Check = "deep-quote"       // the hardware TPM quotes for a vTPM
	CheckSameVTPM    Check = "same-vtpm"        // certificate and deep quote are of one vTPM
	CheckVTPM        Check = "vtpm"             // it is the vTPM asked for
	CheckGroup       Check = "group"            // it is in the group asked for
	CheckApprover    Check = "approver"         // the key asked for approves the group's states
	CheckHardware    Check = "hardware-pcrs"    // the PCRs asked for are quoted, with values that are allowed
	CheckQuote       Check = "vtpm-quote"       // the vTPM's quote is signed by its AK
	CheckKey         Check = "vtpm-key"         // that AK lives in the vTPM
	CheckBinding     Check = "deep-quote-data"  // the deep quote is over the vTPM's quote
	CheckNonce       Check = "nonce"            // the quote is fresh
	CheckValues      Check = "guest-pcr-values" // the values in the bundle are those quoted
	CheckGuest       Check = "guest-pcrs"       // as hardware-pcrs, of the vTPM
	CheckEventLog    Check = "event-log"        // the log leads to the PCRs quoted
)

// Finding is the outcome of one check.
type Finding struct {
	Check Check  `json:"check"`
	OK    bool   `json:"ok"`
	Text  string `json:"text"`
}

// Report is the outcome of all.
type Report struct {
	OK        bool      `json:"ok"`
	Findings  []Finding `json:"findings"`
	NotProven []string  `json:"not_proven,omitempty"` // what nothing in the bundle shows, or nobody asked to check
	Manager   string    `json:"manager,omitempty"`
	VTPM      string    `json:"vtpm,omitempty"` // uuids, as the deep quote has them
	Group     string    `json:"group,omitempty"`
	Hardware  *Quoted   `json:"hardware,omitempty"` // the platform's PCRs
	Guest     *Quoted   `json:"guest,omitempty"`    // the vTPM's

	PCRs map[string]string `json:"pcrs,omitempty"` // Hardware.Values once more, where older releases had them
}

// Quoted are PCRs that a quote covers.
type Quoted struct {
	Bank   string            `json:"bank"`
	PCRs   []int             `json:"pcrs"`
	Values map[string]string `json:"values,omitempty"` // hex, by number; of the guest only if the bundle has them
}

func newQuoted(sel proto.PCRSelection, values [][]byte) *Quoted {
	q := &Quoted{Bank: bankName(sel.Alg), PCRs: []int{}}
	for pcr := range pcrCount {
		if sel.Mask>>pcr&1 == 1 {
			q.PCRs = append(q.PCRs, pcr)
		}
	}
	if len(values) == len(q.PCRs) {
		q.Values = map[string]string{}
		for i, pcr := range q.PCRs {
			q.Values[strconv.Itoa(pcr)] = fmt.Sprintf("%x", values[i])
		}
	}
	return q
}

var errMissing = errors.New("missing from the bundle")

// present is an error for what is not there.
func present(b []byte) error {
	if len(b) == 0 {
		return errMissing
	}
	return nil
}

func (r *Report) check(c Check, err error, format string, args ...any) bool {
	f := Finding{Check: c, OK: err == nil, Text: fmt.Sprintf(format, args...)}
	if err != nil {
		f.Text += ": " + err.Error()
		r.OK = false
	}
	r.Findings = append(r.Findings, f)
	return err == nil
}

func (r *Report) unproven(format string, args ...any) {
	r.NotProven = append(r.NotProven, fmt.Sprintf(format, args...))
}

// asked compares an identity with the one asked for, if any.
func (r *Report) asked(c Check, what string, want *proto.UUID, got proto.UUID, known bool) {
	if want == nil {
		return
	}
	var err error
	switch {
	case !known:
		err = errors.New("nothing in the bundle shows which it is")
	case *want != got:
		err = fmt.Errorf("it is %v", got)
	}
	r.check(c, err, "the %s is %v", what, *want)
}
