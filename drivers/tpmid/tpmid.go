// Package tpmid is who this project's TPMs say they are: in TPM2_GetCapability, in the answers of
// a TPM 1.2, and in the certificates of endorsement keys, where verifiers compare them.
package tpmid

import "fmt"

const (
	// Manufacturer is TPM_PT_MANUFACTURER, "XEN".
	Manufacturer uint32 = 0x58454E00
	// Model is the vendor string of TPM_PT_VENDOR_STRING_1 to 4, and the model in certificates.
	Model = "xenvtpm"
	// FirmwareVersion is TPM_PT_FIRMWARE_VERSION_1 and _2.
	FirmwareVersion uint64 = 0x0001_0000_0000_0000
)

// VendorString returns TPM_PT_VENDOR_STRING_n, n from 1 to 4.
func VendorString(n int) (v uint32) {
	for i := 4 * (n - 1); i < 4*n; i++ {
		v <<= 8
		if i < len(Model) {
			v |= uint32(Model[i])
		}
	}
	return v
}

// The attributes of a certificate (TCG EK Credential Profile 2.5, 3.1.2).

// CertManufacturer is tcg-at-tpmManufacturer.
func CertManufacturer() string { return fmt.Sprintf("id:%08X", Manufacturer) }

// CertVersion is tcg-at-tpmVersion: TPM_PT_FIRMWARE_VERSION_1.
func CertVersion() string { return fmt.Sprintf("id:%08X", uint32(FirmwareVersion>>32)) }
