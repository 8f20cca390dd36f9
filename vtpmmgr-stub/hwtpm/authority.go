package hwtpm

import (
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// keyName is the Name of a TPMT_PUBLIC.
func keyName(public []byte) ([]byte, error) {
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return nil, fmt.Errorf("%w: public key: %v", ErrPolicy, err)
	}
	name, err := tpm2.ObjectName(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: public key: %v", ErrPolicy, err)
	}
	return name.Buffer, nil
}

// policyApproved satisfies PolicyPCR and then turns it into the policy of
// PolicyAuthorize, with a ticket that the TPM gives for the approval's signature.
func (t *TPM) policyApproved(tpm transport.TPM, h tpm2.TPMISHPolicy, auth *Authority, a *Approval) error {
	policy := PCRPolicy(a.PCRs, a.Digest)
	if err := policyPCR(tpm, h, a.PCRs, a.Digest); err != nil {
		return err
	}
	ticket, name, err := t.verify(tpm, auth.Public, append(policy[:], auth.Ref...), a.Signature)
	if err != nil {
		return err
	}
	_, err = tpm2.PolicyAuthorize{PolicySession: h,
		ApprovedPolicy: tpm2.TPM2BDigest{Buffer: policy[:]},
		PolicyRef:      tpm2.TPM2BDigest{Buffer: auth.Ref},
		KeySign:        name, CheckTicket: ticket}.Execute(tpm)
	return err
}

// verify has the TPM check a signature over message with a public key. The
// message is hashed with the key's Name algorithm (TPM20-P3 23.16, aHash).
func (t *TPM) verify(tpm transport.TPM, public, message, signature []byte) (tpm2.TPMTTKVerified, tpm2.TPM2BName, error) {
	var none tpm2.TPMTTKVerified
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return none, tpm2.TPM2BName{}, fmt.Errorf("%w: public key: %v", ErrPolicy, err)
	}
	sig, err := tpm2.Unmarshal[tpm2.TPMTSignature](signature)
	if err != nil {
		return none, tpm2.TPM2BName{}, fmt.Errorf("%w: signature: %v", ErrPolicy, err)
	}
	alg, err := pub.NameAlg.Hash()
	if err != nil {
		return none, tpm2.TPM2BName{}, fmt.Errorf("%w: %v", ErrPolicy, err)
	}
	hash := alg.New()
	hash.Write(message)
	key, err := tpm2.LoadExternal{InPublic: tpm2.New2B(*pub), Hierarchy: tpm2.TPMRHOwner}.Execute(tpm)
	if err != nil {
		return none, tpm2.TPM2BName{}, fmt.Errorf("%w: loading the authority's key: %v", ErrPolicy, err)
	}
	defer t.flush(key.ObjectHandle)
	rsp, err := tpm2.VerifySignature{
		KeyHandle: tpm2.NamedHandle{Handle: key.ObjectHandle, Name: key.Name},
		Digest:    tpm2.TPM2BDigest{Buffer: hash.Sum(nil)},
		Signature: *sig,
	}.Execute(tpm)
	if err != nil {
		return none, tpm2.TPM2BName{}, fmt.Errorf("%w: signature: %v", ErrPolicy, err)
	}
	return rsp.Validation, key.Name, nil
}
