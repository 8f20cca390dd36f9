package hwtpm

import (
	"crypto"
	"crypto/ecdsa"
	"fmt"
	"io"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/proto"
)

// What TPMs sign is read and checked here without a TPM. The bytes may come from
// anywhere.

// ECCPoint reads an ECC TPMT_PUBLIC: the curve's size in bits (P-256, P-384,
// P-521) and the point, uncompressed and on the curve.
func ECCPoint(public []byte) (bits int, point []byte, err error) {
	defer guardPolicy(&err)
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: public area", ErrMalformed)
	}
	key, err := tpm2.Pub(*pub)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: public area", ErrMalformed)
	}
	k, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return 0, nil, fmt.Errorf("%w: not an ECC key", ErrMalformed)
	}
	if point, err = k.Bytes(); err != nil {
		return 0, nil, fmt.Errorf("%w: point is not on the curve", ErrMalformed)
	}
	return k.Curve.Params().BitSize, point, nil
}

// QuotedDigest is the digest over PCRs in a TPMS_ATTEST of a quote; zero if it is
// none.
func QuotedDigest(attest []byte) (d [32]byte) {
	q, err := ParseQuote(attest)
	if err == nil && len(q.Digest) == len(d) {
		copy(d[:], q.Digest)
	}
	return d
}

// Quoted is a quote's TPMS_ATTEST in plain words.
type Quoted struct {
	Extra                []byte
	PCRs                 proto.PCRSelection
	Digest               []byte
	Clock                uint64
	ResetCount, ReStarts uint32
	Signer               []byte // qualified name
	Firmware             uint64
}

// ParseQuote reads a TPMS_ATTEST of type quote with one bank.
func ParseQuote(attest []byte) (q Quoted, err error) {
	defer guard(&err)
	a, err := tpm2.Unmarshal[tpm2.TPMSAttest](attest)
	if err != nil || a.Magic != tpm2.TPMGeneratedValue || a.Type != tpm2.TPMSTAttestQuote {
		return q, fmt.Errorf("%w: not a quote", ErrMalformed)
	}
	info, err := a.Attested.Quote()
	if err != nil || len(info.PCRSelect.PCRSelections) != 1 {
		return q, fmt.Errorf("%w: not a quote of one bank", ErrMalformed)
	}
	alg := uint16(info.PCRSelect.PCRSelections[0].Hash)
	mask, err := gotMask(alg, info.PCRSelect)
	if err != nil {
		return q, err
	}
	return Quoted{Extra: a.ExtraData.Buffer, PCRs: proto.PCRSelection{Alg: alg, Mask: mask}, Digest: info.PCRDigest.Buffer,
		Clock: a.ClockInfo.Clock, ResetCount: a.ClockInfo.ResetCount, ReStarts: a.ClockInfo.RestartCount,
		Signer: a.QualifiedSigner.Buffer, Firmware: a.FirmwareVersion}, nil
}

// VerifyAttest checks a TPMT_SIGNATURE (ECDSA or RSASSA with SHA-256) of a TPM's
// key over a TPMS_ATTEST.
func VerifyAttest(public, attest, signature []byte) (err error) {
	defer guardPolicy(&err)
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return fmt.Errorf("%w: public area", ErrPolicy)
	}
	key, err := tpm2.Pub(*pub)
	if err != nil {
		return fmt.Errorf("%w: public area", ErrPolicy)
	}
	sig, err := tpm2.Unmarshal[tpm2.TPMTSignature](signature)
	if err != nil {
		return fmt.Errorf("%w: signature encoding", ErrPolicy)
	}
	return verifyDigest(key, crypto.SHA256, digest(crypto.SHA256, attest), sig)
}

// CertifiedName reads a TPMS_ATTEST of type certify: the Name of the certified
// object, and the qualifying data.
func CertifiedName(attest []byte) (name, extra []byte, err error) {
	defer guard(&err)
	a, err := tpm2.Unmarshal[tpm2.TPMSAttest](attest)
	if err != nil || a.Magic != tpm2.TPMGeneratedValue || a.Type != tpm2.TPMSTAttestCertify {
		return nil, nil, fmt.Errorf("%w: not a certification", ErrMalformed)
	}
	info, err := a.Attested.Certify()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: not a certification", ErrMalformed)
	}
	return info.Name.Buffer, a.ExtraData.Buffer, nil
}

// KeyName is the Name of a TPMT_PUBLIC.
func KeyName(public []byte) (name []byte, err error) {
	defer guardPolicy(&err)
	return keyName(public)
}

// Challenge makes what only the TPM with this endorsement key and this AK can
// open (TPM2_MakeCredential, without a TPM).
func Challenge(rand io.Reader, ekPublic, akPublic, secret []byte) (credential, encrypted []byte, err error) {
	defer guardPolicy(&err)
	ek, err := tpm2.Unmarshal[tpm2.TPMTPublic](ekPublic)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: endorsement key", ErrMalformed)
	}
	kem, err := tpm2.ImportEncapsulationKey(ek)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: endorsement key: %v", ErrMalformed, err)
	}
	name, err := keyName(akPublic)
	if err != nil {
		return nil, nil, err
	}
	return tpm2.CreateCredential(rand, kem, name, secret)
}

// IsAK reports whether a TPMT_PUBLIC has an attestation key's attributes: it
// cannot leave its TPM, and signs only what the TPM has made.
func IsAK(public []byte) bool { return hasAttributes(public, true) }

// IsSigner is IsAK without the restriction.
func IsSigner(public []byte) bool { return hasAttributes(public, false) }

func hasAttributes(public []byte, restricted bool) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return false
	}
	at := pub.ObjectAttributes
	return at.FixedTPM && at.FixedParent && at.SensitiveDataOrigin && at.SignEncrypt && !at.Decrypt && at.Restricted == restricted
}
