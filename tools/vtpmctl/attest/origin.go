package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"errors"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/hwtpm"
)

// origin tells where in a vTPM the key lives that made its quote. The vTPM wrote
// the key's qualified name into the quote (TPM20-P1 16: the hash over the key's
// Name and those of all above it, up to the hierarchy), and the deep quote proves
// that the quote is the vTPM's. The Name covers the attributes, which a TPM sets
// as it finds them: a key from outside is never fixedTPM. So a key of which the
// qualified name is this one, and that is fixedTPM and restricted, has never been
// anywhere else, and signs only what that vTPM has made.
func origin(v *VTPM, qualified []byte) (where string, err error) {
	if !hwtpm.IsAK(v.Key) {
		return "", errors.New("it can leave its TPM, or signs whatever it is given")
	}
	name, err := hwtpm.KeyName(v.Key)
	if err != nil {
		return "", err
	}
	for h, hierarchy := range hierarchies {
		if bytes.Equal(below(handleName(h), name), qualified) {
			return ", a primary key of its " + hierarchy + " hierarchy", nil
		}
	}
	ek, err := hwtpm.KeyName(endorsementKey(v.Certificate))
	if err == nil && bytes.Equal(below(below(handleName(tpm2.TPMRHEndorsement), ek), name), qualified) {
		return ", below its certified endorsement key", nil
	}
	parent, err := hwtpm.KeyName(v.Parent)
	for h, hierarchy := range hierarchies {
		if err == nil && bytes.Equal(below(below(handleName(h), parent), name), qualified) {
			return ", below a primary key of its " + hierarchy + " hierarchy", nil
		}
	}
	return "", errors.New("the quote names another key, or one below an unknown parent (give --vtpm-parent)")
}

var hierarchies = map[tpm2.TPMHandle]string{tpm2.TPMRHEndorsement: "endorsement", tpm2.TPMRHOwner: "owner", tpm2.TPMRHPlatform: "platform"}

// handleName is the qualified name of a hierarchy.
func handleName(h tpm2.TPMHandle) []byte { return binary.BigEndian.AppendUint32(nil, uint32(h)) }

// below is the qualified name of the object with the Name below a parent with
// that qualified name.
func below(parent, name []byte) []byte {
	if len(name) < 2 {
		return nil
	}
	hash, err := tpm2.TPMAlgID(binary.BigEndian.Uint16(name)).Hash()
	if err != nil || !hash.Available() {
		return nil
	}
	h := hash.New()
	h.Write(parent)
	h.Write(name)
	return h.Sum(bytes.Clone(name[:2]))
}

// endorsementKey is the TPMT_PUBLIC of a certified endorsement key made by the
// templates L-1 or L-2; nil for another.
func endorsementKey(certificate []byte) []byte {
	cert, err := x509.ParseCertificate(trimmed(certificate))
	if err != nil {
		return nil
	}
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		ek := tpm2.RSAEKTemplate
		ek.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: key.N.Bytes()})
		return tpm2.Marshal(ek)
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil || len(point) != 65 {
			return nil
		}
		ek := tpm2.ECCEKTemplate
		ek.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]}})
		return tpm2.Marshal(ek)
	}
	return nil
}
