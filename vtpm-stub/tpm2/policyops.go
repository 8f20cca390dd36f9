package tpm2

import (
	"encoding/binary"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// extend is one step of a policy: policyDigest = H(policyDigest || code || parts...).
func (s *session) extend(t *TPM, cc CC, parts ...[]byte) {
	all := append([][]byte{handleName(Handle(cc))}, parts...)
	t.hash.Extend(s.hash, s.policy.digest.bytes(), all...)
}

// extendNameRef is PolicyUpdate() of TPM20-P3 section 23.2.3: two steps, so that Name
// and policyRef cannot be mistaken for each other.
func (s *session) extendNameRef(t *TPM, cc CC, name, ref []byte) {
	s.extend(t, cc, name)
	t.hash.Extend(s.hash, s.policy.digest.bytes(), ref)
}

// zeroDigest resets policyDigest to a Zero Digest.
func (s *session) zeroDigest() { clear(s.policy.digest.bytes()) }

// bindable checks that the session can be bound to a hash of the given kind:
// TPM_RC_CPHASH when it is bound already to another, TPM_RC_SIZE with
// parameter p when the hash has not the size of the policy's.
func (s *session) bindable(kind hashBinding, hash []byte, p int) RC {
	if len(hash) != s.policy.digest.n {
		return TPM_RC_SIZE.Param(p)
	}
	if b := s.policy.binding; b != bindNone && (b != kind || !tpmcrypto.Equal(s.policy.hash.bytes(), hash)) {
		return TPM_RC_CPHASH
	}
	return TPM_RC_SUCCESS
}

func (s *session) bindTo(kind hashBinding, hash []byte) {
	s.policy.binding = kind
	s.policy.hash.set(hash)
}

// authTerms are what a signed, secret or ticket authorization says of itself.
type authTerms struct {
	nonceTPM   []byte
	cpHash     []byte
	ref        []byte
	expiration int32
	timeout    uint64 // Time in ms at which it ends; 0 is never
}

// checkTerms makes the checks of TPM20-P3 section 23.2.2 and computes timeout.
//
//	TPM_RC_CPHASH       the session is bound to another command
//	TPM_RC_EXPIRED  P4  the authorization is over
//	TPM_RC_NONCE    P1  nonceTPM is not the session's
//	TPM_RC_SIZE     P2  cpHashA has not the size of the policy's digest
func (t *TPM) checkTerms(s *session, a *authTerms) RC {
	if len(a.nonceTPM) != 0 && !tpmcrypto.Equal(a.nonceTPM, s.nonceTPM.bytes()) {
		return TPM_RC_NONCE.Param(1)
	}
	if a.expiration != 0 {
		ms := uint64(max(int64(a.expiration), -int64(a.expiration))) * 1000
		a.timeout = ms
		if len(a.nonceTPM) != 0 {
			a.timeout += s.policy.startTime
		}
		if rc := t.checkTimeout(s, a.timeout); rc != TPM_RC_SUCCESS {
			return rc.Param(4)
		}
	}
	if len(a.cpHash) == 0 {
		return TPM_RC_SUCCESS
	}
	return s.bindable(bindCpHash, a.cpHash, 2)
}

func (t *TPM) checkTimeout(s *session, timeout uint64) RC {
	if timeout < t.msTime() || s.policy.epoch != t.perm.timeEpoch {
		return TPM_RC_EXPIRED
	}
	return TPM_RC_SUCCESS
}

// applyTerms updates the session by an authorization that holds.
func (t *TPM) applyTerms(s *session, cc CC, name []byte, a *authTerms) {
	s.extendNameRef(t, cc, name, a.ref)
	if len(a.cpHash) != 0 {
		s.bindTo(bindCpHash, a.cpHash)
	}
	if a.timeout != 0 && (s.policy.timeout == 0 || a.timeout < s.policy.timeout) {
		s.policy.timeout = a.timeout
	}
}

// authTicket is the ticket of an authorization ticket over the terms
// (TPM20-P3 section 23.2.5). A ticket that was not tied to a session's nonce ends with a
// TPM Reset.
func (t *TPM) authTicket(tag ST, h Handle, a *authTerms, timeout, name []byte) TPMT_TK {
	parts := [][]byte{a.cpHash, a.ref, name, timeout}
	if a.timeout != 0 {
		parts = append(parts, binary.BigEndian.AppendUint32(nil, t.perm.timeEpoch))
		if timeout[0]&tiedToNonce == 0 {
			parts = append(parts, binary.BigEndian.AppendUint32(nil, t.perm.resetCount))
		}
	}
	return t.makeTicket(tag, h, parts...)
}

// tiedToNonce is the top bit of the first octet of a TPM2B_TIMEOUT of ours: the
// authorization named the session's nonce. The rest is Time in ms.
const tiedToNonce = 0x80

// timeoutBytes is the TPM2B_TIMEOUT of an authorization.
func (a *authTerms) timeoutBytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, a.timeout)
	if len(a.nonceTPM) != 0 {
		b[0] |= tiedToNonce
	}
	return b
}

