package hwtpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"xenvtpm/vtpmmgr-stub/proto"
)

// Policies are computed here without a TPM, so that an approval can be made
// offline. The policy hash is SHA-256.

const (
	ccPolicyAuthorize = 0x0000016A
	ccPolicyPCR       = 0x0000017F
)

// selectionBytes is a TPML_PCR_SELECTION with one bank of 24 PCRs.
func selectionBytes(s proto.PCRSelection) []byte {
	b := binary.BigEndian.AppendUint32(nil, 1)
	b = binary.BigEndian.AppendUint16(b, s.Alg)
	return append(b, 3, byte(s.Mask), byte(s.Mask>>8), byte(s.Mask>>16))
}

// PCRDigest is the digest over PCR values in rising order that PolicyPCR takes.
func PCRDigest(values [][]byte) [32]byte { return sha256.Sum256(bytes.Join(values, nil)) }

// PCRPolicy is the policy digest of one PolicyPCR (TPM20-P3 23.7).
func PCRPolicy(s proto.PCRSelection, digest [32]byte) [32]byte {
	b := make([]byte, 32, 128)
	b = binary.BigEndian.AppendUint32(b, ccPolicyPCR)
	b = append(b, selectionBytes(s)...)
	return sha256.Sum256(append(b, digest[:]...))
}

// AuthorizePolicy is the policy digest of PolicyAuthorize with the key of the
// given Name (TPM20-P3 23.16).
func AuthorizePolicy(keyName, ref []byte) [32]byte {
	b := make([]byte, 32, 128)
	b = binary.BigEndian.AppendUint32(b, ccPolicyAuthorize)
	first := sha256.Sum256(append(b, keyName...))
	return sha256.Sum256(append(first[:], ref...))
}

// Authority is a group's approval key as the TPM sees it.
type Authority struct {
	Public    []byte // TPMT_PUBLIC
	Ref       []byte // policyRef
	Approvals []Approval
}

// Approval is one approved platform state. Signature is a TPMT_SIGNATURE over
// PCRPolicy(PCRs, Digest) followed by the authority's Ref.
type Approval struct {
	PCRs      proto.PCRSelection
	Digest    [32]byte
	Signature []byte
}

// Policy says when a sealed object opens: in one platform state (Authority nil:
// PCRs as they are when it is sealed), or in each that the authority approves.
type Policy struct {
	PCRs      proto.PCRSelection
	Authority *Authority
	Info      []byte // of the maker, for a proof of the making (Origin); nil: none
}

// Limits of what a binding may hold.
const (
	maxApprovals  = 32
	maxPublic     = 1024
	maxSignature  = 600
	maxSealedPart = 1024
)

func (a *Authority) append(b []byte) []byte {
	b = proto.AppendSized(b, a.Public)
	b = proto.AppendSized(b, a.Ref)
	b = append(b, byte(len(a.Approvals)))
	for i := range a.Approvals {
		b = a.Approvals[i].append(b)
	}
	return b
}

func (a *Approval) append(b []byte) []byte {
	b = a.PCRs.Append(b)
	b = append(b, a.Digest[:]...)
	return proto.AppendSized(b, a.Signature)
}

func readApproval(r *proto.Reader) (a Approval) {
	a.PCRs = proto.ReadPCRSelection(r)
	copy(a.Digest[:], r.Bytes(32))
	a.Signature = bytes.Clone(r.Sized(maxSignature))
	return a
}

func readAuthority(r *proto.Reader) (*Authority, error) {
	a := &Authority{Public: bytes.Clone(r.Sized(maxPublic)), Ref: bytes.Clone(r.Sized(64))}
	n := int(r.U8())
	if n > maxApprovals {
		return nil, fmt.Errorf("%w: %d approvals", ErrPolicy, n)
	}
	for range n {
		a.Approvals = append(a.Approvals, readApproval(r))
	}
	return a, r.Err()
}
