package dom0

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"xenvtpm/tools/xenlab/guest"
)

// deepTransport turns each TPM2_Quote into the vTPM's vendor command for deep quotes (docs/deep-quote.md), and
// keeps the evidence of the answer.
type deepTransport struct {
	transport.TPM
	evidence []byte
}

func (d *deepTransport) Send(cmd []byte) ([]byte, error) {
	const quote, deepQuote = 0x158, 0x20000001
	if len(cmd) < 10 || binary.BigEndian.Uint32(cmd[6:]) != quote {
		return d.TPM.Send(cmd)
	}
	out := binary.BigEndian.AppendUint16(nil, 0x8001)
	out = binary.BigEndian.AppendUint32(out, uint32(10+8+len(cmd)))
	out = binary.BigEndian.AppendUint32(out, deepQuote)
	out = append(out, 0, 1, 0, 0x0B, 0, 0, 0, 0xFF) // version 1, SHA-256, PCRs 0 to 7
	rsp, err := d.TPM.Send(append(out, cmd...))
	if err != nil || guest.Code(rsp) != 0 {
		return rsp, err
	}
	if len(rsp) < 18 {
		return nil, fmt.Errorf("an answer of %d bytes", len(rsp))
	}
	if result := binary.BigEndian.Uint32(rsp[12:]); result != 0 {
		return nil, fmt.Errorf("the manager refused: result %#x", result)
	}
	n := 18 + int(binary.BigEndian.Uint16(rsp[16:]))
	if n > len(rsp) {
		return nil, fmt.Errorf("evidence of %d bytes in an answer of %d", n-18, len(rsp))
	}
	d.evidence = bytes.Clone(rsp[18:n])
	return rsp[n:], nil
}

// evidence collects what vtpmctl attest add takes, in files of dir: the vTPM's certificate, a quote by a new key
// of the vTPM over the nonce, and the deep quote over that.
func evidence(tpm transport.TPM, dir string, nonce []byte) error {
	cert, err := readIndex(tpm, 0x01C0000A)
	if err != nil {
		return fmt.Errorf("the endorsement certificate: %w", err)
	}
	ak, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement, InPublic: tpm2.New2B(tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, Restricted: true, SignEncrypt: true},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256,
			Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})}}),
	})}.Execute(tpm)
	if err != nil {
		return fmt.Errorf("creating an attestation key: %w", err)
	}
	defer tpm2.FlushContext{FlushHandle: ak.ObjectHandle}.Execute(tpm) //nolint:errcheck // the TPM is thrown away
	deep := &deepTransport{TPM: tpm}
	q, err := tpm2.Quote{
		SignHandle:     tpm2.AuthHandle{Handle: ak.ObjectHandle, Name: ak.Name, Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16)},
		QualifyingData: tpm2.TPM2BData{Buffer: nonce},
		PCRSelect:      tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(0, 1, 10)}}},
	}.Execute(deep)
	if err != nil {
		return fmt.Errorf("deep quote: %w", err)
	}
	for name, b := range map[string][]byte{
		"certificate": cert, "deep-quote": deep.evidence, "quote": q.Quoted.Bytes(), "signature": tpm2.Marshal(q.Signature), "vtpm-key": ak.OutPublic.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	return nil
}

// readIndex reads an NV index with empty authorization, in parts.
func readIndex(tpm transport.TPM, index tpm2.TPMHandle) ([]byte, error) {
	pub, err := tpm2.NVReadPublic{NVIndex: index}.Execute(tpm)
	if err != nil {
		return nil, err
	}
	c, err := pub.NVPublic.Contents()
	if err != nil {
		return nil, err
	}
	var out []byte
	for len(out) < int(c.DataSize) {
		r, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: pub.NVName, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: pub.NVName},
			Size:       uint16(min(512, int(c.DataSize)-len(out))), Offset: uint16(len(out)),
		}.Execute(tpm)
		if err != nil {
			return nil, err
		}
		out = append(out, r.Data.Buffer...)
	}
	return out, nil
}
