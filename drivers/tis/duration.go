package tis

import (
	"time"

	"xenvtpm/drivers/tpmwire"
)

// Limits for the time a TPM may take to execute a command. PTP and TIS name
// typical maxima (20 ms, 750 ms, 2 s); real TPMs go over them when a self test
// or a flash erase comes in between. These limits only decide when a TPM
// counts as hung, so they are wide.
const (
	durationMedium = 10 * time.Second
	durationLong   = 60 * time.Second
	durationKey    = 300 * time.Second // commands that may make an RSA key
)

// keyCommands20 may generate an RSA key (TPM 2.0 Part 2, 6.5.2).
var keyCommands20 = map[uint32]bool{
	0x124: true, // ChangeEPS
	0x125: true, // ChangePPS
	0x131: true, // CreatePrimary
	0x153: true, // Create
	0x191: true, // CreateLoaded
}

// mediumCommands20 do no public-key operation, no self test and no write of
// non-volatile memory.
var mediumCommands20 = map[uint32]bool{
	0x144: true, // Startup
	0x14E: true, // NV_Read
	0x165: true, // FlushContext
	0x169: true, // NV_ReadPublic
	0x173: true, // ReadPublic
	0x17A: true, // GetCapability
	0x17B: true, // GetRandom
	0x17C: true, // GetTestResult
	0x17E: true, // PCR_Read
	0x17F: true, // PolicyPCR
	0x181: true, // ReadClock
	0x182: true, // PCR_Extend
	0x189: true, // PolicyGetDigest
}

// keyCommands12 may generate an RSA key (TPM 1.2 Part 2, 17).
var keyCommands12 = map[uint32]bool{
	0x0D: true, // TakeOwnership
	0x13: true, // CMK_CreateKey
	0x1F: true, // CreateWrapKey
	0x78: true, // CreateEndorsementKeyPair
	0x79: true, // MakeIdentity
	0x7F: true, // CreateRevocableEK
}

// limit returns how long the command with header h may take, at most max if
// that is not 0.
func limit(h tpmwire.Header, max time.Duration) time.Duration {
	d := durationLong
	switch h.Tag.RequestFamily() {
	case tpmwire.Family20:
		if keyCommands20[h.Code] {
			d = durationKey
		} else if mediumCommands20[h.Code] {
			d = durationMedium
		}
	case tpmwire.Family12:
		if keyCommands12[h.Code] {
			d = durationKey
		}
	}
	if max > 0 {
		d = min(d, max)
	}
	return d
}
