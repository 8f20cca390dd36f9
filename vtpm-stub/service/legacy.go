package service

import (
	"encoding/binary"

	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpm-stub/tpmcrypto"
)

// Ordinals of TPM 1.2 (Part 2, 17) that are answered.
const (
	ordExtend           = 0x14
	ordPcrRead          = 0x15
	ordGetRandom        = 0x46
	ordSelfTestFull     = 0x50
	ordContinueSelfTest = 0x53
	ordGetTestResult    = 0x54
	ordGetCapability    = 0x65
	ordReadPubek        = 0x7C
	ordStartup          = 0x99
)

// Return codes of TPM 1.2 that tpmwire does not have.
const (
	result12BadMode     = 0x2C // TPM_BAD_MODE: unknown capability
	result12BadLocality = 0x3D // TPM_BAD_LOCALITY
)

// maxRandom12 is the most that one TPM_GetRandom gives; Linux asks for 128.
const maxRandom12 = 1024

const digest12 = 20 // SHA-1

// handler12 gets the body of a packet with tag TPM_TAG_RQU_COMMAND and returns
// the body of the answer.
type handler12 func(s *Service, r *Request, body []byte) (out []byte, result uint32)

// lookup12 returns the handler of an ordinal, nil for one that stock Linux does not send.
func lookup12(ordinal uint32) handler12 {
	switch ordinal {
	case ordExtend:
		return (*Service).extend12
	case ordPcrRead:
		return (*Service).pcrRead12
	case ordGetRandom:
		return (*Service).getRandom12
	case ordSelfTestFull, ordContinueSelfTest:
		return (*Service).empty12
	case ordGetTestResult:
		return (*Service).getTestResult12
	case ordGetCapability:
		return (*Service).getCapability12
	case ordReadPubek: // Linux has a file for it
		return (*Service).refuse12
	case ordStartup:
		return (*Service).startup12
	}
	return nil
}

// tpm12 answers the TPM 1.2 commands that Linux's xen-tpmfront and its users in
// the kernel (hwrng, sysfs, IMA) send unasked. The rest of TPM 1.2 gets what a TPM 2.0
// answers to it: firmware (EDK2) probes with TPM_GetTicks, and takes whoever answers
// with a tag of TPM 1.2 for one.
func (s *Service) tpm12(h tpmwire.Header, r *Request) []byte {
	f := lookup12(h.Code)
	if f == nil || h.Tag != tpmwire.TagRquCommand {
		h := tpmwire.Header{Tag: tpmwire.TagNoSessions, Size: tpmwire.HeaderSize, Code: tpmwire.RCBadTag}
		return h.Append(nil)
	}
	if s.Failed() {
		return respond12(nil, tpmwire.Result12Fail)
	}
	out, result := f(s, r, r.Command[tpmwire.HeaderSize:])
	return respond12(out, result)
}

// respond12 frames an answer; errors have no body.
func respond12(out []byte, result uint32) []byte {
	if result != tpmwire.Result12Success {
		out = nil
	}
	h := tpmwire.Header{Tag: tpmwire.TagRspCommand, Size: tpmwire.HeaderSize + uint32(len(out)), Code: result}
	return append(h.Append(make([]byte, 0, h.Size)), out...)
}

// startup12 says that the TPM has been started: a vTPM starts itself.
func (s *Service) startup12(_ *Request, body []byte) ([]byte, uint32) {
	if len(body) != 2 {
		return nil, tpmwire.Result12BadParamSize
	}
	return nil, tpmwire.Result12InvalidPostIn
}

// empty12 is a self test: the known answers were checked at the start.
func (s *Service) empty12(_ *Request, body []byte) ([]byte, uint32) {
	if len(body) != 0 {
		return nil, tpmwire.Result12BadParamSize
	}
	return nil, tpmwire.Result12Success
}

// refuse12 is a command that only a TPM 1.2 can do.
func (s *Service) refuse12(*Request, []byte) ([]byte, uint32) {
	return nil, tpmwire.Result12BadOrdinal
}

// getTestResult12 gives an empty result.
func (s *Service) getTestResult12(_ *Request, body []byte) ([]byte, uint32) {
	if len(body) != 0 {
		return nil, tpmwire.Result12BadParamSize
	}
	return make([]byte, 4), tpmwire.Result12Success
}

func (s *Service) getRandom12(_ *Request, body []byte) ([]byte, uint32) {
	if len(body) != 4 {
		return nil, tpmwire.Result12BadParamSize
	}
	n := min(binary.BigEndian.Uint32(body), maxRandom12)
	out := binary.BigEndian.AppendUint32(nil, n)
	out = append(out, make([]byte, n)...)
	if s.engine.Random(out[4:]) != nil {
		return nil, tpmwire.Result12Fail
	}
	return out, tpmwire.Result12Success
}

// pcrRead12 reads the SHA-1 bank. TPM_FAIL when that was deallocated.
func (s *Service) pcrRead12(_ *Request, body []byte) ([]byte, uint32) {
	if len(body) != 4 {
		return nil, tpmwire.Result12BadParamSize
	}
	n := binary.BigEndian.Uint32(body)
	if n >= pcrCount {
		return nil, tpmwire.Result12BadIndex
	}
	v := s.engine.ReadPCR(tpmcrypto.AlgSHA1, int(n))
	if len(v) != digest12 {
		return nil, tpmwire.Result12Fail
	}
	return append([]byte(nil), v...), tpmwire.Result12Success
}

// extend12 extends the PCR in every bank, zero-padded where that is wider, as
// Linux did for 2.0 chips. It answers the SHA-1 bank's new value, zeros when
// that bank was deallocated.
func (s *Service) extend12(r *Request, body []byte) ([]byte, uint32) {
	if len(body) != 4+digest12 {
		return nil, tpmwire.Result12BadParamSize
	}
	n := binary.BigEndian.Uint32(body)
	if n >= pcrCount {
		return nil, tpmwire.Result12BadIndex
	}
	if err := s.engine.ExtendPCRs(r.Locality, int(n), body[4:]); err != nil {
		if s.engine.Failed() {
			return nil, tpmwire.Result12Fail
		}
		return nil, result12BadLocality
	}
	out := make([]byte, digest12)
	copy(out, s.engine.ReadPCR(tpmcrypto.AlgSHA1, int(n)))
	return out, tpmwire.Result12Success
}
