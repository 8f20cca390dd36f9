package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpm-stub/tpm2"
	"xenvtpm/vtpmmgr-stub/proto"
)

// A deep quote is an ordinary TPM2_Quote of this TPM, and a quote of the
// hardware TPM over it. docs/deep-quote.md has the format.
const (
	// CCDeepQuote is the vendor command (Part 2, 6.5.1: bit 29, V).
	CCDeepQuote = 0x20000001

	deepQuoteVersion = 1
	ccQuote          = 0x158

	attestMagic = "\xffTCG" // TPM_GENERATED_VALUE, with which a TPMS_ATTEST begins
)

// Quoter makes quotes of the hardware TPM; *proto.Client is one.
type Quoter interface {
	DeepQuote(req proto.DeepQuoteRequest) (*proto.DeepQuote, error)
}

// deepQuote runs the TPM2_Quote inside the command. When that has succeeded,
// the answer has its response whatever the manager says: the guest's session
// has moved on.
//
//	TPM_RC_AUTH_CONTEXT      the outer command has sessions
//	TPM_RC_VALUE        P1   unknown version
//	TPM_RC_HASH         P2   unknown bank of the hardware
//	TPM_RC_VALUE        P3   no hardware PCR, or one above 23
//	TPM_RC_SIZE         P4   the inner command is no whole packet
//	TPM_RC_COMMAND_CODE      ... or not a TPM2_Quote with sessions
//	TPM_RC_INSUFFICIENT P4   the outer command ends too early
//
// and those of TPM2_Quote, as its own.
func (s *Service) deepQuote(h tpmwire.Header, r *Request) []byte {
	q, inner, rc := parseDeepQuote(h, r.Command[tpmwire.HeaderSize:])
	if rc != tpm2.TPM_RC_SUCCESS {
		return error20(rc)
	}
	rsp := s.engine.Execute(r.Locality, inner, s.buf)
	if ih, err := tpmwire.ParsePacket(rsp); err != nil || ih.Code != tpmwire.RCSuccess {
		return rsp
	}
	rsp = bytes.Clone(rsp)
	result, evidence := s.evidence(q, rsp)
	if size := tpmwire.HeaderSize + 8 + len(evidence) + len(rsp); size > MaxPacket {
		result, evidence = proto.Size, nil
	}
	out := tpmwire.Header{
		Tag: tpmwire.TagNoSessions, Size: uint32(tpmwire.HeaderSize + 8 + len(evidence) + len(rsp)),
	}.Append(s.buf[:0])
	out = binary.BigEndian.AppendUint16(out, deepQuoteVersion)
	out = binary.BigEndian.AppendUint32(out, uint32(result))
	out = binary.BigEndian.AppendUint16(out, uint16(len(evidence)))
	return append(append(out, evidence...), rsp...)
}

// parseDeepQuote splits the command's body: u16 version, u16 bank, u32 mask,
// and a whole TPM2_Quote.
func parseDeepQuote(h tpmwire.Header, body []byte) (q proto.PCRSelection, inner []byte, rc tpm2.RC) {
	if h.Tag != tpmwire.TagNoSessions {
		return q, nil, tpm2.TPM_RC_AUTH_CONTEXT
	}
	if len(body) < 8+tpmwire.HeaderSize {
		return q, nil, tpm2.TPM_RC_INSUFFICIENT.Param(4)
	}
	q = proto.PCRSelection{Alg: binary.BigEndian.Uint16(body[2:]), Mask: binary.BigEndian.Uint32(body[4:])}
	inner = body[8:]
	switch {
	case binary.BigEndian.Uint16(body) != deepQuoteVersion:
		return q, nil, tpm2.TPM_RC_VALUE.Param(1)
	case proto.DigestSize(q.Alg) == 0:
		return q, nil, tpm2.TPM_RC_HASH.Param(2)
	case q.Mask == 0 || q.Mask>>pcrCount != 0:
		return q, nil, tpm2.TPM_RC_VALUE.Param(3)
	}
	ih, err := tpmwire.ParsePacket(inner)
	if err != nil {
		return q, nil, tpm2.TPM_RC_SIZE.Param(4)
	}
	if ih.Tag != tpmwire.TagSessions || ih.Code != ccQuote {
		return q, nil, tpm2.TPM_RC_COMMAND_CODE
	}
	return q, inner, tpm2.TPM_RC_SUCCESS
}

// evidence asks the manager for a quote of the hardware TPM over the quote in a
// response of TPM2_Quote.
func (s *Service) evidence(pcrs proto.PCRSelection, rsp []byte) (proto.Result, []byte) {
	attest := quoted(rsp)
	if attest == nil {
		return proto.BadParameter, nil
	}
	if s.quoter == nil || s.hold.on { // the manager is away
		return proto.Unavailable, nil
	}
	sum := sha256.Sum256(attest)
	q, err := s.quoter.DeepQuote(proto.DeepQuoteRequest{Data: sum[:], PCRs: pcrs})
	var refused proto.Result
	switch {
	case errors.As(err, &refused):
		return refused, nil
	case err != nil:
		s.once(s.now, "a deep quote failed: "+err.Error())
		return proto.Unavailable, nil
	}
	return proto.Success, q.Append(nil)
}

// quoted returns the TPMS_ATTEST in a response of TPM2_Quote: tag, size, code,
// parameterSize, TPM2B_ATTEST, ... nil when a session has encrypted it.
func quoted(rsp []byte) []byte {
	const at = tpmwire.HeaderSize + 4
	if len(rsp) < at+2 {
		return nil
	}
	n := int(binary.BigEndian.Uint16(rsp[at:]))
	if b := rsp[at+2:]; n <= len(b) && bytes.HasPrefix(b[:n], []byte(attestMagic)) {
		return b[:n]
	}
	return nil
}

func error20(rc tpm2.RC) []byte {
	return tpmwire.Header{Tag: tpmwire.TagNoSessions, Size: tpmwire.HeaderSize, Code: uint32(rc)}.Append(nil)
}
