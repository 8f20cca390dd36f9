package tpm2

import "encoding/binary"

// setResponseAuth makes the response HMAC of the session for handle i use a
// new authValue, for commands that change it and say so (TPM20-P3, e.g.
// TPM2_HierarchyChangeAuth).
func (c *call) setResponseAuth(i int, value []byte) {
	for j := range c.sessions[:c.ns] {
		if a := &c.sessions[j]; a.entity == i {
			a.value.set(value)
		}
	}
}

// respondSessions rolls the nonces, encrypts the first parameter, updates the
// audits and appends the sessions with their HMACs.
func (t *TPM) respondSessions() {
	c := &t.call
	for i := range c.sessions[:c.ns] {
		if s := c.sessions[i].s; s != nil {
			t.random(s.nonceTPM.bytes())
		}
	}
	t.encryptParam()
	t.updateAuditSession()
	t.extendCommandAudit()
	params := c.out.b[c.rspStart:]
	for i := range c.sessions[:c.ns] {
		t.respondSession(&c.sessions[i], params)
	}
}

// respondSession appends one session; it ends without continueSession.
func (t *TPM) respondSession(a *authSession, params []byte) {
	w := &t.call.out
	if a.s == nil {
		w.u16(0)
		w.u8(a.attrs | sessContinue)
		w.u16(0)
		return
	}
	attrs := a.attrs &^ sessAuditExclusive
	if a.attrs&sessAudit != 0 && t.ram.exclusive == a.h {
		attrs |= sessAuditExclusive
	}
	w.b2(a.s.nonceTPM.bytes())
	w.u8(attrs)
	if !a.answersHMAC() {
		w.u16(0)
	} else {
		rp := t.rpHash(a.s.hash, params)
		w.b2(t.sessionHMAC(a, rp, a.s.nonceTPM.bytes(), a.nonce, nil, nil, attrs))
	}
	a.s.nonceCaller.set(a.nonce)
	switch {
	case a.attrs&sessContinue == 0:
		t.flushSession(a.h)
	case a.s.isPolicy() && a.entity >= 0:
		t.resetPolicy(a.s)
	}
}

// answersHMAC reports whether the response has an HMAC of the session.
func (a *authSession) answersHMAC() bool {
	return !a.noHMAC && !(a.s.isPolicy() && a.s.policy.password)
}

// rpHash returns the hash of code and parameters of the response
// (TPM20-P1 section 16.8).
func (t *TPM) rpHash(alg AlgID, params []byte) []byte {
	b := &t.hmacs
	binary.BigEndian.PutUint32(b.rpHead[4:], uint32(t.call.def.cc))
	return t.hash.Sum(alg, b.rp[:0], b.rpHead[:], params)
}

// resetPolicy starts the policy of a session over, after its use or by
// TPM2_PolicyRestart. The start time stays.
func (t *TPM) resetPolicy(s *session) {
	p := &s.policy
	start, epoch := p.startTime, p.epoch
	*p = policyState{startTime: start, epoch: epoch}
	p.digest.n = s.hash.DigestSize()
}
