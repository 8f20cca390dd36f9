package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// authorize checks all sessions (TPM20-P3 section 5.6). What it changes when
// it fails is the dictionary attack state only.
func (t *TPM) authorize() RC {
	c := &t.call
	if c.audit >= 0 {
		t.cpHash(c.sessions[c.audit].s.hash) // before a parameter is decrypted
	}
	if t.auditing() {
		t.cpHash(t.perm.auditAlg)
	}
	for i := range c.sessions[:c.ns] {
		if rc := t.checkBindLockout(c.sessions[i].s); rc != TPM_RC_SUCCESS {
			return rc.Session(i + 1)
		}
	}
	for i := range c.sessions[:c.ns] {
		a := &c.sessions[i]
		var rc RC
		if a.entity >= 0 {
			rc = t.authorizeEntity(a)
		} else {
			rc = t.checkHMAC(a, i)
		}
		if rc != TPM_RC_SUCCESS {
			return rc.Session(i + 1)
		}
	}
	for i := range c.sessions[:c.ns] {
		t.countPIN(&c.sessions[i])
	}
	return TPM_RC_SUCCESS
}

// authorizeEntity checks that session a authorizes its entity for the role.
func (t *TPM) authorizeEntity(a *authSession) RC {
	c := &t.call
	e := &c.h[a.entity]
	role := c.def.handles[a.entity].role
	if e.obj != nil && !e.obj.private && e.obj.seq == nil {
		return TPM_RC_AUTH_UNAVAILABLE
	}
	if e.h == TPM_RH_PLATFORM && !t.phys &&
		(c.def.flags&fPPAlways != 0 || c.def.flags&fPP != 0 && t.perm.ppCommands.has(c.def.cc)) {
		return TPM_RC_PP
	}
	a.value.set(t.authValue(e))
	policy := a.s != nil && a.s.isPolicy()
	byValue := !policy || a.s.policy.authValue || a.s.policy.password
	if byValue || a.attrs&(sessDecrypt|sessEncrypt) != 0 && a.value.n != 0 {
		// The authValue is compared, or is part of the key of parameters (P1 21.1, note 1).
		if rc := t.checkLockout(e); rc != TPM_RC_SUCCESS {
			return rc
		}
	}
	if rc := t.checkRole(e, role, policy); rc != TPM_RC_SUCCESS {
		return rc
	}
	if policy {
		if rc := t.checkPolicy(a, e, role); rc != TPM_RC_SUCCESS {
			return rc
		}
	}
	if policy && !byValue {
		if t.spillsPIN(a, e) {
			return TPM_RC_ATTRIBUTES
		}
		return t.checkHMAC(a, a.entity)
	}
	if rc := pinAvailable(e); rc != TPM_RC_SUCCESS {
		return rc
	}
	if a.s == nil || policy && a.s.policy.password {
		return t.checkPasswordValue(a, e)
	}
	// A session bound to this very entity has the authValue in its key.
	a.withValue = !t.boundTo(a.s, e, a.value.bytes())
	return t.checkHMAC(a, a.entity)
}

// authValue returns the authValue of an entity.
func (t *TPM) authValue(e *entity) []byte {
	switch {
	case e.obj != nil:
		return e.obj.auth()
	case e.nv != nil:
		return e.nv.auth
	}
	switch e.h {
	case TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM:
		return t.hier(e.h).auth
	case TPM_RH_LOCKOUT:
		return t.perm.lockoutAuth
	}
	if e.h.Type() == TPM_HT_PCR && t.pcrAttrs(int(e.h)).group {
		return t.sc.pcrAuth
	}
	if e.h >= TPM_RH_ACT_0 && e.h <= TPM_RH_ACT_F {
		return t.platform.auth
	}
	return nil
}

// authPolicy returns the authPolicy of an entity.
func (t *TPM) authPolicy(e *entity) policyAuth {
	switch {
	case e.obj != nil:
		return policyAuth{e.obj.pub.NameAlg, e.obj.pub.AuthPolicy}
	case e.nv != nil:
		return policyAuth{e.nv.pub.NameAlg, e.nv.pub.AuthPolicy}
	}
	switch e.h {
	case TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM:
		return t.hier(e.h).policy
	case TPM_RH_LOCKOUT:
		return t.perm.lockoutPolicy
	}
	if e.h.Type() == TPM_HT_PCR && t.pcrAttrs(int(e.h)).group {
		return t.perm.pcrPolicy
	}
	if e.h >= TPM_RH_ACT_0 && e.h <= TPM_RH_ACT_F {
		return t.sc.act[e.h-TPM_RH_ACT_0].policy
	}
	return policyAuth{alg: TPM_ALG_NULL}
}

