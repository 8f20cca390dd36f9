// Package tpm2 is a TPM 2.0: commands in, responses out, state kept through a
// function of the caller. It knows neither Xen nor disks; New or Restore makes
// a TPM, Execute runs one command.
//
// Specifications, by the short names used in comments:
//
//	TPM20-P1, P1  TPM 2.0 Library, Part 1: Architecture, revision 1.59
//	TPM20-P2      Part 2: Structures
//	TPM20-P3, P3  Part 3: Commands, with the additions of version 185
//	PTP           PC Client Platform TPM Profile (attributes of PCR)
//
// Constants and structures keep the spelling of Part 2. docs/tpm2-engine.md
// describes the parts and how to add a command.
//
// Missing on purpose: firmware upgrade, attached components, firmware-limited
// hierarchies.
//
// Every octet of a command comes from a guest that may be hostile. No command
// may panic, hang, allocate without bound, or change state when it fails. Saved
// states are authenticated by the caller; damaged ones are refused all the
// same.
package tpm2
