package attest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// vtpm checks certificate and deep quote; nil if there is no good quote.
func (r *Report) vtpm(b *Bundle, v *VTPM, trust Trust) *proto.DeepQuote {
	uuid, err := checkCertificate(&b.Manager, v.Certificate)
	r.check(CheckCertificate, err, "the manager certifies the endorsement key of vTPM %s", uuid)
	q, err := readDeepQuote(b.Manager.AKPublic, v.DeepQuote)
	good := q != nil
	if !good {
		q = &proto.DeepQuote{}
	}
	r.check(CheckDeepQuote, err, "the hardware TPM quotes its PCRs for vTPM %v of group %v", q.UUID, q.Group)
	r.check(CheckSameVTPM, same(uuid, q, good), "certificate and deep quote belong together")
	r.asked(CheckVTPM, "vTPM", trust.VTPM, q.UUID, good)
	r.asked(CheckGroup, "group", trust.Group, q.Group, good)
	r.approver(trust.Approver, q, good)
	r.pcrs(CheckHardware, "hardware", trust.hardware(), q.PCRs, q.Values, good)
	if !good {
		return nil
	}
	r.VTPM, r.Group = q.UUID.String(), q.Group.String()
	r.Hardware = newQuoted(q.PCRs, q.Values)
	r.PCRs = r.Hardware.Values
	if trust.VTPM == nil {
		r.unproven("that this is the vTPM you mean: compare %v", q.UUID)
	}
	return q
}

func checkCertificate(m *proto.Attest, certificate []byte) (uuid string, err error) {
	if err := errors.Join(present(certificate), present(m.CACertificate)); err != nil {
		return "", errMissing
	}
	ca, err := x509.ParseCertificate(m.CACertificate)
	if err != nil {
		return "", err
	}
	cert, err := x509.ParseCertificate(trimmed(certificate))
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

// readDeepQuote returns a deep quote that the AK has signed.
func readDeepQuote(ak, evidence []byte) (*proto.DeepQuote, error) {
	if len(evidence) == 0 {
		return nil, errMissing
	}
	q, err := proto.ParseDeepQuote(evidence)
	if err != nil {
		return nil, err
	}
	if err := checkDeepQuote(ak, q); err != nil {
		return nil, err
	}
	return q, nil
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

func same(uuid string, q *proto.DeepQuote, good bool) error {
	switch {
	case uuid == "" || !good:
		return errors.New("one of them is missing or not good")
	case uuid != q.UUID.String():
		return fmt.Errorf("the deep quote is of vTPM %v, the certificate of %s", q.UUID, uuid)
	}
	return nil
}

// approver looks at the key that approves the states in which the vTPM's group opens.
func (r *Report) approver(want []byte, q *proto.DeepQuote, good bool) {
	if want == nil {
		switch {
		case !good:
		case q.Authority == [32]byte{}:
			r.unproven("that anybody approves the states in which the vTPM's group opens: the manager is not provisioned")
		default:
			r.unproven("whose key approves the states in which the vTPM's group opens: compare %x", q.Authority)
		}
		return
	}
	var err error
	switch {
	case !good:
		err = errMissing
	case q.Authority == [32]byte{}:
		err = errors.New("the group has no such key: the manager is not provisioned")
	case q.Authority != sha256.Sum256(want):
		err = fmt.Errorf("it is another key, %x", q.Authority[:8])
	}
	r.check(CheckApprover, err, "%s approves the states in which the vTPM's group opens", hwtpm.AuthorityName(want))
}

// quote checks the vTPM's own quote, and that the deep quote was made over it.
func (r *Report) quote(v *VTPM, q *proto.DeepQuote, trust Trust) {
	quoted, err := readQuote(v)
	good := r.check(CheckQuote, err, "the vTPM's quote is signed by its attestation key")
	where, err := "", error(errMissing)
	if good {
		where, err = origin(v, quoted.Signer)
	}
	r.check(CheckKey, err, "that attestation key lives in the vTPM and signs no forgeries%s", where)
	r.check(CheckBinding, bound(v, q, good), "the deep quote was made over this quote of the vTPM")
	r.nonce(trust.Nonce, quoted.Extra, good)
	r.guest(v, quoted, trust.guest(), good)
}

func readQuote(v *VTPM) (q hwtpm.Quoted, err error) {
	if present(v.Quote) != nil || present(v.Signature) != nil || present(v.Key) != nil {
		return q, errMissing
	}
	if err := hwtpm.VerifyAttest(v.Key, v.Quote, v.Signature); err != nil {
		return q, err
	}
	return hwtpm.ParseQuote(v.Quote)
}

func bound(v *VTPM, q *proto.DeepQuote, good bool) error {
	if q == nil || !good {
		return errors.New("one of them is missing or not good")
	}
	if sum := sha256.Sum256(v.Quote); !bytes.Equal(q.Data, sum[:]) {
		return errors.New("it was made over something else")
	}
	return nil
}

func (r *Report) nonce(want, got []byte, good bool) {
	if want == nil {
		r.unproven("that the quotes are fresh: no nonce was asked for")
		return
	}
	var err error
	switch {
	case !good:
		err = errMissing
	case len(want) == 0 || !bytes.Equal(got, want):
		err = errors.New("it carries another nonce: it may be old")
	}
	r.check(CheckNonce, err, "the quote is fresh")
}

// guest reports the vTPM's PCRs, and applies the rule for them.
func (r *Report) guest(v *VTPM, quoted hwtpm.Quoted, rule Rule, good bool) {
	var values [][]byte
	switch {
	case !good:
	case len(v.PCRValues) == 0:
		r.unproven("the values of the guest's PCRs: the bundle has only their digest, %x", quoted.Digest)
	default:
		var err error
		values, err = guestValues(v.PCRValues, quoted)
		r.check(CheckValues, err, "the values of the guest's PCRs are those that its vTPM quoted")
	}
	r.pcrs(CheckGuest, "guest", rule, quoted.PCRs, values, good)
	if good {
		r.Guest = newQuoted(quoted.PCRs, values)
	}
}

// guestValues splits the values and compares them with the quote's digest.
func guestValues(raw []byte, quoted hwtpm.Quoted) (values [][]byte, err error) {
	size := proto.DigestSize(quoted.PCRs.Alg)
	if size == 0 || len(raw) != size*quoted.PCRs.Count() {
		return nil, fmt.Errorf("%d bytes are not %d values of bank %s", len(raw), quoted.PCRs.Count(), bankName(quoted.PCRs.Alg))
	}
	for ; len(raw) > 0; raw = raw[size:] {
		values = append(values, raw[:size])
	}
	if d := hwtpm.PCRDigest(values); !bytes.Equal(d[:], quoted.Digest) {
		return nil, errors.New("they differ")
	}
	return values, nil
}
