// Package tpmwire has the ten-byte header that every TPM packet starts with,
// and the few tags and response codes that drivers and services need.
//
// Specifications: TPM 2.0 Part 1 (18, command and response structure), Part 2
// (6.6, TPM_RC; 6.9, TPM_ST), TPM 1.2 Main Part 2 (6, tags; 16, return codes).
// The tags 0x01Cx belong to the Xen vTPM manager.
//
// All integers in a packet are big-endian. Whoever sends a packet is not
// trusted: nothing here panics on foreign bytes.
package tpmwire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// HeaderSize is the length of a command or response header in bytes: u16 tag,
// u32 size of the whole packet, u32 command code, ordinal or response code.
const HeaderSize = 10

// A Tag is the first field of a packet.
type Tag uint16

// Tags of requests and responses.
const (
	TagRquCommand      Tag = 0x00C1 // TPM 1.2: TPM_TAG_RQU_COMMAND
	TagRquAuth1Command Tag = 0x00C2 // TPM 1.2: TPM_TAG_RQU_AUTH1_COMMAND
	TagRquAuth2Command Tag = 0x00C3 // TPM 1.2: TPM_TAG_RQU_AUTH2_COMMAND
	TagRspCommand      Tag = 0x00C4 // TPM 1.2: TPM_TAG_RSP_COMMAND; TPM 2.0: TPM_ST_RSP_COMMAND
	TagRspAuth1Command Tag = 0x00C5 // TPM 1.2: TPM_TAG_RSP_AUTH1_COMMAND
	TagRspAuth2Command Tag = 0x00C6 // TPM 1.2: TPM_TAG_RSP_AUTH2_COMMAND

	TagVTPMRequest  Tag = 0x01C1 // vTPM manager: request of a vTPM
	TagVTPMManage   Tag = 0x01C2 // vTPM manager: administration
	TagVTPMResponse Tag = 0x01C4 // vTPM manager: response to both

	TagNoSessions Tag = 0x8001 // TPM 2.0: TPM_ST_NO_SESSIONS
	TagSessions   Tag = 0x8002 // TPM 2.0: TPM_ST_SESSIONS
)

// A Family says which set of commands and response codes a tag belongs to.
type Family uint8

// Families of tags.
const (
	FamilyUnknown Family = iota
	Family12             // TPM 1.2
	Family20             // TPM 2.0
	FamilyManager        // Xen vTPM manager, which uses TPM 1.2 response codes
)

// RequestFamily returns the family of a request's tag, and FamilyUnknown for
// tags that no request may carry.
func (t Tag) RequestFamily() Family {
	switch t {
	case TagRquCommand, TagRquAuth1Command, TagRquAuth2Command:
		return Family12
	case TagNoSessions, TagSessions:
		return Family20
	case TagVTPMRequest, TagVTPMManage:
		return FamilyManager
	}
	return FamilyUnknown
}

// A Header is the first ten bytes of a packet.
type Header struct {
	Tag  Tag
	Size uint32 // whole packet, header included
	Code uint32 // command code or ordinal of a request, response code of a response
}

// Errors of ParseHeader and ParsePacket.
var (
	ErrShort = errors.New("tpmwire: packet is shorter than its header")
	ErrSize  = errors.New("tpmwire: header's size field is not the packet's length")
)

// ParseHeader reads the header of b. It checks nothing but that b is long
// enough for one (ErrShort).
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w: %d bytes", ErrShort, len(b))
	}
	return Header{
		Tag:  Tag(binary.BigEndian.Uint16(b)),
		Size: binary.BigEndian.Uint32(b[2:]),
		Code: binary.BigEndian.Uint32(b[6:]),
	}, nil
}

// ParsePacket reads the header of b and demands that its size field equals
// len(b). The header is valid also beside ErrSize.
func ParsePacket(b []byte) (Header, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return h, err
	}
	if uint64(h.Size) != uint64(len(b)) {
		return h, fmt.Errorf("%w: size field %d, packet %d bytes", ErrSize, h.Size, len(b))
	}
	return h, nil
}

// Append appends the header's ten bytes to b.
func (h Header) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(h.Tag))
	b = binary.BigEndian.AppendUint32(b, h.Size)
	return binary.BigEndian.AppendUint32(b, h.Code)
}
