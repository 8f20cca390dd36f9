package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// Sizes and counts of this implementation. Those that a client can see are
// reported by TPM2_GetCapability.
const (
	maxCommandSize  = 4096 // a Config may lower it, for 4088-octet transports
	maxResponseSize = 4096

	maxDigest       = tpmcrypto.MaxDigestSize
	maxDigestBuffer = 1024 // MAX_DIGEST_BUFFER: TPM2B_MAX_BUFFER, TPM2B_EVENT
	maxNVBuffer     = 1024 // MAX_NV_BUFFER_SIZE: data of one NV command
	maxNVIndex      = 2048 // MAX_NV_INDEX_SIZE: data of one index
	maxSymData      = 128  // MAX_SYM_DATA: octets of a sealed object
	maxSensitive    = 1024 // sensitive value of any object: RSA and ML keys included
	maxRSABytes     = 512  // RSA 4096
	maxECCBytes     = 80   // BN-P638
	maxSymKeyBytes  = 32
	maxSymBlock     = 16
	maxCapBuffer    = 1024
	maxContextSize  = 3072 // TPM2B_CONTEXT_DATA
	contextOverhead = 28   // what TPM2_ContextSave answers beside it
	maxPrivate      = 2048 // TPM2B_PRIVATE
	maxLabel        = 32   // LABEL_MAX_BUFFER

	maxObjects        = 8   // transient objects in slots
	maxLoadedSessions = 8   // sessions in slots
	maxActiveSessions = 64  // sessions loaded or saved
	maxPersistent     = 65  // persistent objects, as many as libtpms keeps
	maxNVIndices      = 512 // defined NV Indices
	maxNVBytes        = 128 * 1024
	maxSessionsInCmd  = 3
	maxHandlesInCmd   = 3

	contextGapMax   = 0xFFFF
	maxOrderlyCount = 0xFF // an orderly counter reaches NV every 256 increments
	numPCR          = 24
	pcrSelectBytes  = numPCR / 8
	numHashes       = 7 // HASH_COUNT
	numACT          = 16

	// clockUpdateMS is the interval of Clock updates in NV. P1 36.3.1 allows
	// at most 2^22 ms; each one is a write of the whole state.
	clockUpdateMS = 1 << 22
)

// maxPersistentFormer is the number of persistent objects of TPMs from before there were profiles,
// and what programs before version 5 of the saved form read.
const maxPersistentFormer = 64

// persistentLimit is the number of persistent objects that this TPM has room for.
func (t *TPM) persistentLimit() int {
	if t.profile.former {
		return maxPersistentFormer
	}
	return maxPersistent
}
