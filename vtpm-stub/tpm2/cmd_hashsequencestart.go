package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdHashSequenceStart is TPM2_HashSequenceStart (TPM20-P3 section 17.4). With
// TPM_ALG_NULL it starts an Event Sequence, which has a digest for each hash
// algorithm.
//
//	TPM_RC_HASH         P2   hashAlg is not implemented
//	TPM_RC_OBJECT_MEMORY     no free object slot
//	TPM_RC_SIZE         P1   auth is longer than the largest digest
func cmdHashSequenceStart(t *TPM, c *call) RC {
	auth := c.in.param().digest()
	alg := c.in.param().hash(true)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := &sequence{kind: seqHash}
	algs := []AlgID{alg}
	if alg == TPM_ALG_NULL {
		s.kind, algs = seqEvent, t.offer.hashes()
	}
	for _, a := range algs {
		h, err := tpmcrypto.NewHashSequence(a)
		if err != nil {
			return TPM_RC_HASH.Param(2)
		}
		s.hashes = append(s.hashes, h)
	}
	return t.startSequence(c, s, auth)
}
