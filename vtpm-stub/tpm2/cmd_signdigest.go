package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdSignDigest is TPM2_SignDigest (v185, P3 section 20.7).
//
// The digest of an ML-DSA key is the message representative, external mu, which
// has the context in it.
//
//	TPM_RC_ATTRIBUTES  H1  x509sign is SET, or restricted of an ML-DSA key
//	TPM_RC_EXT_MU      H1  ML-DSA: the key does not allow external mu
//	TPM_RC_KEY         H1  not a signing key
//	TPM_RC_RANGE       P1  ECDAA: the count is unknown or too old
//	TPM_RC_SCHEME      H1  the key has no scheme of its own, or HMAC, which signs messages
//	TPM_RC_SIZE        P1  context is not what the scheme needs
//	TPM_RC_SIZE        P2  the digest has not the size of the scheme's hash
//	TPM_RC_TICKET      P3  validation is missing for a restricted key, or not for this
//	                       digest and hash
//	TPM_RC_VALUE       P1  ECDAA: the commit value was used before
func cmdSignDigest(t *TPM, c *call) RC {
	context := c.in.param().signContext()
	digest := c.in.param().digest()
	ticket := c.in.param().ticket(TPM_ST_HASHCHECK)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	scheme, rc := digestScheme(o)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if scheme.Scheme == TPM_ALG_MLDSA {
		if rc := checkExternalMu(o, context, digest, &ticket); rc != TPM_RC_SUCCESS {
			return rc
		}
		return t.answerMLDSA(c, &scheme, nil, digest)
	}
	if rc := applyContext(&scheme, context, false, 1); rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := t.checkSign(o, scheme.Hash, digest, &ticket, 3, 2); rc != TPM_RC_SUCCESS {
		return rc
	}
	if scheme.Scheme == TPM_ALG_HASH_MLDSA {
		return t.answerMLDSA(c, &scheme, context, digest)
	}
	sig, rc := t.sign(o, &scheme, digest)
	switch rc {
	case TPM_RC_SUCCESS:
	case TPM_RC_RANGE, TPM_RC_VALUE:
		return rc.Param(1)
	case TPM_RC_NO_RESULT:
		return rc
	default:
		return rc.Handle(1)
	}
	c.out.signature(&sig)
	return TPM_RC_SUCCESS
}

// checkExternalMu checks TPM2_SignDigest with an ML-DSA key.
func checkExternalMu(o *object, context, mu []byte, ticket *TPMT_TK) RC {
	switch {
	case o.pub.Attributes&(objX509Sign|objRestricted) != 0:
		return TPM_RC_ATTRIBUTES.Handle(1)
	case !o.pub.ExtMu:
		return TPM_RC_EXT_MU.Handle(1)
	case len(context) != 0:
		return TPM_RC_SIZE.Param(1)
	case len(mu) != tpmcrypto.MLDSAMuSize:
		return TPM_RC_SIZE.Param(2)
	case len(ticket.Digest) != 0: // no command gives one for mu
		return TPM_RC_TICKET.Param(3)
	}
	return TPM_RC_SUCCESS
}

// answerMLDSA signs with the key of handle 1.
func (t *TPM) answerMLDSA(c *call, s *TPMT_SCHEME, context, digest []byte) RC {
	sig, rc := signMLDSA(c.object(0), s.Hash, context, digest)
	if rc != TPM_RC_SUCCESS {
		return rc.Handle(1)
	}
	c.out.signature(&sig)
	return TPM_RC_SUCCESS
}

// digestScheme is fixedScheme for a key that signs digests.
func digestScheme(o *object) (TPMT_SCHEME, RC) {
	s, rc := fixedScheme(o, 1)
	if rc == TPM_RC_SUCCESS && s.Scheme == TPM_ALG_HMAC {
		rc = TPM_RC_SCHEME.Handle(1)
	}
	return s, rc
}
