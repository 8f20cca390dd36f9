package hwtpm

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"xenvtpm/vtpmmgr-stub/proto"
)

// MaxSecret is the longest secret that can be sealed (TPM20-P4 MAX_SYM_DATA).
const MaxSecret = 128

// Seal makes secret openable by this TPM under the policy only, and opens it
// once to prove that it can be. Errors: ErrOwned, ErrPCRBank, ErrPolicy,
// ErrPCRMismatch (the authority approves no state that is this one).
func (t *TPM) Seal(secret []byte, p Policy) (b *Binding, err error) {
	defer t.done(&err)
	if len(secret) > MaxSecret {
		return nil, fmt.Errorf("internal error: secret of %d bytes", len(secret))
	}
	b = &Binding{Kind: KindTPM20, PCRs: p.PCRs, Auth: p.Authority}
	digest, err := t.sealPolicy(b)
	if err != nil {
		return nil, err
	}
	if b.Identity, err = t.Identity(); err != nil {
		return nil, err
	}
	info, noted, err := t.creation(b, p.Info)
	if err != nil {
		return nil, err
	}
	err = t.withPrimary(func(srk *primary) error {
		rsp, err := tpm2.Create{
			ParentHandle: srk.named(tpm2.HMAC(tpm2.TPMAlgSHA256, 16, salted(srk, true)...)),
			InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
				Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: secret})}},
			InPublic:    tpm2.New2B(sealTemplate(digest)),
			OutsideInfo: info, CreationPCR: noted,
		}.Execute(t.t)
		if err != nil {
			return classify("seal", err)
		}
		if b.Proof != nil {
			b.Proof.Creation, b.Proof.Ticket = bytes.Clone(rsp.CreationData.Bytes()), tpm2.Marshal(rsp.CreationTicket)
		}
		b.Public, b.Private = bytes.Clone(rsp.OutPublic.Bytes()), bytes.Clone(rsp.OutPrivate.Buffer)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := t.checkMade(b, p.Info); err != nil {
		return nil, fmt.Errorf("checking the sealed object: %w", err)
	}
	got, err := t.Unseal(b)
	if err != nil {
		return nil, fmt.Errorf("checking the sealed object: %w", err)
	}
	if !bytes.Equal(got, secret) {
		return nil, fmt.Errorf("%w: sealed object opens to something else", ErrMalformed)
	}
	return b, nil
}

// checkMade insists that a start in the present state would take the proof.
func (t *TPM) checkMade(b *Binding, info []byte) error {
	if b.Proof == nil {
		return nil
	}
	o, err := t.Origin(b, info)
	if err == nil && !o.Present {
		err = fmt.Errorf("%w: PCRs changed meanwhile", ErrPCRMismatch)
	}
	return err
}

// sealPolicy computes the policy digest, and notes the PCR values of a local one.
func (t *TPM) sealPolicy(b *Binding) ([32]byte, error) {
	if b.Auth != nil {
		b.PCRs = proto.PCRSelection{Alg: proto.AlgSHA256}
		name, err := keyName(b.Auth.Public)
		if err != nil {
			return [32]byte{}, err
		}
		return AuthorizePolicy(name, b.Auth.Ref), nil
	}
	var err error
	if b.Values, err = t.PCRs(b.PCRs); err != nil {
		return [32]byte{}, err
	}
	return PCRPolicy(b.PCRs, PCRDigest(b.Values)), nil
}

// sealTemplate: only the policy opens it (no userWithAuth), and it is not bound
// to dictionary-attack protection.
func sealTemplate(policy [32]byte) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgKeyedHash,
		NameAlg:          tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: true},
		AuthPolicy:       tpm2.TPM2BDigest{Buffer: policy[:]},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash,
			&tpm2.TPMSKeyedHashParms{Scheme: tpm2.TPMTKeyedHashScheme{Scheme: tpm2.TPMAlgNull}}),
	}
}

