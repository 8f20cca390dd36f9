package hwtpm

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"xenvtpm/vtpmmgr-stub/proto"
)

// AttestKeys are two signing keys that live in the hardware TPM below the
// storage primary: AK signs only what the TPM itself has made (quotes, and the
// certification of CA), CA signs the manager's certificates. Their private parts
// are encrypted to the TPM, and using them takes an authorisation that follows
// from the root key.
type AttestKeys struct {
	AKPublic, AKPrivate []byte // TPMT_PUBLIC, TPM2B_PRIVATE contents
	CAPublic, CAPrivate []byte
}

// Append appends the encoding.
func (k *AttestKeys) Append(b []byte) []byte {
	for _, f := range [][]byte{k.AKPublic, k.AKPrivate, k.CAPublic, k.CAPrivate} {
		b = proto.AppendSized(b, f)
	}
	return b
}

// ReadAttestKeys takes the encoding.
func ReadAttestKeys(r *proto.Reader) *AttestKeys {
	k := &AttestKeys{}
	for _, f := range []*[]byte{&k.AKPublic, &k.AKPrivate, &k.CAPublic, &k.CAPrivate} {
		*f = bytes.Clone(r.Sized(maxSealedPart))
	}
	return k
}

// signTemplate is a P-256 ECDSA key; restricted: it signs the TPM's own
// structures only.
func signTemplate(restricted bool) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true,
			Restricted: restricted, SignEncrypt: true},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256,
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			Scheme:    tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})},
			KDF:       tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull}}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}
}

// MakeAttestKeys creates both keys. auth has no zero bytes.
func (t *TPM) MakeAttestKeys(auth []byte) (k *AttestKeys, err error) {
	defer t.done(&err)
	k = &AttestKeys{}
	err = t.withPrimary(func(srk *primary) error {
		for _, key := range []struct {
			restricted      bool
			public, private *[]byte
		}{{true, &k.AKPublic, &k.AKPrivate}, {false, &k.CAPublic, &k.CAPrivate}} {
			rsp, err := tpm2.Create{
				ParentHandle: srk.named(tpm2.HMAC(tpm2.TPMAlgSHA256, 16, salted(srk, true)...)),
				InSensitive:  tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: auth}}},
				InPublic:     tpm2.New2B(signTemplate(key.restricted)),
			}.Execute(t.t)
			if err != nil {
				return classify("create attestation key", err)
			}
			*key.public, *key.private = bytes.Clone(rsp.OutPublic.Bytes()), bytes.Clone(rsp.OutPrivate.Buffer)
		}
		return nil
	})
	return k, err
}

// loaded lends a loaded key to f.
func (t *TPM) loaded(srk *primary, public, private []byte, f func(tpm2.NamedHandle) error) error {
	key, err := t.load(srk, public, private)
	if err != nil {
		return err
	}
	defer t.flush(key.Handle)
	return f(key)
}

func (t *TPM) load(srk *primary, public, private []byte) (tpm2.NamedHandle, error) {
	rsp, err := tpm2.Load{ParentHandle: srk.named(tpm2.PasswordAuth(nil)),
		InPrivate: tpm2.TPM2BPrivate{Buffer: private}, InPublic: tpm2.BytesAs2B[tpm2.TPMTPublic](public)}.Execute(t.t)
	if err != nil {
		return tpm2.NamedHandle{}, classify("load attestation key", err)
	}
	return tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}, nil
}

func authFor(h tpm2.NamedHandle, s tpm2.Session) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: h.Handle, Name: h.Name, Auth: s}
}

// keyAuth authorises the use of a key, in a salted session.
func keyAuth(srk *primary, auth []byte) tpm2.Session {
	return tpm2.HMAC(tpm2.TPMAlgSHA256, 16, tpm2.Auth(auth), tpm2.Salted(srk.handle, srk.public))
}

// Sign signs a digest with the CA key; ASN.1 form.
func (t *TPM) Sign(k *AttestKeys, auth []byte, digest [32]byte) (sig []byte, err error) {
	defer t.done(&err)
	err = t.withKey(k.CAPublic, k.CAPrivate, func(srk *primary, ca tpm2.NamedHandle) error {
		rsp, err := tpm2.Sign{KeyHandle: authFor(ca, keyAuth(srk, auth)), Digest: tpm2.TPM2BDigest{Buffer: digest[:]},
			InScheme:   tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
			Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull}}.Execute(t.t)
		if err != nil {
			return classify("sign", err)
		}
		s, err := rsp.Signature.Signature.ECDSA()
		if err != nil {
			return fmt.Errorf("%w: signature: %v", ErrMalformed, err)
		}
		sig, err = asn1.Marshal(ecdsaSignature{new(big.Int).SetBytes(s.SignatureR.Buffer), new(big.Int).SetBytes(s.SignatureS.Buffer)})
		return err
	})
	return sig, err
}

// Attestation is what the TPM says (TPMS_ATTEST) and AK's TPMT_SIGNATURE.
type Attestation struct {
	Attest, Signature []byte
}

