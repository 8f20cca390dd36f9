package tpm2

import "fmt"

// RC is TPM_RC, a response code (TPM20-P2 section 6.6). Format-one codes carry
// the number of the handle, parameter or session that they are about.
type RC uint32

const (
	rcFmt1  RC = 0x080 // set in format-one codes
	rcParam RC = 0x040 // format one: the number is a parameter's
	rcWarn  RC = 0x900
)

// Param returns rc as it is reported for parameter n (1 to 15) of a command.
// Codes that cannot carry a number, or that have one already, are unchanged.
func (rc RC) Param(n int) RC { return rc.at(rcParam | RC(n&0xF)<<8) }

// Handle returns rc as it is reported for handle n (1 to 7) of a command.
func (rc RC) Handle(n int) RC { return rc.at(RC(n&7) << 8) }

// Session returns rc as it is reported for session n (1 to 7) of a command.
func (rc RC) Session(n int) RC { return rc.at(RC(8|n&7) << 8) }

func (rc RC) at(position RC) RC {
	if rc&rcFmt1 == 0 || rc&^(rcFmt1|0x3F) != 0 {
		return rc
	}
	return rc | position
}

// Base returns rc without the number of the handle, parameter or session.
func (rc RC) Base() RC {
	if rc&rcFmt1 != 0 {
		return rc & (rcFmt1 | 0x3F)
	}
	return rc
}

// Error makes RC an error for the callers outside of the command path.
func (rc RC) Error() string {
	if rc&rcFmt1 == 0 {
		return fmt.Sprintf("TPM response code 0x%03x", uint32(rc))
	}
	n := uint32(rc>>8) & 0xF
	switch {
	case rc&rcParam != 0:
		return fmt.Sprintf("TPM response code 0x%03x (parameter %d)", uint32(rc.Base()), n)
	case n == 0:
		return fmt.Sprintf("TPM response code 0x%03x", uint32(rc))
	case n&8 != 0:
		return fmt.Sprintf("TPM response code 0x%03x (session %d)", uint32(rc.Base()), n&7)
	}
	return fmt.Sprintf("TPM response code 0x%03x (handle %d)", uint32(rc.Base()), n)
}
