package tpmwire

// Response codes of TPM 2.0 (Part 2, 6.6.3) that drivers and services use.
const (
	RCSuccess     uint32 = 0x000
	RCBadTag      uint32 = 0x01E // TPM_RC_BAD_TAG, the one 2.0 code in the 1.2 range
	RCInitialize  uint32 = 0x100 // TPM_RC_INITIALIZE: not started, or started twice
	RCFailure     uint32 = 0x101 // TPM_RC_FAILURE: failure mode
	RCCommandSize uint32 = 0x142 // TPM_RC_COMMAND_SIZE
	RCCommandCode uint32 = 0x143 // TPM_RC_COMMAND_CODE
	RCYielded     uint32 = 0x908 // TPM_RC_YIELDED: suspended, send again
	RCCanceled    uint32 = 0x909 // TPM_RC_CANCELED
	RCTesting     uint32 = 0x90A // TPM_RC_TESTING: self test runs, send again
	RCLocality    uint32 = 0x907 // TPM_RC_LOCALITY
	RCRetry       uint32 = 0x922 // TPM_RC_RETRY: send again
)

// Return codes of TPM 1.2 (Part 2, 16) that drivers and services use. The
// vTPM manager answers with them as well.
const (
	Result12Success       uint32 = 0
	Result12AuthFail      uint32 = 1
	Result12BadIndex      uint32 = 2
	Result12BadParameter  uint32 = 3
	Result12Disabled      uint32 = 7
	Result12DisabledCmd   uint32 = 8
	Result12Fail          uint32 = 9
	Result12BadOrdinal    uint32 = 10
	Result12Size          uint32 = 23    // TPM_SIZE: no room for the answer
	Result12BadParamSize  uint32 = 25    // TPM_BAD_PARAM_SIZE
	Result12BadTag        uint32 = 30    // TPM_BADTAG
	Result12InvalidPostIn uint32 = 38    // TPM_INVALID_POSTINIT
	Result12Retry         uint32 = 0x800 // TPM_RETRY
)

// A Fault is why a transport refuses a packet before or after a TPM saw it. Each
// family spells it with its own response code.
type Fault uint8

// Faults.
const (
	FaultSize     Fault = iota // length and size field absent, absurd or different
	FaultTag                   // the tag belongs to no family that is served
	FaultFailure               // the TPM or the transport failed
	FaultCanceled              // the command was cancelled
)

func (f Fault) String() string {
	switch f {
	case FaultSize:
		return "bad size"
	case FaultTag:
		return "bad tag"
	case FaultCanceled:
		return "cancelled"
	}
	return "failure"
}

// ErrorResponse returns the ten-byte response that reports f to the sender of a
// request with tag req. A sender of an unknown tag gets TPM 1.2's response tag,
// which TPM 2.0 prescribes for that case too (Part 3, 5.2).
func ErrorResponse(req Tag, f Fault) []byte {
	h := Header{Tag: TagRspCommand, Size: HeaderSize}
	switch req.RequestFamily() {
	case Family20:
		h.Tag, h.Code = TagNoSessions, f.code20()
	case FamilyManager:
		// The manager's dispatcher reports its own errors with the request's
		// tag plus 3.
		h.Tag, h.Code = req+3, f.code12()
	case Family12:
		h.Code = f.code12()
	default:
		h.Code = RCBadTag
	}
	return h.Append(make([]byte, 0, HeaderSize))
}

func (f Fault) code20() uint32 {
	switch f {
	case FaultSize:
		return RCCommandSize
	case FaultTag:
		return RCBadTag
	case FaultCanceled:
		return RCCanceled
	}
	return RCFailure
}

func (f Fault) code12() uint32 {
	switch f {
	case FaultSize:
		return Result12BadParamSize
	case FaultTag:
		return Result12BadTag
	}
	// TPM 1.2 has no code for a cancelled command; TPM_FAIL is what its
	// hardware answers.
	return Result12Fail
}