// checkRole checks that the kind of session suits role and entity.
func (t *TPM) checkRole(e *entity, role authRole, policy bool) RC {
	switch role {
	case roleDup:
		if !policy {
			return TPM_RC_AUTH_TYPE
		}
	case roleAdmin:
		mustPolicy := e.nv != nil || e.obj == nil || e.obj.pub.Attributes.has(objAdminWithPolicy)
		if mustPolicy && !policy {
			return TPM_RC_AUTH_TYPE
		}
	case roleUser:
		if e.obj != nil && e.obj.seq == nil && !e.obj.pub.Attributes.has(objUserWithAuth) && !policy {
			return TPM_RC_AUTH_UNAVAILABLE // P3 5.6 has TPM_RC_POLICY_FAIL, which no other TPM says
		}
		if e.nv != nil && !t.takesPIN(e) {
			return t.checkNVRole(e.nv.pub.Attributes, policy)
		}
	}
	return TPM_RC_SUCCESS
}

func (t *TPM) checkNVRole(a TPMA_NV, policy bool) RC {
	f := t.call.def.flags
	write, read := nvAuthWrite, nvAuthRead
	if policy {
		write, read = nvPolicyWrite, nvPolicyRead
	}
	if f&fNVWrite != 0 && !a.has(write) || f&fNVRead != 0 && !a.has(read) {
		return TPM_RC_AUTH_UNAVAILABLE
	}
	return TPM_RC_SUCCESS
}

// checkPolicy checks the policy session against command and entity
// (TPM20-P3 section 5.6 step 8).
func (t *TPM) checkPolicy(a *authSession, e *entity, role authRole) RC {
	p := &a.s.policy
	want := t.authPolicy(e)
	if len(want.digest) == 0 {
		return TPM_RC_AUTH_UNAVAILABLE // as above
	}
	if p.timeout != 0 && (p.timeout <= t.msTime() || p.epoch != t.perm.timeEpoch) {
		return TPM_RC_EXPIRED
	}
	if (role == roleAdmin || role == roleDup) && p.commandCode == 0 {
		return TPM_RC_POLICY_FAIL
	}
	if rc := t.checkBinding(a.s); rc != TPM_RC_SUCCESS {
		return rc
	}
	if p.commandCode != 0 && p.commandCode != t.call.def.cc {
		return TPM_RC_POLICY_CC
	}
	if want.alg != a.s.hash || !tpmcrypto.Equal(want.digest, p.digest.bytes()) {
		return TPM_RC_POLICY_FAIL
	}
	if p.pcrBound && p.pcrCounter != t.sr.pcrCounter {
		return TPM_RC_PCR_CHANGED
	}
	if p.locality != 0 && !localityAllowed(p.locality, t.call.locality) {
		return TPM_RC_LOCALITY
	}
	if p.ppRequired && !t.phys {
		return TPM_RC_PP
	}
	if p.secureChannel {
		return TPM_RC_CHANNEL
	}
	if p.checkWritten {
		if e.nv == nil || e.nv.pub.Attributes.has(nvWritten) != p.written {
			return TPM_RC_POLICY_FAIL
		}
	}
	return TPM_RC_SUCCESS
}

// localityAllowed reports whether a locality is in a TPMA_LOCALITY.
func localityAllowed(allowed, loc uint8) bool {
	if allowed < 32 {
		return loc < 5 && allowed&(1<<loc) != 0
	}
	return allowed == loc
}

// checkBinding compares what the policy was bound to with the command.
func (t *TPM) checkBinding(s *session) RC {
	p := &s.policy
	var have []byte
	switch p.binding {
	case bindNone:
		return TPM_RC_SUCCESS
	case bindCpHash:
		have = t.cpHash(s.hash)
	case bindNameHash:
		have = t.nameHash(s.hash)
	case bindParamHash:
		have = t.paramHash(s.hash)
	case bindTemplate:
		template, ok := t.templateParam()
		if !ok {
			return TPM_RC_POLICY_FAIL
		}
		have = t.hash.Sum(s.hash, nil, template)
	}
	if !tpmcrypto.Equal(have, p.hash.bytes()) {
		return TPM_RC_POLICY_FAIL
	}
	return TPM_RC_SUCCESS
}

