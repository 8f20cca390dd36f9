package tpm2

// updateAuditSession extends the audit session of the command, if any, and
// tracks which audit session is exclusive (TPM20-P1 clauses 17.1, 17.2).
func (t *TPM) updateAuditSession() {
	c := &t.call
	if c.audit < 0 {
		return
	}
	a := &c.sessions[c.audit]
	s := a.s
	if !s.audit || a.attrs&sessAuditReset != 0 {
		s.audit = true
		s.bound = false // P1 17.1: the bind value is lost
		s.auditDigest.n = s.hash.DigestSize()
		clear(s.auditDigest.b[:])
		t.ram.exclusive = a.h
	}
	params := c.out.b[c.rspStart:]
	t.hash.Extend(s.hash, s.auditDigest.bytes(), t.cpHash(s.hash), t.rpHash(s.hash, params))
}

// auditing reports whether the command is subject to command audit.
func (t *TPM) auditing() bool {
	return t.perm.auditAlg != TPM_ALG_NULL && t.perm.auditCmds.has(t.call.def.cc)
}

// endExclusive ends the exclusive status of an audit session that a command
// did not use. It is called for each command that succeeded.
func (t *TPM) endExclusive() {
	c := &t.call
	if c.def.flags&fNoSessions == 0 && t.ram.exclusive != 0 &&
		(c.audit < 0 || c.sessions[c.audit].h != t.ram.exclusive) {
		t.ram.exclusive = 0
	}
}

// extendCommandAudit extends the command audit digest with the command and its
// response parameters, after their encryption (TPM20-P1 clause 34).
func (t *TPM) extendCommandAudit() {
	c := &t.call
	if !t.auditing() || c.notAudited {
		return
	}
	alg := t.perm.auditAlg
	if len(t.sr.auditDigest) == 0 {
		t.sr.auditDigest = make([]byte, alg.DigestSize())
		t.perm.auditCounter++ // a new digest begins (P3 21.1)
		t.touch()
	}
	t.hash.Extend(alg, t.sr.auditDigest, t.cpHash(alg), t.rpHash(alg, c.out.b[c.rspStart:]))
	t.clearOrderly()
}