// CertifyCA has the TPM attest that the CA key lives in it, with these
// attributes.
func (t *TPM) CertifyCA(k *AttestKeys, auth, qualifying []byte) (a Attestation, err error) {
	defer t.done(&err)
	err = t.withPrimary(func(srk *primary) error {
		return t.loaded(srk, k.AKPublic, k.AKPrivate, func(ak tpm2.NamedHandle) error {
			return t.loaded(srk, k.CAPublic, k.CAPrivate, func(ca tpm2.NamedHandle) error {
				rsp, err := tpm2.Certify{ObjectHandle: authFor(ca, keyAuth(srk, auth)), SignHandle: authFor(ak, keyAuth(srk, auth)),
					QualifyingData: tpm2.TPM2BData{Buffer: qualifying}, InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}}.Execute(t.t)
				if err != nil {
					return classify("certify", err)
				}
				a = Attestation{bytes.Clone(rsp.CertifyInfo.Bytes()), tpm2.Marshal(rsp.Signature)}
				return nil
			})
		})
	})
	return a, err
}

// Quote has the TPM attest its PCRs, over qualifying (at most 32 bytes).
func (t *TPM) Quote(k *AttestKeys, auth, qualifying []byte, sel proto.PCRSelection) (a Attestation, err error) {
	defer t.done(&err)
	err = t.withKey(k.AKPublic, k.AKPrivate, func(srk *primary, ak tpm2.NamedHandle) error {
		rsp, err := tpm2.Quote{SignHandle: authFor(ak, keyAuth(srk, auth)), QualifyingData: tpm2.TPM2BData{Buffer: qualifying},
			InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, PCRSelect: pcrList(sel)}.Execute(t.t)
		if err != nil {
			return classify("quote", err)
		}
		a = Attestation{bytes.Clone(rsp.Quoted.Bytes()), tpm2.Marshal(rsp.Signature)}
		return nil
	})
	return a, err
}

// EKCertIndex is where a TPM keeps the certificate of its ECC P-256 endorsement
// key (EKP 2.2.1.5, low range).
const EKCertIndex = 0x01C0000A

// Endorsement returns the TPMT_PUBLIC of the ECC P-256 endorsement key, and its
// certificate (DER) if the manufacturer left one in the TPM.
func (t *TPM) Endorsement() (public, certificate []byte, err error) {
	defer t.done(&err)
	t.Rest()
	err = t.withEK(func(h tpm2.NamedHandle, pub []byte) error {
		public = bytes.Clone(pub)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	n, err := t.readIndex(EKCertIndex)
	if err != nil || n == nil || !n.public.Attributes.Written || n.public.DataSize > 4096 {
		return public, nil, err
	}
	for off := uint16(0); off < n.public.DataSize; {
		size := min(n.public.DataSize-off, 512)
		rsp, err := tpm2.NVRead{AuthHandle: tpm2.AuthHandle{Handle: n.handle, Name: n.name, Auth: tpm2.PasswordAuth(nil)},
			NVIndex: n.named(), Size: size, Offset: off}.Execute(t.t)
		if err != nil || len(rsp.Data.Buffer) != int(size) {
			t.c.Logf("hardware TPM: reading the EK certificate: %v", err)
			return public, nil, nil
		}
		certificate = append(certificate, rsp.Data.Buffer...)
		off += size
	}
	return public, certificate, nil
}

func (t *TPM) withEK(f func(h tpm2.NamedHandle, public []byte) error) error {
	rsp, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		InPublic: tpm2.New2B(tpm2.ECCEKTemplate)}.Execute(t.t)
	if err != nil {
		return classify("create endorsement primary", err)
	}
	defer t.flush(rsp.ObjectHandle)
	return f(tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}, rsp.OutPublic.Bytes())
}

// Activate proves that AK and the endorsement key live in the same TPM, by
// decrypting what a challenger made for both (TPM20-P1 24.4).
func (t *TPM) Activate(k *AttestKeys, auth, credential, secret []byte) (out []byte, err error) {
	defer t.done(&err)
	err = t.withPrimary(func(srk *primary) error {
		return t.loaded(srk, k.AKPublic, k.AKPrivate, func(ak tpm2.NamedHandle) error {
			return t.withEK(func(ek tpm2.NamedHandle, _ []byte) error {
				rsp, err := tpm2.ActivateCredential{
					ActivateHandle: authFor(ak, keyAuth(srk, auth)),
					KeyHandle:      authFor(ek, tpm2.Policy(tpm2.TPMAlgSHA256, 16, endorsementPolicy)),
					CredentialBlob: tpm2.TPM2BIDObject{Buffer: credential}, Secret: tpm2.TPM2BEncryptedSecret{Buffer: secret}}.Execute(t.t)
				if err != nil {
					return classify("activate credential", err)
				}
				out = bytes.Clone(rsp.CertInfo.Buffer)
				return nil
			})
		})
	})
	return out, err
}

func endorsementPolicy(tpm transport.TPM, h tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
	_, err := tpm2.PolicySecret{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		PolicySession: h, NonceTPM: nonce}.Execute(tpm)
	return err
}
