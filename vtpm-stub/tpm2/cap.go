package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cappedPCRs are the PCRs of the static root of trust and of what runs on it:
// nothing but a reset of the TPM gives them their first value again.
const cappedPCRs = 16

// capEvent is the error value of an EV_SEPARATOR event, 1 in little-endian
// order, with which firmware makes PCRs useless that it could not measure into
// (TCG PC Client Platform Firmware Profile).
var capEvent = []byte{1, 0, 0, 0}

// CapPCRs extends PCR 0 to 15 of all banks with the digest of an error value,
// after Startup and before anybody measures: no policy that wants a measured
// start holds until the next reset. Errors: an RC.
func (t *TPM) CapPCRs() error {
	switch {
	case t.failure != 0:
		return TPM_RC_FAILURE
	case !t.ram.started:
		return TPM_RC_INITIALIZE
	}
	for b, alg := range hashAlgs {
		h, err := tpmcrypto.NewHashSequence(alg)
		if err != nil {
			return TPM_RC_HASH
		}
		_, _ = h.Write(capEvent) // never fails
		digest := h.Sum(nil)
		for n := range cappedPCRs {
			t.pcrExtend(b, n, digest)
		}
	}
	return t.flush()
}
