package tpm2

// cmdNVCertify is TPM2_NV_Certify (TPM20-P3 section 31.16). With size and offset 0 the digest
// of the whole index is certified.
//
//	TPM_RC_KEY               H1  the key is not a signing key
//	TPM_RC_NV_AUTHORIZATION      authHandle may not read the index
//	TPM_RC_NV_LOCKED             the index is read-locked
//	TPM_RC_NV_RANGE              outside of the index
//	TPM_RC_NV_UNINITIALIZED      the index was not written
//	TPM_RC_SCHEME            P2  the scheme is not the key's, or none is named; for a
//	                             digest TPM_RH_NULL needs one too, and there must be a hash
//	TPM_RC_SIZE              P3  with the signature, of ML-DSA, more than a response holds
//	TPM_RC_VALUE             P3  more than 1024 octets
//	TPM_RC_RANGE, TPM_RC_VALUE  P2  ECDAA: the count was not given out, or was used
func cmdNVCertify(t *TPM, c *call) RC {
	extra := c.in.param().data()
	in := c.in.param().sigScheme()
	size := int(c.in.param().u16())
	offset := int(c.in.param().u16())
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	a, rc := newAttestation(c, TPM_ST_ATTEST_NV, 0, 2, &in, extra)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	ix := c.nv(2)
	switch rc := t.nvReadAccess(c.handle(1), ix); {
	case rc != TPM_RC_SUCCESS:
		return rc
	case size > maxNVBuffer:
		return TPM_RC_VALUE.Param(3)
	case offset+size > len(ix.data):
		return TPM_RC_NV_RANGE
	}
	if size == 0 && offset == 0 {
		return t.certifyNVDigest(c, &a, ix)
	}
	return t.answer(c, &a, func(w *writer) {
		w.b2(t.nvName(ix))
		w.u16(uint16(offset))
		w.b2(ix.data[offset : offset+size])
	}).Param(3)
}

func (t *TPM) certifyNVDigest(c *call, a *attestation, ix *nvIndex) RC {
	alg, rc := a.digestAlg()
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	a.typ = TPM_ST_ATTEST_NV_DIGEST
	digest := t.hash.Sum(alg, nil, ix.data)
	return t.answer(c, a, func(w *writer) {
		w.b2(t.nvName(ix))
		w.b2(digest)
	})
}
