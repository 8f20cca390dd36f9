package tpm2

import (
	"encoding/binary"

	"xenvtpm/drivers/tpmid"
)

// maxAttest bounds a TPMS_ATTEST: the largest one is of TPM2_NV_Certify.
const maxAttest = maxNVBuffer + 512

// attestation is what every attestation command shares (TPM20-P3 section 18.1).
type attestation struct {
	typ    ST
	key    *object // nil: TPM_RH_NULL
	handle int     // number of the key's handle, from 1
	param  int     // number of the parameter inScheme
	scheme TPMT_SCHEME
	extra  []byte // qualifyingData
}

// newAttestation checks the key of handle i (from 0) and selects the scheme; see signer
// for the codes.
func newAttestation(c *call, typ ST, i, param int, in *TPMT_SCHEME, extra []byte) (attestation, RC) {
	s, rc := signer(c, i, param, in)
	return attestation{typ: typ, key: c.object(i), handle: i + 1, param: param, scheme: s, extra: extra}, rc
}

// digestAlg is the hash of what TPM2_Quote and TPM2_NV_Certify tell the digest of: the scheme's,
// or the nameAlg of a key of ML-DSA, whose scheme has none. TPM_RC_SCHEME without a hash.
func (a *attestation) digestAlg() (AlgID, RC) {
	alg := a.scheme.Hash
	if a.key != nil && a.key.pub.Type == TPM_ALG_MLDSA {
		alg = a.key.pub.NameAlg
	}
	if alg == TPM_ALG_NULL {
		return alg, TPM_RC_SCHEME.Param(a.param)
	}
	return alg, TPM_RC_SUCCESS
}

// answer makes the TPMS_ATTEST, signs it and writes both. body writes the part that
// depends on the type. A code carries the number of handle or parameter, but for TPM_RC_SIZE: the
// structure and a signature of ML-DSA are larger than a response.
func (t *TPM) answer(c *call, a *attestation, body func(w *writer)) RC {
	h := t.attestHead(a)
	doc := marshal(maxAttest, func(w *writer) {
		w.attestHeader(&h)
		body(w)
	})
	sig := TPMT_SIGNATURE{Alg: TPM_ALG_NULL, Hash: TPM_ALG_NULL}
	if a.key != nil {
		if !t.fitsSignature(a.key, len(doc)) {
			return TPM_RC_SIZE
		}
		digest, rc := t.message(a.key, a.scheme.Hash, doc)
		if rc != TPM_RC_SUCCESS {
			return rc.Handle(a.handle)
		}
		if a.scheme.Scheme == TPM_ALG_ECDAA {
			digest = t.hash.Sum(a.scheme.Hash, nil, a.extra, digest) // P1 equation 63
		}
		if sig, rc = t.sign(a.key, &a.scheme, digest); rc != TPM_RC_SUCCESS {
			return signPosition(rc, a.handle, a.param)
		}
	}
	c.out.b2(doc)
	c.out.signature(&sig)
	return TPM_RC_SUCCESS
}

// signPosition gives a code of TPM.sign its place: a bad key is about the handle,
// everything else about the scheme.
func signPosition(rc RC, handle, param int) RC {
	switch rc {
	case TPM_RC_KEY:
		return rc.Handle(handle)
	case TPM_RC_NO_RESULT:
		return rc
	}
	return rc.Param(param)
}

// attestHead fills the common part. An anonymous scheme leaves out what tells the
// signer; a key that does not belong to endorsement or platform hierarchy
// hides what would link it to others.
func (t *TPM) attestHead(a *attestation) attestHeader {
	h := attestHeader{Type: a.typ, QualifiedSigner: handleName(TPM_RH_NULL), ExtraData: a.extra,
		Clock: t.clockInfo(), FirmwareVersion: tpmid.FirmwareVersion}
	if a.key != nil {
		h.QualifiedSigner = a.key.qname
	}
	if a.key == nil || a.key.hierarchy != TPM_RH_ENDORSEMENT && a.key.hierarchy != TPM_RH_PLATFORM {
		t.obfuscate(a.key, &h)
	}
	if a.scheme.Scheme == TPM_ALG_ECDAA && a.key != nil {
		h.QualifiedSigner, h.ExtraData = nil, nil
	}
	return h
}

// obfuscate is TPM20-P3 equation 3: the first 64 bits are added to the firmware version,
// the next 32 to resetCount, the last 32 to restartCount.
func (t *TPM) obfuscate(key *object, h *attestHeader) {
	alg := ticketHash
	if key != nil && key.pub.NameAlg != TPM_ALG_NULL {
		alg = key.pub.NameAlg
	}
	o := t.hash.KDFa(alg, nil, t.owner.proof[:], "OBFUSCATE", h.QualifiedSigner, nil, 128)
	h.FirmwareVersion += binary.BigEndian.Uint64(o)
	h.Clock.ResetCount += binary.BigEndian.Uint32(o[8:])
	h.Clock.RestartCount += binary.BigEndian.Uint32(o[12:])
}
