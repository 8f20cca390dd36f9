package tpm2

import "errors"

// SaveVolatile returns what power keeps: PCR, sessions, objects, timers, orderly indices. With
// the permanent state that Config.Persist last got it lets the TPM go on elsewhere, without
// TPM2_Startup, from any moment: before Startup, within an event sequence of _TPM_Hash_Start, in
// failure mode. The result holds secrets.
func (t *TPM) SaveVolatile() ([]byte, error) {
	kind, f := uint8(kindVolatile), t.archiveVolatile
	if t.failure != 0 {
		kind, f = kindFailed, t.archiveFailure
	}
	b, err := t.encode(kind, 640*1024, f)
	if err != nil {
		return nil, err
	}
	out := append([]byte(nil), b...)
	clear(b)
	return out, nil
}

// LoadVolatile takes over what SaveVolatile returned, in place of _TPM_Init.
// The permanent state must be the one that was current then. On error the TPM
// is as after PowerOn. Errors: ErrStale, ErrState, ErrNewState, ErrWrongKind.
func (t *TPM) LoadVolatile(blob []byte) error {
	t.PowerOn()
	if err := decode(kindFailed, blob, t.archiveFailure); !errors.Is(err, ErrWrongKind) {
		return err
	}
	before := t.powered()
	if err := decode(kindVolatile, blob, t.archiveVolatile); err != nil {
		t.restorePowered(&before)
		t.PowerOn()
		return err
	}
	return nil
}

// powered is the part of the state that volatile state is read into.
type powered struct {
	owner, endorsement, platform, null hierarchy

	alloc [numHashes]uint32
	sr    stateReset
	sc    stateClear
	ram   ram
	estab bool
}

func (t *TPM) powered() powered {
	return powered{t.owner, t.endorsement, t.platform, t.null, t.perm.pcrAlloc, t.sr, t.sc, t.ram, t.estab}
}

// restorePowered takes back what was read of a state that turned out to be damaged.
func (t *TPM) restorePowered(p *powered) {
	t.owner, t.endorsement, t.platform, t.null = p.owner, p.endorsement, p.platform, p.null
	t.perm.pcrAlloc, t.sr, t.sc, t.ram, t.estab = p.alloc, p.sr, p.sc, p.ram, p.estab
}

// archiveFailure is all that is left of a TPM in failure mode: why it is in it. The rest need not
// be sound, nor what is in memory be what was saved.
func (t *TPM) archiveFailure(a *archive) {
	a.need(3)
	code := uint32(t.failure)
	a.u32(&code)
	switch {
	case !a.loading():
	case code == 0:
		a.bad()
	case a.in.rc == TPM_RC_SUCCESS && len(a.in.b) == 0:
		t.fail(RC(code), "as when its state was saved")
	}
}

func (t *TPM) archiveVolatile(a *archive) {
	a.need(3)
	a.profile = t.offer
	reset := t.perm.resetCount
	a.u32(&reset)
	if a.loading() && reset != t.perm.resetCount {
		a.stale()
	}
	t.archiveTimers(a)
	t.archiveStateReset(a)
	t.archiveStateClear(a, t.leftACT)
	if a.loading() {
		t.rebaseACT()
	}
	r := &t.ram
	a.flag(&r.started)
	a.flag(&r.orderlyStart)
	a.flag(&r.tested)
	a.flag(&r.hcrtmDone)
	a.flag(&t.estab)
	a.handle(&r.exclusive)
	a.u64(&r.failedTriesAt)
	a.u64(&r.lockoutAt)
	t.archiveSlots(a)
	if a.version >= 3 {
		t.archivePhase(a)
	} else if r.hcrtmDone && !r.started {
		a.bad() // the PCR 0 of the event was not saved
	}
}

