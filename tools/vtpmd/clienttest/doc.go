// Package clienttest drives vtpmd with the TPM clients that people use:
// tpm2-tools, IBM's tss2, swtpm_ioctl, go-tpm, go-attestation, QEMU and Linux.
// It has tests only.
//
// A test is skipped when the program that it drives is missing, unless CI or
// XENVTPM_REQUIRE_CLIENTS is set: then it fails.
package clienttest
