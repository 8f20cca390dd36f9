// Package proto is the wire codec of the manager's protocol: the frames that a
// vTPM domain (or the administrator) and the manager exchange over tpmif.
//
// Frames have the TPM's own 10-byte header (tag, size, ordinal or result), all
// integers big-endian. Tags and ordinals 1 to 4 are those of Xen's mini-os
// manager, so either side may be paired with a stock one. What this project
// adds stands in ordinals that upstream never used and starts with a version.
// docs/manager-protocol.md is the full description.
//
// Everything parsed here was written by another domain. Parsers copy nothing
// out of range, never panic, and refuse trailing bytes.
package proto

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Tag is the first field of a frame.
type Tag uint16

// Tags of the manager's protocol and of the plain TPM 1.2 frames that it
// passes through.
const (
	TagVTPM     Tag = 0x01C1 // request of a vTPM
	TagMgmt     Tag = 0x01C2 // request of the administrator
	TagRsp      Tag = 0x01C4 // response to both
	TagRqu      Tag = 0x00C1 // TPM_TAG_RQU_COMMAND
	TagRquAuth1 Tag = 0x00C2 // TPM_TAG_RQU_AUTH1_COMMAND
	TagRquAuth2 Tag = 0x00C3 // TPM_TAG_RQU_AUTH2_COMMAND
	TagRspPlain Tag = 0x00C4 // TPM_TAG_RSP_COMMAND
)

// Ordinals under TagVTPM. 1 to 4 are upstream's.
const (
	OrdSaveHashKey uint32 = 1
	OrdLoadHashKey uint32 = 2
	OrdGetBootHash uint32 = 3
	OrdGetQuote    uint32 = 4

	OrdHello      uint32 = 0x0101 // protocol version and the manager's identity
	OrdHwPCRRead  uint32 = 0x0102 // hardware PCRs of any bank
	OrdCertifyKey uint32 = 0x0103 // X.509 certificate for an endorsement key
	OrdDeepQuote  uint32 = 0x0104 // hardware quote over caller's data, uuid and group
)

// Ordinals of TPM 1.2 frames that the manager answers itself.
const (
	OrdTPMExtend        uint32 = 20
	OrdTPMPcrRead       uint32 = 21
	OrdTPMGetRandom     uint32 = 70
	OrdTPMGetCapability uint32 = 101
)

// Result is a TPM 1.2 result code as the manager uses them.
type Result uint32

// Results, with the meaning they have in this protocol. Those from 0x401 are
// this project's own, in TPM 1.2's vendor range.
const (
	Success         Result = 0
	AuthFail        Result = 1     // not the administrator, or a signature does not verify
	BadIndex        Result = 2     // no such group, PCR or vTPM index
	BadParameter    Result = 3     // body malformed; LOAD of an unknown uuid
	Disabled        Result = 7     // the uuid is open elsewhere, or its group is closed
	DisabledCmd     Result = 8     // the manager never does this for this client
	Fail            Result = 9     // the manager cannot serve; its log says why
	BadOrdinal      Result = 10    // unknown ordinal under a known tag
	NoSpace         Result = 17    // the store is full
	Size            Result = 23    // a count or length above the limit
	BadTag          Result = 30    // unknown tag
	Conflict        Result = 0x401 // the object exists, is in use, or the sequence is stale
	Unavailable     Result = 0x402 // the hardware TPM does not answer or has no such thing
	BadVersion      Result = 0x403 // a newer protocol than this manager's
	DamagedStore    Result = 0x404 // that record's sector does not authenticate
	NotProvisioned  Result = 0x405 // needs a provisioned group or manager
	NoResultPending Result = 0x406 // AdminFetch without a result
)

func (r Result) String() string {
	if s, ok := resultNames[r]; ok {
		return s
	}
	return fmt.Sprintf("result 0x%x", uint32(r))
}

// Error makes a Result usable as an error of a client.
func (r Result) Error() string { return "vTPM manager answered " + r.String() }

