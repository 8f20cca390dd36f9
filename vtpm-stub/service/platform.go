package service

import (
	"encoding/binary"
	"fmt"

	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpm-stub/tpm2"
)

// platformAuthSize is that of the random authorisation, in bytes.
const platformAuthSize = 32

// closePlatform gives the platform hierarchy an authorisation that nobody knows,
// as firmware does before it starts an operating system: TPM2_Clear, ChangeEPS,
// PCR_Allocate and the like are the platform's, not the guest's. After each
// Startup(CLEAR) it is empty again (TPM 2.0 Part 1, platform controls). The value
// is not kept: what the service does as the platform itself, such as
// certificates in NV, needs no authorisation. A TPM that resumes may be closed
// already.
func closePlatform(tpm Engine, resumed bool) error {
	auth := make([]byte, platformAuthSize)
	defer clear(auth)
	if err := tpm.Random(auth); err != nil {
		return fmt.Errorf("random platformAuth: %w", err)
	}
	rsp, err := tpmwire.ParsePacket(tpm.Execute(0, hierarchyChangeAuth(tpm2.TPM_RH_PLATFORM, auth), nil))
	if err != nil {
		return fmt.Errorf("TPM2_HierarchyChangeAuth(platform): %w", err)
	}
	closed := resumed && rsp.Code == uint32(tpm2.TPM_RC_BAD_AUTH.Session(1))
	if rsp.Code != tpmwire.RCSuccess && !closed {
		return fmt.Errorf("TPM2_HierarchyChangeAuth(platform): response code %#x", rsp.Code)
	}
	return nil
}

// hierarchyChangeAuth is TPM2_HierarchyChangeAuth with an empty password.
func hierarchyChangeAuth(h tpm2.Handle, auth []byte) []byte {
	const area = 4 + 2 + 1 + 2 // TPM_RS_PW, no nonce, attributes, empty password
	body := binary.BigEndian.AppendUint32(nil, uint32(h))
	body = binary.BigEndian.AppendUint32(body, area)
	body = binary.BigEndian.AppendUint32(body, uint32(tpm2.TPM_RS_PW))
	body = append(body, 0, 0, 0, 0, 0)
	body = binary.BigEndian.AppendUint16(body, uint16(len(auth)))
	body = append(body, auth...)
	hd := tpmwire.Header{Tag: tpmwire.TagSessions, Size: uint32(tpmwire.HeaderSize + len(body)), Code: uint32(tpm2.TPM_CC_HierarchyChangeAuth)}
	return append(hd.Append(nil), body...)
}
