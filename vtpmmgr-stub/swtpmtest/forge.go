package swtpmtest

import (
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// Sealed is an object that an attacker has sealed.
type Sealed struct {
	Public, Private  []byte // TPMT_PUBLIC, TPM2B_PRIVATE contents
	Creation, Ticket []byte // TPMS_CREATION_DATA, TPMT_TK_CREATION
}

// Forge seals a secret of an attacker's own under any policy, in the state that
// the platform is in: as somebody does who has booted another system and may use
// the owner's authorisation. info and pcrs are what he has the TPM note.
func Forge(t testing.TB, s *TPM, secret []byte, policy [32]byte, info []byte, pcrs tpm2.TPMLPCRSelection) Sealed {
	t.Helper()
	srk, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = tpm2.FlushContext{FlushHandle: srk.ObjectHandle}.Execute(s) }()
	rsp, err := tpm2.Create{
		ParentHandle: tpm2.AuthHandle{Handle: srk.ObjectHandle, Name: srk.Name, Auth: tpm2.PasswordAuth(nil)},
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: secret})}},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: true},
			AuthPolicy:       tpm2.TPM2BDigest{Buffer: policy[:]},
			Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash,
				&tpm2.TPMSKeyedHashParms{Scheme: tpm2.TPMTKeyedHashScheme{Scheme: tpm2.TPMAlgNull}}),
		}),
		OutsideInfo: tpm2.TPM2BData{Buffer: info}, CreationPCR: pcrs,
	}.Execute(s)
	if err != nil {
		t.Fatal(err)
	}
	return Sealed{Public: rsp.OutPublic.Bytes(), Private: rsp.OutPrivate.Buffer,
		Creation: rsp.CreationData.Bytes(), Ticket: tpm2.Marshal(rsp.CreationTicket)}
}