// Unseal opens a binding. Errors: ErrOwned, ErrCleared, ErrReplaced,
// ErrPCRMismatch (naming the PCRs where they are known), ErrPolicy,
// ErrSealDamaged.
func (t *TPM) Unseal(b *Binding) (secret []byte, err error) {
	defer t.done(&err)
	if b.Kind != KindTPM20 {
		return nil, fmt.Errorf("%w (it was a TPM 1.2)", ErrReplaced)
	}
	now, err := t.Identity()
	if err != nil {
		return nil, err
	}
	if err := b.Identity.judge(now); err != nil {
		return nil, err
	}
	satisfy, err := t.chooseBranch(b)
	if err != nil {
		return nil, err
	}
	err = t.withPrimary(func(srk *primary) error {
		obj, err := tpm2.Load{
			ParentHandle: srk.named(tpm2.PasswordAuth(nil)),
			InPrivate:    tpm2.TPM2BPrivate{Buffer: b.Private},
			InPublic:     tpm2.BytesAs2B[tpm2.TPMTPublic](b.Public),
		}.Execute(t.t)
		if err != nil {
			return t.loadError(b, err)
		}
		defer t.flush(obj.ObjectHandle)
		rsp, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: obj.ObjectHandle, Name: obj.Name,
			Auth: tpm2.Policy(tpm2.TPMAlgSHA256, 16, satisfy, salted(srk, false)...)}}.Execute(t.t)
		if err != nil {
			return unsealError(err)
		}
		secret = bytes.Clone(rsp.OutData.Buffer)
		return nil
	})
	return secret, err
}

// loadError tells a TPM that was cleared while it ran from an altered object.
func (t *TPM) loadError(b *Binding, err error) error {
	t.identity = nil
	if now, ierr := t.derive(); ierr == nil {
		if jerr := b.Identity.judge(now); jerr != nil {
			return jerr
		}
	}
	return fmt.Errorf("%w: %v", ErrSealDamaged, err)
}

func unsealError(err error) error {
	switch {
	case errors.Is(err, ErrPolicy):
		return err
	case errors.Is(err, tpm2.TPMRCPolicyFail), errors.Is(err, tpm2.TPMRCPCRChanged), errors.Is(err, tpm2.TPMRCValue):
		return fmt.Errorf("%w: the hardware TPM refuses to unseal (%v)", ErrPCRMismatch, err)
	}
	return classify("unseal", err)
}

// chooseBranch reads the PCRs and finds the policy that they satisfy.
func (t *TPM) chooseBranch(b *Binding) (tpm2.PolicyCallback, error) {
	if b.Auth == nil {
		now, err := t.PCRs(b.PCRs)
		if err != nil {
			return nil, err
		}
		if changed := changedPCRs(b.PCRs, b.Values, now); changed != "" {
			return nil, fmt.Errorf("%w: PCR %s changed since the key was sealed", ErrPCRMismatch, changed)
		}
		return func(tpm transport.TPM, h tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
			return policyPCR(tpm, h, b.PCRs, PCRDigest(now))
		}, nil
	}
	a, err := t.approved(b.Auth)
	if err != nil {
		return nil, err
	}
	return func(tpm transport.TPM, h tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
		return t.policyApproved(tpm, h, b.Auth, a)
	}, nil
}

// approved finds the approved state that is the present one.
func (t *TPM) approved(auth *Authority) (*Approval, error) {
	for i := range auth.Approvals {
		a := &auth.Approvals[i]
		now, err := t.PCRs(a.PCRs)
		if err != nil {
			return nil, err
		}
		if PCRDigest(now) == a.Digest {
			return a, nil
		}
	}
	return nil, fmt.Errorf("%w: none of the %d approved states is this one; have the group's authority sign the present PCRs, then `vtpmctl policy apply`",
		ErrPCRMismatch, len(auth.Approvals))
}

func changedPCRs(s proto.PCRSelection, old, now [][]byte) string {
	var names []string
	i := 0
	for pcr := range 24 {
		if s.Mask>>pcr&1 == 0 {
			continue
		}
		if i >= len(old) || i >= len(now) || !bytes.Equal(old[i], now[i]) {
			names = append(names, fmt.Sprint(pcr))
		}
		i++
	}
	return strings.Join(names, ", ")
}

func pcrList(s proto.PCRSelection) tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMIAlgHash(s.Alg),
		PCRSelect: []byte{byte(s.Mask), byte(s.Mask >> 8), byte(s.Mask >> 16)}}}}
}

func policyPCR(tpm transport.TPM, h tpm2.TPMISHPolicy, s proto.PCRSelection, digest [32]byte) error {
	_, err := tpm2.PolicyPCR{PolicySession: h, PcrDigest: tpm2.TPM2BDigest{Buffer: digest[:]}, Pcrs: pcrList(s)}.Execute(tpm)
	return err
}
