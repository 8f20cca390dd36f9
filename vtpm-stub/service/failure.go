package service

import (
	"encoding/binary"

	"xenvtpm/drivers/tpmid"
	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpm-stub/tpm2"
)

// What a TPM without an engine answers: TPM2_GetTestResult and the limited
// TPM2_GetCapability of failure mode (TPM 2.0 Part 1, 12.4), and
// TPM_RC_FAILURE to everything else.
const (
	ccGetCapability = 0x17A
	ccGetTestResult = 0x17C

	capTPMProperties = 6 // TPM_CAP_TPM_PROPERTIES
)

// failureProperties are the ones that a TPM in failure mode has to report (Part
// 1, 12.4): manufacturer, vendor strings, vendor TPM type, firmware version.
var failureProperties = []struct{ tag, value uint32 }{
	{tpm2.TPM_PT_MANUFACTURER, tpmid.Manufacturer},
	{tpm2.TPM_PT_VENDOR_STRING_1, tpmid.VendorString(1)},
	{tpm2.TPM_PT_VENDOR_STRING_2, tpmid.VendorString(2)},
	{tpm2.TPM_PT_VENDOR_STRING_3, tpmid.VendorString(3)},
	{tpm2.TPM_PT_VENDOR_STRING_4, tpmid.VendorString(4)},
	{tpm2.TPM_PT_VENDOR_TPM_TYPE, 1},
	{tpm2.TPM_PT_FIRMWARE_VERSION_1, uint32(tpmid.FirmwareVersion >> 32)},
	{tpm2.TPM_PT_FIRMWARE_VERSION_2, uint32(tpmid.FirmwareVersion & 0xFFFFFFFF)},
}

// failed20 answers a TPM 2.0 command in failure mode.
func failed20(buf []byte, h tpmwire.Header, body []byte) []byte {
	var out []byte
	switch {
	case h.Tag == tpmwire.TagNoSessions && h.Code == ccGetTestResult && len(body) == 0:
		out = make([]byte, 2, 6) // outData: empty
		out = binary.BigEndian.AppendUint32(out, tpmwire.RCFailure)
	case h.Tag == tpmwire.TagNoSessions && h.Code == ccGetCapability && len(body) == 12:
		out = failedCapability(binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:]), binary.BigEndian.Uint32(body[8:]))
	}
	rsp := tpmwire.Header{Tag: tpmwire.TagNoSessions, Size: tpmwire.HeaderSize + uint32(len(out))}
	if out == nil {
		rsp.Code = tpmwire.RCFailure
	}
	return append(rsp.Append(buf), out...)
}

// failedCapability is the body of TPM2_GetCapability's response: moreData,
// capability, list of properties. nil for anything but TPM properties.
func failedCapability(capability, property, count uint32) []byte {
	if capability != capTPMProperties {
		return nil
	}
	var list []byte
	n, more := uint32(0), byte(0)
	for _, p := range failureProperties {
		switch {
		case p.tag < property:
		case n == count:
			more = 1
		default:
			list = binary.BigEndian.AppendUint32(list, p.tag)
			list = binary.BigEndian.AppendUint32(list, p.value)
			n++
		}
	}
	out := []byte{more}
	out = binary.BigEndian.AppendUint32(out, capability)
	out = binary.BigEndian.AppendUint32(out, n)
	return append(out, list...)
}
