package tpm2

import (
	"bytes"
	"encoding/binary"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// maxSignContext bounds a TPM2B_SIGNATURE_CTX (v185, P2 section 11.3.8).
const maxSignContext = 255

// signContext reads a TPM2B_SIGNATURE_CTX.
func (r *reader) signContext() []byte { return r.b2(maxSignContext) }

// fixedScheme is the scheme of a key that the v185 signing commands use: only the key's own.
//
//	TPM_RC_KEY     handle  not a signing key
//	TPM_RC_SCHEME  handle  the key has no scheme of its own, or one of another kind
func fixedScheme(o *object, handle int) (TPMT_SCHEME, RC) {
	if !o.signs() {
		return nullScheme, TPM_RC_KEY.Handle(handle)
	}
	s := o.pub.Scheme
	if schemeClass(s.Scheme)&signClass(o.pub.Type) == 0 {
		return s, TPM_RC_SCHEME.Handle(handle)
	}
	return s, TPM_RC_SUCCESS
}

// applyContext takes the count of ECDAA from the context, and checks that the other schemes
// but ML-DSA have none; id says that SM2 may have the identity of the signer. TPM_RC_SIZE
// with the parameter's number otherwise.
func applyContext(s *TPMT_SCHEME, context []byte, id bool, param int) RC {
	switch {
	case schemeClass(s.Scheme)&schemeAnyMLDSA != 0: // up to 255 octets, as read
	case s.Scheme == TPM_ALG_ECDAA && len(context) == 2:
		s.Count = binary.BigEndian.Uint16(context)
	case s.Scheme == TPM_ALG_ECDAA, len(context) != 0 && !(id && s.Scheme == TPM_ALG_SM2):
		return TPM_RC_SIZE.Param(param)
	}
	return TPM_RC_SUCCESS
}

// signKeyName tells keys apart between the start and the end of a sequence: the Name, or for
// an asymmetric key without one the digest of its public area.
func (t *TPM) signKeyName(o *object) []byte {
	if len(o.name) != 0 {
		return o.name
	}
	return t.hash.Sum(TPM_ALG_SHA256, nil, marshal(maxPublic, func(w *writer) { w.public(&o.pub) }))
}

// newSignSequence starts the digest, HMAC or message representative that a signature is over.
//
//	TPM_RC_KEY    H1  an HMAC key without its sensitive part, or without a Name
//	TPM_RC_VALUE  P2  restricted SM2 key: what is hashed first begins with
//	                  TPM_GENERATED_VALUE
func (t *TPM) newSignSequence(kind sequenceKind, o *object, s TPMT_SCHEME, context []byte) (*sequence, RC) {
	var h *tpmcrypto.Sequence
	var err error
	if s.Scheme == TPM_ALG_MLDSA {
		var rc RC
		if h, rc = startMu(o, context); rc != TPM_RC_SUCCESS {
			return nil, rc.Handle(1)
		}
	} else if s.Scheme == TPM_ALG_HMAC {
		if !o.private || len(o.name) == 0 {
			return nil, TPM_RC_KEY.Handle(1)
		}
		h, err = tpmcrypto.NewHMACSequence(s.Hash, o.sens.Sensitive)
	} else {
		h, err = tpmcrypto.NewHashSequence(s.Hash)
	}
	if err != nil {
		return nil, TPM_RC_KEY.Handle(1)
	}
	if s.Scheme == TPM_ALG_SM2 {
		za, rc := t.sm2Identity(o, s.Hash, context)
		if rc != TPM_RC_SUCCESS {
			return nil, rc
		}
		if kind == seqSign && o.pub.Attributes.has(objRestricted) && bytes.HasPrefix(za, generatedValue) {
			return nil, TPM_RC_VALUE.Param(2) // an identity found for the sake of a forged attestation
		}
		_, _ = h.Write(za) // never fails
	}
	q := &sequence{kind: kind, hashes: []*tpmcrypto.Sequence{h}, keyName: append([]byte(nil), t.signKeyName(o)...), scheme: s}
	if o.pub.isMLDSA() {
		q.context = bytes.Clone(context)
	}
	return q, TPM_RC_SUCCESS
}

// sm2Identity is Z_A of GB/T 32918.2: the digest of the signer's identity, the curve
// and the public key, which comes before the message (v185, P1 equation 64).
func (t *TPM) sm2Identity(o *object, alg AlgID, id []byte) ([]byte, RC) {
	k, rc := o.eccPublic()
	if rc != TPM_RC_SUCCESS {
		return nil, TPM_RC_KEY.Handle(1)
	}
	p, q := k.Group().Params(), k.Point()
	bits := binary.BigEndian.AppendUint16(nil, uint16(8*len(id)))
	return t.hash.Sum(alg, nil, bits, id, p.A, p.B, p.Gx, p.Gy, q.X, q.Y), TPM_RC_SUCCESS
}

// finish returns the digest or HMAC of a sequence with buffer added, and leaves the
// sequence as it is: the command can still fail.
func (s *sequence) finish(i int, buffer []byte) ([]byte, RC) {
	state, err := s.hashes[i].MarshalBinary()
	if err != nil {
		return nil, TPM_RC_FAILURE
	}
	h, err := tpmcrypto.UnmarshalSequence(state)
	if err != nil {
		return nil, TPM_RC_FAILURE
	}
	_, _ = h.Write(buffer) // never fails
	return h.Sum(nil), TPM_RC_SUCCESS
}

// sameKey checks that the key of handle 2 is that of the start.
//
//	TPM_RC_KEY               H2  not a signing key
//	TPM_RC_SIGN_CONTEXT_KEY  H2  another key
func (t *TPM) sameKey(s *sequence, o *object) RC {
	switch {
	case !o.signs():
		return TPM_RC_KEY.Handle(2)
	case !tpmcrypto.Equal(s.keyName, t.signKeyName(o)):
		return TPM_RC_SIGN_CONTEXT_KEY.Handle(2)
	}
	return TPM_RC_SUCCESS
}

// verifyResult is verify for the result of a sequence, which for HMAC is the signature
// itself.
func (t *TPM) verifyResult(o *object, s *sequence, sig *TPMT_SIGNATURE) RC {
	result := s.result()
	if o.pub.isMLDSA() {
		return verifyMLDSA(o, s.context, result, sig)
	}
	if sig.Alg != TPM_ALG_HMAC {
		return t.verify(o, result, sig)
	}
	if !tpmcrypto.Equal(result, sig.R) {
		return TPM_RC_SIGNATURE
	}
	return TPM_RC_SUCCESS
}