var resultNames = map[Result]string{
	Success: "success", AuthFail: "AUTHFAIL (not authorised)", BadIndex: "BADINDEX (no such object)",
	BadParameter: "BAD_PARAMETER (malformed, or unknown uuid)", Disabled: "DISABLED (open elsewhere, or group closed)",
	DisabledCmd: "DISABLED_CMD (not allowed)", Fail: "FAIL (manager cannot serve, see its log)",
	BadOrdinal: "BAD_ORDINAL", NoSpace: "NOSPACE (store full)", Size: "SIZE (too long)", BadTag: "BADTAG",
	Conflict: "CONFLICT (exists, in use, or stale)", Unavailable: "UNAVAILABLE (hardware TPM)",
	BadVersion: "BADVERSION (protocol)", DamagedStore: "DAMAGED (record does not authenticate)",
	NotProvisioned: "NOT_PROVISIONED", NoResultPending: "NO_RESULT_PENDING",
}

// Sizes of the frame.
const (
	HeaderSize = 10
	MaxFrame   = 4088 // one tpmif page less its header
	MaxBody    = MaxFrame - HeaderSize
)

// Errors of the frame codec.
var (
	ErrFrame   = errors.New("proto: frame shorter than a header, longer than 4088 bytes, or of another size than its header says")
	ErrBody    = errors.New("proto: body malformed")
	ErrTag     = errors.New("proto: unexpected tag in the answer")
	ErrTooLong = errors.New("proto: frame would exceed 4088 bytes")
)

// Request is a parsed request frame. Body aliases the input.
type Request struct {
	Tag     Tag
	Ordinal uint32
	Body    []byte
}

// ParseRequest splits a request frame. It checks the frame only; tag and
// ordinal are judged by the dispatcher. On error the request still has the tag
// if one could be read, so that an answer can be framed.
func ParseRequest(b []byte) (Request, error) {
	tag, code, body, err := parseFrame(b)
	return Request{Tag: tag, Ordinal: code, Body: body}, err
}

// Append appends the frame of r to dst.
func (r Request) Append(dst []byte) ([]byte, error) {
	return appendFrame(dst, r.Tag, r.Ordinal, r.Body)
}

// Response is a parsed response frame. Body aliases the input.
type Response struct {
	Tag    Tag
	Result Result
	Body   []byte
}

// ParseResponse splits a response frame.
func ParseResponse(b []byte) (Response, error) {
	tag, code, body, err := parseFrame(b)
	if err != nil {
		return Response{}, err
	}
	return Response{Tag: tag, Result: Result(code), Body: body}, nil
}

// ResponseTag is the tag that answers a request of the given tag. Requests
// with an unknown tag are answered with the plain TPM 1.2 tag.
func ResponseTag(req Tag) Tag {
	switch req {
	case TagVTPM, TagMgmt:
		return TagRsp
	default:
		return TagRspPlain
	}
}

// AppendResponse appends the answer to a request of tag req. A failure carries
// no body, but to the administrator, who gets a text with it. A body that does not fit is a bug of the manager and is answered
// with SIZE.
func AppendResponse(dst []byte, req Tag, result Result, body []byte) []byte {
	if result != Success && req != TagMgmt {
		body = nil
	}
	out, err := appendFrame(dst, ResponseTag(req), uint32(result), body)
	if err != nil {
		out, _ = appendFrame(dst, ResponseTag(req), uint32(Size), nil) // an empty body always fits
	}
	return out
}

func parseFrame(b []byte) (tag Tag, code uint32, body []byte, err error) {
	if len(b) >= 2 {
		tag = Tag(binary.BigEndian.Uint16(b))
	}
	if len(b) < HeaderSize || len(b) > MaxFrame {
		return tag, 0, nil, ErrFrame
	}
	if size := binary.BigEndian.Uint32(b[2:]); uint64(size) != uint64(len(b)) {
		return tag, 0, nil, ErrFrame
	}
	return tag, binary.BigEndian.Uint32(b[6:]), b[HeaderSize:len(b):len(b)], nil
}

func appendFrame(dst []byte, tag Tag, code uint32, body []byte) ([]byte, error) {
	if len(body) > MaxBody {
		return dst, ErrTooLong
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(tag))
	dst = binary.BigEndian.AppendUint32(dst, uint32(HeaderSize+len(body)))
	dst = binary.BigEndian.AppendUint32(dst, code)
	return append(dst, body...), nil
}
