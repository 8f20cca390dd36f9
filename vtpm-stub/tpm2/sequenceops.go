package tpm2

import (
	"bytes"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// generatedValue is TPM_GENERATED_VALUE as the first octets of a message:
// what only the TPM itself may sign with a restricted key.
var generatedValue = []byte{0xff, 0x54, 0x43, 0x47}

// safeToSign reports whether a message that begins with first may be signed by
// a restricted key. A first buffer of under four octets counts as unsafe
// (TPM20-P3 section 17.6, note 2).
func safeToSign(first []byte) bool {
	return len(first) >= len(generatedValue) && !bytes.HasPrefix(first, generatedValue)
}

// hashTicket returns the ticket for a digest: the NULL ticket when the message
// is not safe to sign, or nobody wants one.
func (t *TPM) hashTicket(h Handle, alg AlgID, digest []byte, safe bool) TPMT_TK {
	if h == TPM_RH_NULL || !safe {
		return TPMT_TK{Tag: TPM_ST_HASHCHECK, Hierarchy: TPM_RH_NULL}
	}
	return t.makeTicket(TPM_ST_HASHCHECK, h, []byte{byte(alg >> 8), byte(alg)}, digest)
}

// add appends data to a sequence and notes how the message began: the first buffer of it, or for
// a signing sequence the first octets from as many buffers as have them.
func (s *sequence) add(data []byte) {
	if !s.started || s.kind == seqSign {
		s.headLen += copy(s.head[s.headLen:], data)
	}
	s.started = true
	for _, h := range s.hashes {
		_, _ = h.Write(data) // never fails
	}
	if s.cmac != nil {
		_, _ = s.cmac.Write(data) // never fails
	}
}

// safe reports whether the message may be signed by a restricted key.
func (s *sequence) safe() bool { return safeToSign(s.head[:s.headLen]) }

// generated reports whether the message of a signing sequence, which ends with rest, looks like
// what only the TPM itself may sign with a restricted key. One that is shorter does not
// (v185, P3 section 20.6.1).
func (s *sequence) generated(rest []byte) bool {
	head := append(make([]byte, 0, len(s.head)), s.head[:s.headLen]...)
	return bytes.HasPrefix(append(head, rest[:min(len(rest), len(s.head)-s.headLen)]...), generatedValue)
}

// result is the digest or MAC of a sequence that is not an event.
func (s *sequence) result() []byte {
	if s.cmac != nil {
		return s.cmac.Sum(nil)
	}
	return s.hashes[0].Sum(nil)
}

// newSequence makes a sequence object; it has no public area and belongs to the
// null hierarchy.
func newSequence(s *sequence, auth []byte) *object {
	s.auth = bytes.Clone(auth)
	return &object{hierarchy: TPM_RH_NULL, seq: s}
}

// macKey checks a key for TPM2_MAC and TPM2_MAC_Start and selects the
// algorithm: TPM_ALG_CMAC or the hash of an HMAC (TPM20-P3 sections 15.6, 17.3).
//
//	TPM_RC_ATTRIBUTES  H1   the key is restricted
//	TPM_RC_KEY         H1   the key is not a signing key
//	TPM_RC_TYPE        H1   the key is neither KEYEDHASH nor SYMCIPHER
//	TPM_RC_VALUE      param  scheme is not the key's, or neither names one
func macKey(o *object, scheme AlgID, param int) (AlgID, RC) {
	if o.seq != nil || o.pub.Type != TPM_ALG_KEYEDHASH && o.pub.Type != TPM_ALG_SYMCIPHER {
		return 0, TPM_RC_TYPE.Handle(1)
	}
	if o.pub.Attributes.has(objRestricted) {
		return 0, TPM_RC_ATTRIBUTES.Handle(1)
	}
	if !o.pub.Attributes.has(objSign) {
		return 0, TPM_RC_KEY.Handle(1)
	}
	own, fits := macDefault(&o.pub), hashImplemented
	if o.pub.Type == TPM_ALG_SYMCIPHER {
		fits = func(a AlgID) bool { return a == TPM_ALG_CMAC }
	}
	if scheme == TPM_ALG_NULL {
		scheme = own
	}
	if own != TPM_ALG_NULL && scheme != own || !fits(scheme) {
		return 0, TPM_RC_VALUE.Param(param)
	}
	return scheme, TPM_RC_SUCCESS
}

// macDefault is the MAC that a key prescribes, TPM_ALG_NULL for none.
func macDefault(p *TPMT_PUBLIC) AlgID {
	if p.Type == TPM_ALG_SYMCIPHER {
		return p.Sym.Mode
	}
	if p.Scheme.Scheme == TPM_ALG_NULL {
		return TPM_ALG_NULL
	}
	return p.Scheme.Hash
}

// newMAC starts the MAC that macKey selected.
func newMAC(o *object, alg AlgID) (*sequence, RC) {
	if alg == TPM_ALG_CMAC {
		block, err := tpmcrypto.NewBlock(o.pub.Sym.Algorithm, o.sens.Sensitive)
		if err != nil {
			return nil, TPM_RC_KEY.Handle(1)
		}
		mac, err := tpmcrypto.NewCMAC(block)
		if err != nil {
			return nil, TPM_RC_KEY.Handle(1)
		}
		return &sequence{kind: seqCMAC, cmac: mac, cmacOf: o.pub.Sym.Algorithm, cmacK: bytes.Clone(o.sens.Sensitive)}, TPM_RC_SUCCESS
	}
	mac, err := tpmcrypto.NewHMACSequence(alg, o.sens.Sensitive)
	if err != nil {
		return nil, TPM_RC_KEY.Handle(1)
	}
	return &sequence{kind: seqHMAC, hashes: []*tpmcrypto.Sequence{mac}}, TPM_RC_SUCCESS
}
