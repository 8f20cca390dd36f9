package hwtpm

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/proto"
)

// A policy says in which platform states a sealed object opens; it does not say
// who made the object. Anybody who may use the storage key, in whatever state the
// platform is, can seal a secret of his own under another's policy. What he cannot
// choose is what the TPM notes about the making (TPMS_CREATION_DATA): the PCRs
// then, the parent, and a text of the maker's. A ticket under a secret of the
// TPM's hierarchy binds it to the object's Name, and TPM2_CertifyCreation checks
// it (TPM20-P3 18.3). Checked in a session that is salted to the storage key, it
// needs no signature: the session's HMAC says that the TPM has said yes.

// Proof is what the TPM noted about the making of a sealed object.
type Proof struct {
	Creation []byte    // TPMS_CREATION_DATA
	Ticket   []byte    // TPMT_TK_CREATION
	State    *Approval // of the authority, under which it was made; nil: local policy
}

// Origin is where a sealed object was made.
type Origin struct {
	PCRs     proto.PCRSelection // that the TPM noted
	Present  bool               // they were as they are now
	Approved bool               // the object's authority has signed that state
}

// Refusals of an origin.
var (
	ErrNoProof = errors.New("sealed object has no proof of where it was made")
	ErrForged  = errors.New("sealed object was not made by this manager: forged, or of another machine")
)

// Limits of a proof's parts.
const (
	maxCreation = 512
	maxTicket   = 128
)

func (p *Proof) append(b []byte) []byte {
	b = proto.AppendSized(b, p.Creation)
	b = proto.AppendSized(b, p.Ticket)
	if p.State == nil {
		return append(b, 0)
	}
	return p.State.append(append(b, 1))
}

func readProof(r *proto.Reader) *Proof {
	p := &Proof{Creation: bytes.Clone(r.Sized(maxCreation)), Ticket: bytes.Clone(r.Sized(maxTicket))}
	if r.U8() != 0 {
		a := readApproval(r)
		p.State = &a
	}
	return p
}

// creation is what Seal asks the TPM to note: the maker's text, and the PCRs of
// the policy that the present state satisfies.
func (t *TPM) creation(b *Binding, info []byte) (tpm2.TPM2BData, tpm2.TPMLPCRSelection, error) {
	if len(info) == 0 {
		return tpm2.TPM2BData{}, tpm2.TPMLPCRSelection{}, nil
	}
	b.Proof = &Proof{}
	sel := b.PCRs
	if b.Auth != nil {
		a, err := t.approved(b.Auth)
		if err != nil {
			return tpm2.TPM2BData{}, tpm2.TPMLPCRSelection{}, err
		}
		sel, b.Proof.State = a.PCRs, a
	}
	return tpm2.TPM2BData{Buffer: info}, pcrList(sel), nil
}

// Origin checks where a sealed object was made: on this TPM, below its present
// storage key, with that text of the maker's. Errors: ErrNoProof, ErrForged, and
// those of the TPM.
func (t *TPM) Origin(b *Binding, info []byte) (o Origin, err error) {
	defer t.done(&err)
	if b.Kind != KindTPM20 {
		return o, fmt.Errorf("%w (it was a TPM 1.2)", ErrReplaced)
	}
	now, err := t.Identity()
	if err != nil {
		return o, err
	}
	if err := b.Identity.judge(now); err != nil {
		return o, err
	}
	if b.Proof == nil {
		return o, ErrNoProof
	}
	if err := checkTemplate(b); err != nil {
		return o, err
	}
	noted, err := tpm2.Unmarshal[tpm2.TPMSCreationData](b.Proof.Creation)
	if err != nil {
		return o, fmt.Errorf("%w: creation data malformed", ErrForged)
	}
	if err := t.certifyCreation(b, noted); err != nil {
		return o, err
	}
	if !bytes.Equal(noted.OutsideInfo.Buffer, info) {
		return o, fmt.Errorf("%w (it was made for something else)", ErrForged)
	}
	return t.judgeState(b, noted)
}

