package tpm2

// minSession is the size of a session with empty nonce and authorization.
const minSession = 4 + 2 + 1 + 2

// readSessions unmarshals the authorization area and checks that it is
// consistent (TPM20-P3 section 5.5). in is left at the parameters.
func (t *TPM) readSessions(in *reader) RC {
	c := &t.call
	roles := c.def.roles()
	if !c.tagged {
		if roles > 0 {
			return TPM_RC_AUTH_MISSING
		}
		return TPM_RC_SUCCESS
	}
	if c.def.flags&fNoSessions != 0 {
		return TPM_RC_AUTH_CONTEXT
	}
	size := in.u32()
	if in.rc != TPM_RC_SUCCESS || size < minSession || int64(size) > int64(len(in.b)) {
		return TPM_RC_AUTHSIZE
	}
	area := reader{b: in.bytes(int(size))}
	for len(area.b) > 0 {
		if c.ns == maxSessionsInCmd {
			return TPM_RC_AUTHSIZE
		}
		if rc := t.readSession(&area, c.ns); rc != TPM_RC_SUCCESS {
			return rc
		}
		c.ns++
	}
	if roles > c.ns {
		return TPM_RC_AUTH_MISSING
	}
	for i := range c.sessions[:c.ns] {
		if rc := t.checkSession(i, roles); rc != TPM_RC_SUCCESS {
			return rc.Session(i + 1)
		}
	}
	return TPM_RC_SUCCESS
}

// readSession unmarshals session i (from 0) and finds its context.
func (t *TPM) readSession(area *reader, i int) RC {
	a := &t.call.sessions[i]
	*a = authSession{h: area.handle(), entity: -1}
	a.nonce = area.digest()
	a.attrs = area.u8()
	a.auth = area.digest()
	if area.rc != TPM_RC_SUCCESS {
		return area.rc.Session(i + 1)
	}
	if a.attrs&sessReserved != 0 {
		return TPM_RC_RESERVED_BITS.Session(i + 1)
	}
	switch a.h.Type() {
	case TPM_HT_HMAC_SESSION, TPM_HT_POLICY_SESSION:
		if a.s = t.session(a.h); a.s == nil {
			return TPM_RC_REFERENCE_S0 + RC(i)
		}
	default:
		if a.h != TPM_RS_PW {
			return TPM_RC_HANDLE.Session(i + 1)
		}
	}
	for j := range i {
		if a.s != nil && t.call.sessions[j].s == a.s {
			return TPM_RC_HANDLE.Session(i + 1)
		}
	}
	return TPM_RC_SUCCESS
}

// checkSession checks the attributes of session i against the command and the
// other sessions, and says which handle it authorizes.
func (t *TPM) checkSession(i, roles int) RC {
	c := &t.call
	a := &c.sessions[i]
	if i < roles {
		a.entity = i
	}
	if a.s == nil {
		return checkPassword(a)
	}
	if a.entity >= 0 && a.s.trial() {
		return TPM_RC_ATTRIBUTES
	}
	if a.entity < 0 && a.attrs&(sessDecrypt|sessEncrypt|sessAudit) == 0 {
		return TPM_RC_ATTRIBUTES
	}
	if a.entity >= 0 && a.s.unproven() && a.attrs&(sessDecrypt|sessEncrypt) != 0 {
		return TPM_RC_ATTRIBUTES
	}
	if a.attrs&(sessAuditExclusive|sessAuditReset) != 0 && a.attrs&sessAudit == 0 {
		return TPM_RC_ATTRIBUTES
	}
	if a.attrs&sessAudit != 0 {
		if a.s.isPolicy() || c.audit >= 0 {
			return TPM_RC_ATTRIBUTES
		}
		// Nothing can have come between the commands of a session that had none. Other TPMs and
		// go-tpm see that so; P1 17.2 can be read to refuse it.
		if a.attrs&sessAuditExclusive != 0 && t.ram.exclusive != a.h && a.s.auditDigest.n != 0 {
			return TPM_RC_EXCLUSIVE
		}
		c.audit = i
	}
	if rc := a.claim(sessDecrypt, c.def.flags&fDecrypt != 0, &c.decrypt, i); rc != TPM_RC_SUCCESS {
		return rc
	}
	return a.claim(sessEncrypt, c.def.flags&fEncrypt != 0, &c.encrypt, i)
}

// claim makes session i the one for parameter encryption in one direction.
func (a *authSession) claim(attr uint8, allowed bool, index *int, i int) RC {
	if a.attrs&attr == 0 {
		return TPM_RC_SUCCESS
	}
	if !allowed || *index >= 0 {
		return TPM_RC_ATTRIBUTES
	}
	if a.s.sym.Algorithm == TPM_ALG_NULL {
		return TPM_RC_SYMMETRIC
	}
	*index = i
	return TPM_RC_SUCCESS
}

// checkPassword checks the form of a password session.
func checkPassword(a *authSession) RC {
	if a.attrs&^sessContinue != 0 {
		return TPM_RC_ATTRIBUTES
	}
	if len(a.nonce) != 0 {
		return TPM_RC_NONCE
	}
	if a.entity < 0 {
		return TPM_RC_HANDLE // a password serves for nothing but authorization
	}
	return TPM_RC_SUCCESS
}