// answerTicket writes timeout and ticket of PolicySigned and PolicySecret: real ones when
// a ticket was asked for by a negative expiration, else empty ones.
func (t *TPM) answerTicket(c *call, tag ST, want bool, h Handle, a *authTerms, name []byte) {
	if !want {
		c.out.b2(nil)
		c.out.ticket(&TPMT_TK{Tag: tag, Hierarchy: TPM_RH_NULL})
		return
	}
	timeout := a.timeoutBytes()
	ticket := t.authTicket(tag, h, a, timeout, name)
	c.out.b2(timeout)
	c.out.ticket(&ticket)
}

// compare is the arithmetic of TPM_EO (TPM20-P2 section 6.8) on operands of equal
// length, most significant octet first.
func compare(a, b []byte, op uint16) bool {
	order := 0
	for i := range a {
		x, y := int(a[i]), int(b[i])
		if i == 0 && (op == TPM_EO_SIGNED_GT || op == TPM_EO_SIGNED_LT || op == TPM_EO_SIGNED_GE || op == TPM_EO_SIGNED_LE) {
			x, y = int(int8(a[i])), int(int8(b[i]))
		}
		if x != y {
			order = x - y
			break
		}
	}
	switch op {
	case TPM_EO_EQ:
		return order == 0
	case TPM_EO_NEQ:
		return order != 0
	case TPM_EO_SIGNED_GT, TPM_EO_UNSIGNED_GT:
		return order > 0
	case TPM_EO_SIGNED_LT, TPM_EO_UNSIGNED_LT:
		return order < 0
	case TPM_EO_SIGNED_GE, TPM_EO_UNSIGNED_GE:
		return order >= 0
	case TPM_EO_SIGNED_LE, TPM_EO_UNSIGNED_LE:
		return order <= 0
	}
	return compareBits(a, b, op)
}

func compareBits(a, b []byte, op uint16) bool {
	for i := range a {
		if op == TPM_EO_BITSET && a[i]&b[i] != b[i] || op == TPM_EO_BITCLEAR && a[i]&b[i] != 0 {
			return false
		}
	}
	return true
}

// operation reads a TPM_EO.
func (r *reader) operation() uint16 {
	op := r.u16()
	if r.rc == TPM_RC_SUCCESS && op > TPM_EO_BITCLEAR {
		r.fail(TPM_RC_VALUE)
	}
	return op
}

// comparisonArgs is the digest of the arguments of a comparison, the "args" of
// TPM20-P3 sections 23.9, 23.10 and, in v185, 23.23.
func (t *TPM) comparisonArgs(s *session, operandB []byte, offset, op uint16) []byte {
	return t.hash.Sum(s.hash, nil, operandB, binary.BigEndian.AppendUint16(nil, offset), binary.BigEndian.AppendUint16(nil, op))
}
