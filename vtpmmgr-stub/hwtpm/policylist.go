package hwtpm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"xenvtpm/vtpmmgr-stub/proto"
)

// PolicyList is what an authority signs for a group: the platform states in
// which the group opens, and a sequence number that only goes up. The list as a
// whole is signed for the manager; each state in it is signed for the TPM.
type PolicyList struct {
	Group     proto.UUID // zero: the manager's root
	Sequence  uint64
	Approvals []Approval
	Signature []byte // TPMT_SIGNATURE over Message
}

// PolicyRef binds an approval to its group, so that an authority of several
// groups cannot be played one for another.
func PolicyRef(group proto.UUID) []byte { return bytes.Clone(group[:]) }

// Message is what the list's signature covers.
func (l *PolicyList) Message() []byte {
	b := append([]byte("xenvtpm policy list 1\x00"), l.Group[:]...)
	b = binary.BigEndian.AppendUint64(b, l.Sequence)
	b = append(b, byte(len(l.Approvals)))
	for _, a := range l.Approvals {
		b = a.PCRs.Append(b)
		b = append(b, a.Digest[:]...)
	}
	return b
}

// Message is what an approval's signature covers (TPM20-P3 23.16: aHash).
func (a *Approval) Message(group proto.UUID) []byte {
	p := PCRPolicy(a.PCRs, a.Digest)
	return append(p[:], PolicyRef(group)...)
}

// Sign fills in all signatures. sign returns a TPMT_SIGNATURE (EncodeSignature).
func (l *PolicyList) Sign(sign func(message []byte) ([]byte, error)) (err error) {
	for i := range l.Approvals {
		if l.Approvals[i].Signature, err = sign(l.Approvals[i].Message(l.Group)); err != nil {
			return err
		}
	}
	l.Signature, err = sign(l.Message())
	return err
}

// Verify checks all signatures against an authority's TPMT_PUBLIC.
func (l *PolicyList) Verify(public []byte) error {
	if len(l.Approvals) == 0 || len(l.Approvals) > maxApprovals {
		return fmt.Errorf("%w: %d platform states, want 1 to %d", ErrPolicy, len(l.Approvals), maxApprovals)
	}
	if err := VerifyMessage(public, l.Message(), l.Signature); err != nil {
		return err
	}
	for i := range l.Approvals {
		a := &l.Approvals[i]
		if a.PCRs.Mask == 0 || a.PCRs.Alg == proto.AlgSHA1 {
			return fmt.Errorf("%w: state %d names no PCRs, or the SHA-1 bank", ErrPolicy, i)
		}
		if err := VerifyMessage(public, a.Message(l.Group), a.Signature); err != nil {
			return fmt.Errorf("state %d: %w", i, err)
		}
	}
	return nil
}

// maxList is above the encoding of the longest list.
const maxList = 32 << 10

// Append appends the list's encoding.
func (l *PolicyList) Append(b []byte) []byte {
	b = append(b, "XVTPOL\x00\x01"...)
	b = append(b, l.Group[:]...)
	b = binary.BigEndian.AppendUint64(b, l.Sequence)
	b = append(b, byte(len(l.Approvals)))
	for i := range l.Approvals {
		b = l.Approvals[i].append(b)
	}
	return proto.AppendSized(b, l.Signature)
}

// ParsePolicyList reads all of in; it verifies nothing.
func ParsePolicyList(in []byte) (*PolicyList, error) {
	r := proto.NewReader(in)
	if len(in) > maxList || string(r.Bytes(8)) != "XVTPOL\x00\x01" {
		return nil, fmt.Errorf("%w: not a policy list of this version", ErrPolicy)
	}
	l := &PolicyList{Group: r.UUID(), Sequence: r.U64()}
	n := int(r.U8())
	if n > maxApprovals {
		return nil, fmt.Errorf("%w: %d platform states", ErrPolicy, n)
	}
	for range n {
		l.Approvals = append(l.Approvals, readApproval(r))
	}
	l.Signature = bytes.Clone(r.Sized(maxSignature))
	if r.Done() != nil {
		return nil, fmt.Errorf("%w: list is cut off or too long", ErrPolicy)
	}
	return l, nil
}
