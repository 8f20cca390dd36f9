package tpm2

import (
	"slices"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// archiveObject is an object in any saved form: persistent object, volatile
// state, saved context.
func archiveObject(a *archive, o *object) {
	a.handle(&o.handle)
	a.handle(&o.hierarchy)
	for _, f := range []*bool{&o.private, &o.primary, &o.external, &o.stClear} {
		a.flag(f)
	}
	isSeq := o.seq != nil
	a.flag(&isSeq)
	if isSeq {
		if a.loading() {
			o.seq = new(sequence)
		}
		archiveSequence(a, o.seq)
	} else {
		archiveKey(a, o)
	}
	if a.loading() {
		switch o.hierarchy {
		case TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM, TPM_RH_NULL:
		default:
			a.bad()
		}
	}
}

func archiveKey(a *archive, o *object) {
	if a.loading() {
		p := a.in.public(publicNullName)
		o.pub = p.clone()
		if o.private {
			s := a.in.sensitive()
			o.sens = s.clone()
		}
	} else {
		if o.pub.isML() {
			a.need(2)
		}
		a.out.public(&o.pub)
		if o.private {
			a.out.sensitive(&o.sens)
		}
	}
	a.bytes(&o.name, 2+maxDigest)
	a.bytes(&o.qname, 2+maxDigest)
}

func archiveSequence(a *archive, s *sequence) {
	if schemeClass(s.scheme.Scheme)&schemeAnyMLDSA != 0 {
		a.need(2)
	}
	a.u8((*uint8)(&s.kind))
	a.bytes(&s.auth, maxDigest)
	n := a.count(len(s.hashes), numHashes)
	if a.loading() {
		s.hashes = make([]*tpmcrypto.Sequence, n)
	}
	for i := range s.hashes {
		archiveHash(a, &s.hashes[i])
	}
	archiveHead(a, s)
	a.bytes(&s.keyName, 2+maxDigest)
	a.bytes(&s.context, maxDigestBuffer)
	a.bytes(&s.hint, maxDigestBuffer)
	a.alg(&s.scheme.Scheme)
	a.alg(&s.scheme.Hash)
	a.u16(&s.scheme.Count)
	if s.kind == seqCMAC {
		archiveCMAC(a, s)
	}
	if a.loading() && a.in.rc == TPM_RC_SUCCESS && (s.headLen > len(s.head) || !s.sound(a.profile)) {
		a.bad()
	}
}

// archiveHead is how the message began. Programs of before version 3 had the first buffer of a
// signing sequence alone there: where that was short, nobody knows any more what followed, and the
// message counts as one that a restricted key does not sign.
func archiveHead(a *archive, s *sequence) {
	short := func() bool { return s.kind == seqSign && s.started && s.headLen < len(s.head) }
	if !a.loading() && short() {
		a.need(3)
	}
	a.flag(&s.started)
	a.fixed(s.head[:])
	h := uint8(s.headLen)
	a.u8(&h)
	s.headLen = int(h)
	if a.loading() && a.version < 3 && short() {
		s.headLen = copy(s.head[:], generatedValue)
	}
}

// sound reports whether a loaded sequence holds the running digests that its kind has.
func (s *sequence) sound(p *Profile) bool {
	var want []AlgID
	switch s.kind {
	case seqEvent:
		want = p.hashes()
	case seqHash, seqHMAC:
		want = []AlgID{0} // any hash
	case seqSign:
		want = []AlgID{s.messageAlg()}
	case seqVerify:
		want = []AlgID{s.messageAlg(), ticketHash}
	case seqCMAC:
	default:
		return false
	}
	return slices.EqualFunc(s.hashes, want, func(h *tpmcrypto.Sequence, a AlgID) bool {
		return h.Alg() == a || a == 0 && h.Alg().IsHash()
	})
}

// messageAlg is the algorithm of a signing sequence's running digest.
func (s *sequence) messageAlg() AlgID {
	if s.scheme.Scheme == TPM_ALG_MLDSA {
		return tpmcrypto.AlgSHAKE256_512
	}
	return s.scheme.Hash
}

// maxHashState bounds the saved state of a running hash or HMAC.
const maxHashState = 1024

func archiveHash(a *archive, h **tpmcrypto.Sequence) {
	if !a.loading() {
		b, err := (*h).MarshalBinary()
		if err != nil {
			panic("internal error: tpm2: hash state: " + err.Error())
		}
		a.out.b2(b)
		return
	}
	s, err := tpmcrypto.UnmarshalSequence(a.in.b2(maxHashState))
	if err != nil {
		a.bad()
		return
	}
	*h = s
}

func archiveCMAC(a *archive, s *sequence) {
	a.alg(&s.cmacOf)
	a.bytes(&s.cmacK, maxSymKeyBytes)
	var state []byte
	if !a.loading() {
		state = s.cmac.State()
	}
	a.bytes(&state, maxHashState)
	if !a.loading() || a.in.rc != TPM_RC_SUCCESS {
		return
	}
	b, err := tpmcrypto.NewBlock(s.cmacOf, s.cmacK)
	if err == nil {
		s.cmac, err = tpmcrypto.RestoreCMAC(b, state)
	}
	if err != nil {
		a.bad()
	}
}
