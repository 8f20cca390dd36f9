package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// Signatures of ML-DSA and HashML-DSA. Both sign a message representative mu of
// 64 octets (FIPS 204 algorithm 7): for ML-DSA made of the message as it comes,
// or by the caller ("external mu"); for HashML-DSA of the message's digest.

// message returns what sign and verify take as digest for a message that the TPM
// made or was given whole: mu for an ML-DSA key, else a digest with alg. The
// context is empty. nil when alg is no hash, which no scheme of such a key has.
func (t *TPM) message(o *object, alg AlgID, parts ...[]byte) ([]byte, RC) {
	switch {
	case o != nil && o.pub.Type == TPM_ALG_MLDSA:
	case !hashImplemented(alg):
		return nil, TPM_RC_SUCCESS
	default:
		return t.hash.Sum(alg, nil, parts...), TPM_RC_SUCCESS
	}
	s, rc := startMu(o, nil)
	if rc != TPM_RC_SUCCESS {
		return nil, rc
	}
	for _, p := range parts {
		_, _ = s.Write(p) // never fails
	}
	return s.Sum(nil), TPM_RC_SUCCESS
}

// startMu starts mu of a message. Errors: TPM_RC_KEY.
func startMu(o *object, context []byte) (*tpmcrypto.Sequence, RC) {
	k, rc := o.mldsaPublic()
	if rc != TPM_RC_SUCCESS {
		return nil, rc
	}
	s, err := k.StartMu(context)
	if err != nil {
		return nil, TPM_RC_KEY
	}
	return s, TPM_RC_SUCCESS
}

// mu returns the message representative for a digest: mu itself for ML-DSA.
// Errors, without a position: TPM_RC_KEY; TPM_RC_SCHEME when the hash is not the
// key's; TPM_RC_SIZE.
func (o *object) mu(alg AlgID, context, digest []byte) ([]byte, RC) {
	if o.pub.Type == TPM_ALG_MLDSA {
		if len(digest) != tpmcrypto.MLDSAMuSize {
			return nil, TPM_RC_SIZE
		}
		return digest, TPM_RC_SUCCESS
	}
	if alg != o.pub.Scheme.Hash {
		return nil, TPM_RC_SCHEME
	}
	k, rc := o.mldsaPublic()
	if rc != TPM_RC_SUCCESS {
		return nil, rc
	}
	mu, err := k.PrehashMu(alg, context, digest)
	if err != nil {
		return nil, TPM_RC_SIZE
	}
	return mu, TPM_RC_SUCCESS
}

// signMLDSA is sign with a context. Errors, without a position: those of mu.
func signMLDSA(o *object, alg AlgID, context, digest []byte) (TPMT_SIGNATURE, RC) {
	sig := TPMT_SIGNATURE{Alg: o.pub.Type, Hash: alg}
	mu, rc := o.mu(alg, context, digest)
	if rc != TPM_RC_SUCCESS {
		return sig, rc
	}
	k, rc := o.mldsaKey()
	if rc != TPM_RC_SUCCESS {
		return sig, rc
	}
	var err error
	if sig.R, err = k.SignMu(mu); err != nil {
		return sig, TPM_RC_NO_RESULT
	}
	return sig, TPM_RC_SUCCESS
}

// verifyMLDSA is verify with a context. Errors, without a position:
// TPM_RC_SIGNATURE, TPM_RC_SCHEME, TPM_RC_KEY.
func verifyMLDSA(o *object, context, digest []byte, sig *TPMT_SIGNATURE) RC {
	mu, rc := o.mu(sig.Hash, context, digest)
	switch rc {
	case TPM_RC_SUCCESS:
	case TPM_RC_SIZE:
		return TPM_RC_SIGNATURE
	default:
		return rc
	}
	k, rc := o.mldsaPublic()
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if k.VerifyMu(mu, sig.R) != nil {
		return TPM_RC_SIGNATURE
	}
	return TPM_RC_SUCCESS
}

// fits reports whether n more octets of parameters and the sessions go into the response.
func (t *TPM) fits(n int) bool {
	c := &t.call
	for i := range c.sessions[:c.ns] {
		n += 2 + 1 + 2 // nonce, attributes, HMAC
		a := &c.sessions[i]
		if a.s != nil {
			n += a.s.nonceTPM.n
			if a.answersHMAC() {
				n += a.s.hash.DigestSize()
			}
		}
	}
	return len(c.out.b)+n <= cap(c.out.b)
}

// fitsSignature is fits for a structure in a TPM2B and a signature of o, of which only those
// of ML-DSA are so large that it matters.
func (t *TPM) fitsSignature(o *object, doc int) bool {
	if !o.pub.isMLDSA() {
		return true
	}
	n := 2 + doc + 2 + 2 + tpmcrypto.MLDSASet(o.pub.ParamSet).SignatureSize()
	if o.pub.Type == TPM_ALG_HASH_MLDSA {
		n += 2
	}
	return t.fits(n)
}
