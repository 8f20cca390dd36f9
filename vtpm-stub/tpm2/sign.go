package tpm2

import (
	"errors"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// signs reports whether the object can sign: sign SET and not a symmetric
// cipher, for which the bit means "encrypt".
func (o *object) signs() bool {
	return o.seq == nil && o.pub.Attributes.has(objSign) && o.pub.Type != TPM_ALG_SYMCIPHER
}

// signClass is the class of the signing schemes that a type of key takes.
func signClass(a AlgID) int {
	switch a {
	case TPM_ALG_RSA:
		return schemeRSASign
	case TPM_ALG_ECC:
		return schemeECCSign
	case TPM_ALG_KEYEDHASH:
		return schemeHMAC
	case TPM_ALG_MLDSA:
		return schemeMLDSA
	case TPM_ALG_HASH_MLDSA:
		return schemeHashMLDSA
	}
	return 0
}

// selectScheme selects the scheme of a signature by key and caller
// (TPM20-P3 sections 18.1 and 20.2). o is nil for TPM_RH_NULL, which takes any scheme.
// For an anonymous scheme the caller names the scheme, since the count is in
// it. ok is false for TPM_RC_SCHEME.
func selectScheme(o *object, in *TPMT_SCHEME) (s TPMT_SCHEME, ok bool) {
	if o == nil {
		return *in, true
	}
	own := &o.pub.Scheme
	class := signClass(o.pub.Type)
	switch {
	case own.Scheme == TPM_ALG_NULL:
		return *in, schemeClass(in.Scheme)&class != 0
	case schemeClass(own.Scheme)&class == 0:
		return *own, false // the key has a scheme of another kind
	case in.Scheme == TPM_ALG_NULL:
		return *own, own.Scheme != TPM_ALG_ECDAA
	case class&schemeAnyMLDSA != 0:
		return *own, in.Scheme == own.Scheme // the caller names no hash
	}
	return *in, in.Scheme == own.Scheme && in.Hash == own.Hash
}

// signer checks the key of handle i (from 0) and selects the scheme that it
// signs with. param is the number of the parameter inScheme.
//
//	TPM_RC_KEY     handle  the key is not a signing key
//	TPM_RC_SCHEME  param   the scheme is not the key's, or none is named
func signer(c *call, i, param int, in *TPMT_SCHEME) (TPMT_SCHEME, RC) {
	o := c.object(i)
	if o != nil && !o.signs() {
		return nullScheme, TPM_RC_KEY.Handle(i + 1)
	}
	s, ok := selectScheme(o, in)
	if !ok {
		return nullScheme, TPM_RC_SCHEME.Param(param)
	}
	return s, TPM_RC_SUCCESS
}

// sign signs a digest with the private part of o. s must come from selectScheme; for
// ECDAA the commit value of s.Count is used up. A nil key gives the NULL
// signature. Errors, without a number: TPM_RC_KEY, TPM_RC_SCHEME;
// TPM_RC_RANGE and TPM_RC_VALUE for s.Count; TPM_RC_NO_RESULT.
func (t *TPM) sign(o *object, s *TPMT_SCHEME, digest []byte) (TPMT_SIGNATURE, RC) {
	sig := TPMT_SIGNATURE{Alg: s.Scheme, Hash: s.Hash}
	if o == nil {
		return TPMT_SIGNATURE{Alg: TPM_ALG_NULL, Hash: TPM_ALG_NULL}, TPM_RC_SUCCESS
	}
	switch o.pub.Type {
	case TPM_ALG_RSA:
		return t.signRSA(o, sig, digest)
	case TPM_ALG_ECC:
		return t.signECC(o, s, sig, digest)
	case TPM_ALG_MLDSA, TPM_ALG_HASH_MLDSA:
		return signMLDSA(o, s.Hash, nil, digest)
	}
	if !o.private {
		return sig, TPM_RC_KEY
	}
	sig.R = t.hash.HMAC(s.Hash, nil, o.sens.Sensitive, digest)
	return sig, TPM_RC_SUCCESS
}

func (t *TPM) signRSA(o *object, sig TPMT_SIGNATURE, digest []byte) (TPMT_SIGNATURE, RC) {
	k, rc := o.rsaKey()
	if rc != TPM_RC_SUCCESS {
		return sig, rc
	}
	var err error
	if sig.Alg == TPM_ALG_RSAPSS {
		sig.R, err = k.SignPSS(sig.Hash, digest)
	} else {
		sig.R, err = k.SignPKCS1(sig.Hash, digest)
	}
	return sig, signRC(err)
}

func (t *TPM) signECC(o *object, s *TPMT_SCHEME, sig TPMT_SIGNATURE, digest []byte) (TPMT_SIGNATURE, RC) {
	k, rc := o.eccKey()
	if rc != TPM_RC_SUCCESS {
		return sig, rc
	}
	var err error
	var e tpmcrypto.ECSignature
	switch s.Scheme {
	case TPM_ALG_ECDSA:
		e, err = k.SignECDSA(rng{t}, digest)
	case TPM_ALG_SM2:
		e, err = k.SignSM2(rng{t}, digest)
	case TPM_ALG_ECSCHNORR:
		e, err = k.SignSchnorr(rng{t}, s.Hash, digest)
	case TPM_ALG_ECDAA:
		r, rc := t.commitValue(k.Public().Group(), o.name, s.Count)
		if rc != TPM_RC_SUCCESS {
			return sig, rc
		}
		if e, err = k.SignECDAA(rng{t}, s.Hash, r, digest); err == nil {
			t.commitUsed(s.Count)
		}
	}
	sig.R, sig.S = e.R, e.S
	return sig, signRC(err)
}

// signRC is the code for a failed signature: the scheme does not fit the key
// (a curve that it is not made for, a modulus too small for the hash).
func signRC(err error) RC {
	switch {
	case err == nil:
		return TPM_RC_SUCCESS
	case errors.Is(err, tpmcrypto.ErrExhausted), errors.Is(err, tpmcrypto.ErrInfinity):
		return TPM_RC_NO_RESULT
	case errors.Is(err, tpmcrypto.ErrKey):
		return TPM_RC_KEY
	}
	return TPM_RC_SCHEME
}

// verify checks a signature over a digest. Errors, without a number:
// TPM_RC_SIGNATURE for a wrong one, TPM_RC_SCHEME when the scheme is not for
// this type of key or cannot be verified (ECDAA), TPM_RC_HANDLE for an HMAC
// key without its sensitive part, TPM_RC_KEY for a public key that is no key.
func (t *TPM) verify(o *object, digest []byte, sig *TPMT_SIGNATURE) RC {
	if schemeClass(sig.Alg)&signClass(o.pub.Type) == 0 || sig.Alg == TPM_ALG_ECDAA {
		return TPM_RC_SCHEME
	}
	if o.pub.isMLDSA() {
		return verifyMLDSA(o, nil, digest, sig)
	}
	if len(digest) != sig.Hash.DigestSize() {
		return TPM_RC_SIGNATURE
	}
	switch o.pub.Type {
	case TPM_ALG_RSA:
		return verifyRSA(o, digest, sig)
	case TPM_ALG_ECC:
		return verifyECC(o, digest, sig)
	}
	switch own := &o.pub.Scheme; {
	case !o.private:
		return TPM_RC_HANDLE
	case own.Scheme != TPM_ALG_NULL && own.Hash != sig.Hash:
		return TPM_RC_SCHEME
	case !tpmcrypto.Equal(sig.R, t.hash.HMAC(sig.Hash, nil, o.sens.Sensitive, digest)):
		return TPM_RC_SIGNATURE
	}
	return TPM_RC_SUCCESS
}

func verifyRSA(o *object, digest []byte, sig *TPMT_SIGNATURE) RC {
	k, rc := o.rsaPublic()
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	err := k.VerifyPKCS1
	if sig.Alg == TPM_ALG_RSAPSS {
		err = k.VerifyPSS
	}
	if err(sig.Hash, digest, sig.R) != nil {
		return TPM_RC_SIGNATURE
	}
	return TPM_RC_SUCCESS
}

func verifyECC(o *object, digest []byte, sig *TPMT_SIGNATURE) RC {
	k, rc := o.eccPublic()
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	var err error
	e := tpmcrypto.ECSignature{R: sig.R, S: sig.S}
	switch sig.Alg {
	case TPM_ALG_ECDSA:
		err = k.VerifyECDSA(digest, e)
	case TPM_ALG_SM2:
		err = k.VerifySM2(digest, e)
	case TPM_ALG_ECSCHNORR:
		err = k.VerifySchnorr(sig.Hash, digest, e)
	}
	if err != nil {
		return TPM_RC_SIGNATURE
	}
	return TPM_RC_SUCCESS
}

// verifiedTicket is the TPMT_TK_VERIFIED for a digest or message; the NULL ticket
// in the null hierarchy (TPM20-P2 section 10.7.4).
func (t *TPM) verifiedTicket(tag ST, o *object, parts ...[]byte) TPMT_TK {
	if o.hierarchy == TPM_RH_NULL {
		return TPMT_TK{Tag: tag, Hierarchy: TPM_RH_NULL}
	}
	return t.makeTicket(tag, o.hierarchy, parts...)
}
