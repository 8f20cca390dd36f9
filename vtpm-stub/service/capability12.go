package service

import (
	"encoding/binary"

	"xenvtpm/drivers/tpmid"
	"xenvtpm/drivers/tpmwire"
)

// pcrCount is the number of PCRs of both families.
const pcrCount = 24

// Capability areas and properties of TPM 1.2 (Part 2, 21).
const (
	cap12Ord        = 0x01
	cap12Flag       = 0x04
	cap12Property   = 0x05
	cap12Version    = 0x06
	cap12VersionVal = 0x1A

	flag12Permanent = 0x108
	flag12Volatile  = 0x109
)

// Timeouts A to D and durations (short, medium, long) in microseconds, which
// is how Linux reads them: a value below 10 ms would be taken for milliseconds.
// They are long because a save to disk comes before the answer, and because
// Linux since 5.4 gives up when a duration has passed; timeout C is what its
// frontend waits for a command that it has cancelled.
var (
	timeouts12  = []uint32{2_000_000, 2_000_000, 2_000_000, 2_000_000}
	durations12 = []uint32{3_000_000, 3_000_000, 600_000_000}
)

// getCapability12 is TPM_GetCapability (Part 3, 7.1).
func (s *Service) getCapability12(_ *Request, body []byte) ([]byte, uint32) {
	if len(body) < 8 {
		return nil, tpmwire.Result12BadParamSize
	}
	area, size, sub := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:]), body[8:]
	if uint64(size) != uint64(len(sub)) {
		return nil, tpmwire.Result12BadParamSize
	}
	value := capability12(area, sub)
	if value == nil {
		return nil, result12BadMode
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(len(value)))
	return append(out, value...), tpmwire.Result12Success
}

// capability12 returns a capability's value, nil when there is none.
func capability12(area uint32, sub []byte) []byte {
	switch area {
	case cap12Version:
		return []byte{1, 1, 0, 0} // TPM_STRUCT_VER, fixed by Part 2, 5.1
	case cap12VersionVal:
		return versionInfo12()
	}
	if len(sub) != 4 {
		return nil
	}
	n := binary.BigEndian.Uint32(sub)
	switch area {
	case cap12Ord:
		return bool12(lookup12(n) != nil)
	case cap12Flag:
		return flags12(n)
	case cap12Property:
		return property12(n)
	}
	return nil
}

// versionInfo12 is TPM_CAP_VERSION_INFO: tag, version 1.2 with our own
// revision, specification level 2, errata revision 3, vendor, no vendor data.
func versionInfo12() []byte {
	return []byte{0x00, 0x30, 1, 2, 1, 0, 0, 2, 3, 'X', 'E', 'N', 0, 0, 0}
}

// flags12 is TPM_PERMANENT_FLAGS or TPM_STCLEAR_FLAGS (Part 2, 7.1 and 7.2):
// enabled, active, no owner, no readable EK, self tests and clearing by
// software not to be had.
func flags12(which uint32) []byte {
	switch which {
	case flag12Permanent:
		b := make([]byte, 2+20)
		b[1] = 0x1F
		b[2+4] = 1 // disableOwnerClear
		b[2+6] = 1 // physicalPresenceLifetimeLock: no presence to assert
		return b
	case flag12Volatile:
		b := make([]byte, 2+5)
		b[1] = 0x20
		b[2+3] = 1 // physicalPresenceLock
		return b
	}
	return nil
}

// property12 is one property of TPM_CAP_PROPERTY (Part 2, 21.2).
func property12(n uint32) []byte {
	switch n {
	case 0x101: // TPM_CAP_PROP_PCR
		return words12(pcrCount)
	case 0x102: // TPM_CAP_PROP_DIR
		return words12(0)
	case 0x103: // TPM_CAP_PROP_MANUFACTURER
		return binary.BigEndian.AppendUint32(nil, tpmid.Manufacturer)
	case 0x104, 0x107, 0x10A, 0x10B, 0x10C, 0x10D, 0x10E, 0x10F, 0x110: // keys and sessions: none
		return words12(0)
	case 0x111: // TPM_CAP_PROP_OWNER
		return bool12(false)
	case 0x115: // TPM_CAP_PROP_TIS_TIMEOUT
		return words12(timeouts12...)
	case 0x120: // TPM_CAP_PROP_DURATION
		return words12(durations12...)
	case 0x124: // TPM_CAP_PROP_INPUT_BUFFER
		return words12(MaxPacket)
	}
	return nil
}

func words12(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

func bool12(v bool) []byte {
	if v {
		return []byte{1}
	}
	return []byte{0}
}
