package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// deepTransport turns each TPM2_Quote into the vTPM's vendor command for deep
// quotes (docs/deep-quote.md), and keeps the evidence of the answer.
type deepTransport struct {
	transport.TPM
	pcrs     proto.PCRSelection // of the hardware TPM
	evidence []byte
}

func (d *deepTransport) Send(cmd []byte) ([]byte, error) {
	const quote, deepQuote, version = 0x158, 0x20000001, 1
	const header, rspHeader = 10, 18
	if len(cmd) < header || binary.BigEndian.Uint32(cmd[6:]) != quote {
		return d.TPM.Send(cmd)
	}
	out := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTNoSessions))
	out = binary.BigEndian.AppendUint32(out, uint32(header+8+len(cmd)))
	out = binary.BigEndian.AppendUint32(out, deepQuote)
	out = binary.BigEndian.AppendUint16(out, version)
	rsp, err := d.TPM.Send(append(d.pcrs.Append(out), cmd...))
	if err != nil || len(rsp) < header || binary.BigEndian.Uint32(rsp[6:]) != 0 {
		return rsp, err
	}
	if len(rsp) < rspHeader {
		return nil, errors.New("deep quote: the response is too short")
	}
	if result := proto.Result(binary.BigEndian.Uint32(rsp[12:])); result != proto.Success {
		return nil, fmt.Errorf("deep quote: the manager refused: %w", result)
	}
	n := rspHeader + int(binary.BigEndian.Uint16(rsp[16:]))
	if n > len(rsp) {
		return nil, errors.New("deep quote: the response is malformed")
	}
	d.evidence = bytes.Clone(rsp[rspHeader:n])
	return rsp[n:], nil
}

// akTemplate is a restricted signing key, as attestation keys are.
func akTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, Restricted: true, SignEncrypt: true},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256,
			Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})}}),
	}
}

// certIndex is where a vTPM has the certificate of its ECC endorsement key.
const certIndex = tpm2.TPMHandle(0x01C0000A)

// Collect gathers, in a guest, what a verifier needs of its vTPM: the endorsement
// certificate, a quote of the vTPM's PCRs sel over the nonce by a new attestation
// key, and the hardware's quote over that.
func Collect(tpm transport.TPM, nonce []byte, sel tpm2.TPMLPCRSelection, hardware proto.PCRSelection) (v *VTPM, err error) {
	cert, err := readIndex(tpm, certIndex)
	if err != nil {
		return nil, fmt.Errorf("the endorsement certificate: %w", err)
	}
	ak, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement, InPublic: tpm2.New2B(akTemplate())}.Execute(tpm)
	if err != nil {
		return nil, fmt.Errorf("creating an attestation key: %w", err)
	}
	defer func() {
		_, ferr := tpm2.FlushContext{FlushHandle: ak.ObjectHandle}.Execute(tpm)
		err = errors.Join(err, ferr)
	}()
	key := tpm2.AuthHandle{Handle: ak.ObjectHandle, Name: ak.Name, Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16)}
	// PCRs can move between the two commands; then both are made again.
	for range 3 {
		values, err := pcrValues(tpm, sel)
		if err != nil {
			return nil, err
		}
		if v, err = quoteBy(tpm, key, nonce, sel, hardware); err != nil {
			return nil, err
		}
		v.Certificate, v.Key, v.PCRValues = cert, ak.OutPublic.Bytes(), values
		if d := sha256.Sum256(values); hwtpm.QuotedDigest(v.Quote) == d {
			return v, nil
		}
	}
	return nil, errors.New("the vTPM's PCRs keep changing")
}

// pcrValues reads the PCRs of a selection of one bank, in rising order. A TPM gives
// eight at a time.
func pcrValues(tpm transport.TPM, sel tpm2.TPMLPCRSelection) (values []byte, err error) {
	if len(sel.PCRSelections) != 1 {
		return nil, errors.New("PCRs of one bank can be quoted, no more")
	}
	for i, b := range sel.PCRSelections[0].PCRSelect {
		if b == 0 {
			continue
		}
		part := make([]byte, len(sel.PCRSelections[0].PCRSelect))
		part[i] = b
		r, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: sel.PCRSelections[0].Hash, PCRSelect: part}}}}.Execute(tpm)
		if err != nil {
			return nil, fmt.Errorf("reading PCRs: %w", err)
		}
		if len(r.PCRValues.Digests) != bits.OnesCount8(b) {
			return nil, fmt.Errorf("reading PCRs: %d values of %d", len(r.PCRValues.Digests), bits.OnesCount8(b))
		}
		for _, d := range r.PCRValues.Digests {
			values = append(values, d.Buffer...)
		}
	}
	return values, nil
}

// quoteBy makes a quote and its deep quote with a loaded key.
func quoteBy(tpm transport.TPM, key tpm2.AuthHandle, nonce []byte, sel tpm2.TPMLPCRSelection, hardware proto.PCRSelection) (*VTPM, error) {
	deep := &deepTransport{TPM: tpm, pcrs: hardware}
	q, err := tpm2.Quote{
		SignHandle:     key,
		QualifyingData: tpm2.TPM2BData{Buffer: nonce}, PCRSelect: sel,
	}.Execute(deep)
	if err != nil {
		return nil, fmt.Errorf("deep quote: %w", err)
	}
	return &VTPM{DeepQuote: deep.evidence, Quote: q.Quoted.Bytes(), Signature: tpm2.Marshal(q.Signature), Nonce: nonce}, nil
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