func (t *TPM) archiveTimers(a *archive) {
	r := &t.ram
	now, offset, rate := t.msTime(), r.clockOffset, uint32(r.rate)
	a.u64(&now)
	a.u64(&offset)
	a.u32(&rate)
	if a.loading() {
		r.timeBase, r.timeAt = now, t.cfg.Clock()
		r.clockOffset, r.rate = offset, int32(rate)
	}
}

// archiveSlots is transient objects and loaded sessions; archiveStateReset had
// the saved sessions.
func (t *TPM) archiveSlots(a *archive) {
	for i := range t.ram.objects {
		used := t.ram.objects[i] != nil
		a.flag(&used)
		if !used {
			continue
		}
		if a.loading() {
			t.ram.objects[i] = new(object)
		}
		archiveObject(a, t.ram.objects[i])
		t.ram.objects[i].handle = TRANSIENT_FIRST + Handle(i)
	}
	for i := range t.ram.sessions {
		sl := &t.ram.sessions[i]
		used := sl.s != nil
		a.flag(&used)
		if !used {
			continue
		}
		if a.loading() {
			sl.s = new(session)
		}
		archiveSession(a, sl.s)
		if a.loading() {
			sl.kind = sl.s.handle.Type()
			if sl.s.handle.index() != uint32(i) || sl.contextID != 0 {
				a.bad()
			}
		}
	}
}

// archiveSession is a session in any saved form: volatile state, saved context.
func archiveSession(a *archive, s *session) {
	a.handle(&s.handle)
	a.u8((*uint8)(&s.kind))
	a.hashAlg(&s.hash, false)
	if a.loading() {
		s.sym = a.in.symDef(true)
	} else {
		a.out.symDef(&s.sym)
	}
	a.digest(&s.nonceTPM)
	a.digest(&s.nonceCaller)
	a.digest(&s.key)
	a.flag(&s.bound)
	a.bytes(&s.bindName, 2+maxDigest)
	a.digest(&s.bindAuth)
	a.flag(&s.daBound)
	a.flag(&s.lockedBound)
	a.flag(&s.audit)
	a.digest(&s.auditDigest)
	archivePolicy(a, &s.policy)
	if a.loading() && !sessionSound(s) {
		a.bad()
	}
}

// archivedSecureChannel is policyState.secureChannel in the octet of the binding.
const archivedSecureChannel = 0x80

func archivePolicy(a *archive, p *policyState) {
	a.digest(&p.digest)
	a.u64(&p.startTime)
	a.u32(&p.epoch)
	a.u64(&p.timeout)
	a.u32((*uint32)(&p.commandCode))
	// The flag came later. Programs that do not know it refuse the session, as its binding is none of theirs.
	kind := uint8(p.binding)
	if p.secureChannel {
		kind |= archivedSecureChannel
	}
	a.u8(&kind)
	p.binding, p.secureChannel = hashBinding(kind&^archivedSecureChannel), kind&archivedSecureChannel != 0
	a.digest(&p.hash)
	a.flag(&p.pcrBound)
	a.u32(&p.pcrCounter)
	a.u8(&p.locality)
	for _, f := range []*bool{&p.authValue, &p.password, &p.ppRequired, &p.checkWritten, &p.written, &p.dupSelected} {
		a.flag(f)
	}
}

// sessionSound checks what the rest of the code takes for granted.
func sessionSound(s *session) bool {
	want := uint8(TPM_HT_POLICY_SESSION)
	switch s.kind {
	case TPM_SE_HMAC:
		want = TPM_HT_HMAC_SESSION
	case TPM_SE_POLICY, TPM_SE_TRIAL:
		if s.policy.digest.n != s.hash.DigestSize() {
			return false
		}
	default:
		return false
	}
	n := s.hash.DigestSize()
	return s.handle.Type() == want && s.handle.index() < maxActiveSessions &&
		(s.key.n == 0 || s.key.n == n) && s.nonceTPM.n >= 16 && s.nonceTPM.n <= n &&
		(!s.audit || s.auditDigest.n == n) && s.policy.binding <= bindParamHash
}
