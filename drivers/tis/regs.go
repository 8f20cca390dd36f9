// Package tis drives a hardware TPM through the FIFO interface of the TCG's PC
// client platform: memory-mapped registers, four kilobytes for each of five
// localities.
//
// Sources: TCG PC Client Specific TPM Interface Specification 1.3 (TIS) for TPM
// 1.2; TCG PC Client Platform TPM Profile 1.05 (PTP), section 6 (FIFO
// interface), for TPM 2.0. Register and bit names are theirs.
//
// Deliberately missing: interrupts (a PVH guest gets none, so everything is
// polled), the CRB interface (found and refused by name), SPI and I2C buses,
// and the 32-bit wide FIFO.
//
// Threat model: the TPM may be absent, slow, broken or in use by somebody
// else; it is not trusted to keep to the protocol. Every wait has a limit and
// every length is checked. What a response means is for the caller.
package tis

// Regs is the register window: offset 0 is locality 0's TPM_ACCESS, locality n
// starts at n * 0x1000. Each call is one access of that width, in order.
type Regs interface {
	Read8(off uint32) uint8
	Write8(off uint32, v uint8)
	Read32(off uint32) uint32
	Write32(off uint32, v uint32)
}

// Register offsets within a locality.
const (
	regAccess    = 0x000 // TPM_ACCESS_x, 8 bit
	regSts       = 0x018 // TPM_STS_x, 32 bit
	regFifo      = 0x024 // TPM_DATA_FIFO_x
	regIntfID    = 0x030 // TPM_INTERFACE_ID_x
	regDidVid    = 0xF00 // TPM_DID_VID_x
	localitySize = 0x1000
	maxLocality  = 4
)

// Bits of TPM_ACCESS_x.
const (
	accessValid      = 0x80 // tpmRegValidSts
	accessActive     = 0x20 // activeLocality; writing it gives the locality up
	accessSeize      = 0x08 // Seize: take the TPM from a lower locality
	accessRequestUse = 0x02 // requestUse
)

// Values of TPM_INTERFACE_ID_x.interfaceType that are not a FIFO.
const (
	intfTypeMask = 0x0F
	intfCRB      = 0x01
)

// Fields of TPM_STS_x.
const (
	stsValid         = 1 << 7  // stsValid: Expect and dataAvail mean something
	stsCommandReady  = 1 << 6  // commandReady; writing it aborts and makes ready
	stsGo            = 1 << 5  // tpmGo
	stsDataAvail     = 1 << 4  // dataAvail
	stsExpect        = 1 << 3  // Expect
	stsResponseRetry = 1 << 1  // responseRetry
	stsCommandCancel = 1 << 24 // commandCancel, TPM 2.0
	stsBurstShift    = 8       // burstCount, 16 bits
	stsFamilyShift   = 26      // tpmFamily, 2 bits
	stsFamily20      = 1       // tpmFamily of a TPM 2.0
)

// An empty bus reads as ones, and so does TPM_STS of a locality that is not
// the active one.
const (
	floating8  = 0xFF
	floating32 = 0xFFFFFFFF
)
