package tpm2

import (
	"encoding/binary"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// SM2 encryption (v185, P1 section 45.2.4), which takes any curve here: ECDH with an
// ephemeral key C1, the message under the octets of KDF2 (C2), and a digest of
// message and shared point (C3).

// eccEncryptScheme selects the KDF. The key's own scheme has no place for one, so that only
// a key with the null scheme can be used. ok is false for TPM_RC_SCHEME.
func eccEncryptScheme(own, in *TPMT_SCHEME) bool {
	return own.Scheme == TPM_ALG_NULL && in.Scheme == TPM_ALG_KDF2
}

// eccMask XORs KDF2 of the shared point into data: H(x || y || counter), counted from 1
// (ISO/IEC 18033-2 section 6.2.3).
func (t *TPM) eccMask(alg AlgID, z tpmcrypto.Point, data []byte) {
	for n := uint32(1); len(data) > 0; n++ {
		block := t.hash.Sum(alg, nil, z.X, z.Y, binary.BigEndian.AppendUint32(nil, n))
		m := min(len(block), len(data))
		for i := range m {
			data[i] ^= block[i]
		}
		data = data[m:]
	}
}

// eccTag is C3.
func (t *TPM) eccTag(alg AlgID, z tpmcrypto.Point, message []byte) []byte {
	return t.hash.Sum(alg, nil, z.X, message, z.Y)
}