// templateParam returns the inPublic parameter of a create command, without
// its size (TPM2_PolicyTemplate).
func (t *TPM) templateParam() ([]byte, bool) {
	switch t.call.def.cc {
	case TPM_CC_Create, TPM_CC_CreatePrimary, TPM_CC_CreateLoaded:
		r := reader{b: t.call.params}
		r.b2(0xFFFF) // inSensitive
		b := r.b2(0xFFFF)
		return b, r.rc == TPM_RC_SUCCESS
	}
	return nil, false
}

// stripZeros returns an authValue without trailing zeros (TPM20-P1 section
// 19.6.5): they do not count.
func stripZeros(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}

func (t *TPM) checkPasswordValue(a *authSession, e *entity) RC {
	if tpmcrypto.Equal(stripZeros(a.auth), stripZeros(a.value.bytes())) {
		return TPM_RC_SUCCESS
	}
	return t.authFailed(a, e)
}

// checkHMAC checks the HMAC of session a, the i-th of the command.
func (t *TPM) checkHMAC(a *authSession, i int) RC {
	c := &t.call
	s := a.s
	if len(a.auth) == 0 && s.key.n == 0 && (!a.withValue || a.value.n == 0) {
		a.noHMAC = true // P1 19.6.16: an HMAC under an empty key may be left out
		return TPM_RC_SUCCESS
	}
	var dec, enc []byte
	if i == 0 && a.entity == 0 {
		// The first session vouches for the nonces of the others.
		if c.decrypt > 0 {
			dec = c.sessions[c.decrypt].s.nonceTPM.bytes()
		}
		if c.encrypt > 0 && c.encrypt != c.decrypt {
			enc = c.sessions[c.encrypt].s.nonceTPM.bytes()
		}
	}
	want := t.sessionHMAC(a, t.cpHash(s.hash), a.nonce, s.nonceTPM.bytes(), dec, enc, a.attrs)
	if tpmcrypto.Equal(want, a.auth) {
		return TPM_RC_SUCCESS
	}
	if a.entity < 0 {
		return t.authFailed(a, &entity{})
	}
	return t.authFailed(a, &c.h[a.entity])
}

// sessionHMAC is authHMAC of TPM20-P1 section 19.6.5.
func (t *TPM) sessionHMAC(a *authSession, pHash, newer, older, dec, enc []byte, attrs uint8) []byte {
	b := &t.hmacs
	n := copy(b.key[:], a.s.key.bytes())
	if a.withValue {
		n += copy(b.key[n:], a.value.bytes())
	}
	b.attrs[0] = attrs
	mac := t.hash.HMAC(a.s.hash, b.mac[:0], b.key[:n], pHash, newer, older, dec, enc, b.attrs[:])
	clear(b.key[:n])
	return mac
}

// hmacBufs are what the HMACs of sessions are made in. Each is valid until the next
// one is made.
type hmacBufs struct {
	key    [2 * maxDigest]byte
	attrs  [1]byte
	mac    [maxDigest]byte
	rpHead [8]byte
	rp     [maxDigest]byte
}

// boundTo reports whether the session is bound to the entity as it is now.
func (t *TPM) boundTo(s *session, e *entity, value []byte) bool {
	return s.bound && tpmcrypto.Equal(s.bindName, t.bindName(e)) && tpmcrypto.Equal(s.bindAuth.bytes(), value)
}

// bindName returns what identifies the entity in a binding: its Name, or its
// handle.
func (t *TPM) bindName(e *entity) []byte {
	if n := t.entityName(e); n != nil {
		return n
	}
	return handleName(e.h)
}

// authFailed counts a failure and returns its code.
func (t *TPM) authFailed(a *authSession, e *entity) RC {
	if e.nv != nil && e.nv.pub.Attributes.nt() == TPM_NT_PIN_FAIL && e.nv.pub.Attributes.has(nvWritten) {
		setPINCount(e.nv, pinCount(e.nv)+1)
		t.nvChanged(e.nv)
	}
	lockout := e.h == TPM_RH_LOCKOUT || a.s != nil && a.s.lockedBound
	da := daProtected(e) || a.s != nil && a.s.daBound
	if !lockout && !da {
		return TPM_RC_BAD_AUTH
	}
	if lockout {
		t.lockoutAuthFailure()
	}
	if da {
		t.daFailure()
	}
	return TPM_RC_AUTH_FAIL
}
