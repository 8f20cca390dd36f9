package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// sequenceKind tells what a sequence object computes.
type sequenceKind uint8

const (
	seqHash   sequenceKind = iota + 1 // TPM2_HashSequenceStart with a hash
	seqEvent                          // TPM2_HashSequenceStart with TPM_ALG_NULL
	seqHMAC                           // TPM2_HMAC_Start, TPM2_MAC_Start
	seqCMAC                           // TPM2_MAC_Start with TPM_ALG_CMAC
	seqSign                           // TPM2_SignSequenceStart
	seqVerify                         // TPM2_VerifySequenceStart
)

// sequence is the state of a sequence object (TPM20-P1 clause 32.4).
type sequence struct {
	kind sequenceKind
	auth []byte
	// hashes: one for seqHash, seqHMAC and seqSign; for seqVerify also the
	// ticket's HMAC; one for each bank for seqEvent, in the order of hashAlgs.
	hashes []*tpmcrypto.Sequence
	cmac   *tpmcrypto.CMAC // seqCMAC
	cmacOf tpmcrypto.Alg   // seqCMAC: the cipher
	cmacK  []byte          // seqCMAC: its key, to restore a saved context

	started bool    // data was added
	head    [4]byte // first octets of data: TPM_GENERATED_VALUE cannot be ticketed
	headLen int

	keyName []byte // seqSign, seqVerify: Name of the key given at the start
	context []byte // seqSign, seqVerify: signature context
	hint    []byte // seqVerify
	scheme  TPMT_SCHEME
}
