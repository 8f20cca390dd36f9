package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdVerifyDigestSignature is TPM2_VerifyDigestSignature (v185, P3 section 20.4). The digest
// of an ML-DSA key is the message representative, external mu, which has the
// context in it. It gets the NULL Ticket, since no hash made it and no policy command takes it.
//
//	TPM_RC_EXT_MU     H1  ML-DSA: the key does not allow external mu
//	TPM_RC_KEY        H1  not a signing key
//	TPM_RC_KEY        P3  the public key is not valid
//	TPM_RC_SCHEME     H1  the key has no scheme of its own, or HMAC or ECDAA
//	TPM_RC_SCHEME     P3  the signature is of another scheme than the key's
//	TPM_RC_SIGNATURE  P3  the signature is wrong
//	TPM_RC_SIZE       P1  there is a context, which no scheme but HashML-DSA has
//	TPM_RC_SIZE       P2  the digest has not the size of the scheme's hash
func cmdVerifyDigestSignature(t *TPM, c *call) RC {
	context := c.in.param().signContext()
	digest := c.in.param().digest()
	sig := c.in.param().signature(false)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	scheme, rc := digestScheme(o)
	switch {
	case rc != TPM_RC_SUCCESS:
		return rc
	case scheme.Scheme == TPM_ALG_ECDAA:
		return TPM_RC_SCHEME.Handle(1)
	case scheme.Scheme == TPM_ALG_MLDSA && !o.pub.ExtMu:
		return TPM_RC_EXT_MU.Handle(1)
	case len(context) != 0 && scheme.Scheme != TPM_ALG_HASH_MLDSA:
		return TPM_RC_SIZE.Param(1)
	case sig.Alg != scheme.Scheme || sig.Hash != scheme.Hash:
		return TPM_RC_SCHEME.Param(3)
	case len(digest) != digestSize(&scheme):
		return TPM_RC_SIZE.Param(2)
	}
	if o.pub.isMLDSA() {
		rc = verifyMLDSA(o, context, digest, &sig)
	} else {
		rc = t.verify(o, digest, &sig)
	}
	if rc != TPM_RC_SUCCESS {
		return rc.Param(3)
	}
	ticket := TPMT_TK{Tag: TPM_ST_DIGEST_VERIFIED, Hierarchy: TPM_RH_NULL}
	if len(context) == 0 && scheme.Scheme != TPM_ALG_MLDSA {
		ticket = t.verifiedTicket(TPM_ST_DIGEST_VERIFIED, o, digest, o.name, u16Bytes(uint16(scheme.Hash)))
	}
	c.out.verifiedDigest(&ticket, scheme.Hash)
	return TPM_RC_SUCCESS
}

// digestSize is the size of what a scheme signs.
func digestSize(s *TPMT_SCHEME) int {
	if s.Scheme == TPM_ALG_MLDSA {
		return tpmcrypto.MLDSAMuSize
	}
	return s.Hash.DigestSize()
}

// verifiedDigest writes a TPMT_TK_VERIFIED with TPM_ST_DIGEST_VERIFIED, which has the hash
// algorithm as metadata, unless it is the NULL Ticket (v185, P2 section 10.6.5).
func (w *writer) verifiedDigest(k *TPMT_TK, alg AlgID) {
	w.u16(uint16(k.Tag))
	w.handle(k.Hierarchy)
	if k.Hierarchy != TPM_RH_NULL {
		w.alg(alg)
	}
	w.b2(k.Digest)
}

// verified reads a TPMT_TK_VERIFIED; meta is empty unless the tag is
// TPM_ST_DIGEST_VERIFIED. A NULL Ticket with that tag is taken with metadata, as other
// tickets have it, and without: what follows the hierarchy is then the size 0, which is no hash.
func (r *reader) verified() (k TPMT_TK, meta []byte) {
	k.Tag = ST(r.u16())
	switch k.Tag {
	case TPM_ST_VERIFIED, TPM_ST_MESSAGE_VERIFIED, TPM_ST_DIGEST_VERIFIED:
	default:
		r.fail(TPM_RC_TAG)
	}
	k.Hierarchy = r.hierarchy(true)
	short := k.Hierarchy == TPM_RH_NULL && len(r.b) >= 2 && r.b[0] == 0 && r.b[1] == 0
	if k.Tag == TPM_ST_DIGEST_VERIFIED && !short {
		meta = u16Bytes(uint16(r.hash(false)))
	}
	k.Digest = r.digest()
	return k, meta
}