// checkTemplate insists on an object such as Seal makes. The policy in it stands
// for all that the binding says of its authority.
func checkTemplate(b *Binding) error {
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](b.Public)
	if err != nil {
		return fmt.Errorf("%w: public area malformed", ErrForged)
	}
	policy := PCRPolicy(b.PCRs, PCRDigest(b.Values))
	if b.Auth != nil {
		name, err := keyName(b.Auth.Public)
		if err != nil {
			return err
		}
		policy = AuthorizePolicy(name, b.Auth.Ref)
	}
	want := sealTemplate(policy)
	want.Unique = pub.Unique
	if !bytes.Equal(tpm2.Marshal(want), b.Public) {
		return fmt.Errorf("%w (it is an object of another kind or policy)", ErrForged)
	}
	return nil
}

// certifyCreation has the TPM check the ticket. The object's Name is computed
// here and the session's HMAC covers it, so that the bus cannot give another's.
func (t *TPM) certifyCreation(b *Binding, noted *tpm2.TPMSCreationData) error {
	name, err := keyName(b.Public)
	if err != nil {
		return err
	}
	ticket, err := tpm2.Unmarshal[tpm2.TPMTTKCreation](b.Proof.Ticket)
	if err != nil {
		return fmt.Errorf("%w: ticket malformed", ErrForged)
	}
	digest := sha256.Sum256(b.Proof.Creation)
	return t.withPrimary(func(srk *primary) error {
		if !bytes.Equal(noted.ParentName.Buffer, srk.name.Buffer) {
			return fmt.Errorf("%w (it was made below another storage key)", ErrForged)
		}
		obj, err := tpm2.Load{ParentHandle: srk.named(tpm2.PasswordAuth(nil)),
			InPrivate: tpm2.TPM2BPrivate{Buffer: b.Private}, InPublic: tpm2.BytesAs2B[tpm2.TPMTPublic](b.Public)}.Execute(t.t)
		if err != nil {
			return t.loadError(b, err)
		}
		defer t.flush(obj.ObjectHandle)
		_, err = tpm2.CertifyCreation{
			SignHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHNull, Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16,
				tpm2.Salted(srk.handle, srk.public))},
			ObjectHandle:   tpm2.NamedHandle{Handle: obj.ObjectHandle, Name: tpm2.TPM2BName{Buffer: name}},
			CreationHash:   tpm2.TPM2BDigest{Buffer: digest[:]},
			InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
			CreationTicket: *ticket,
		}.Execute(t.t)
		if errors.Is(err, tpm2.TPMRCTicket) || errors.Is(err, tpm2.TPMRCValue) || errors.Is(err, tpm2.TPMRCHierarchy) {
			return fmt.Errorf("%w: the TPM refuses the ticket of its making", ErrForged)
		}
		if err != nil {
			return classify("certify creation", err)
		}
		return nil
	})
}

// judgeState compares the PCRs of the making with those of now, and with the
// state that the authority has signed.
func (t *TPM) judgeState(b *Binding, noted *tpm2.TPMSCreationData) (o Origin, err error) {
	if len(noted.PCRSelect.PCRSelections) != 1 {
		return o, fmt.Errorf("%w (it notes no PCRs of one bank)", ErrForged)
	}
	o.PCRs.Alg = uint16(noted.PCRSelect.PCRSelections[0].Hash)
	if o.PCRs.Mask, err = gotMask(o.PCRs.Alg, noted.PCRSelect); err != nil || o.PCRs.Mask>>24 != 0 || proto.DigestSize(o.PCRs.Alg) == 0 {
		return o, fmt.Errorf("%w (it notes unknown PCRs)", ErrForged)
	}
	now, err := t.PCRs(o.PCRs)
	if err != nil {
		return o, err
	}
	present := PCRDigest(now)
	o.Present = bytes.Equal(present[:], noted.PCRDigest.Buffer)
	if s := b.Proof.State; s != nil && b.Auth != nil {
		policy := PCRPolicy(s.PCRs, s.Digest)
		o.Approved = s.PCRs == o.PCRs && bytes.Equal(s.Digest[:], noted.PCRDigest.Buffer) &&
			VerifyMessage(b.Auth.Public, append(policy[:], b.Auth.Ref...), s.Signature) == nil
	}
	return o, nil
}
