package tpm2

// Dictionary attack protection (TPM20-P1 section 19.8).
//
// Section 19.8.6 has a start without Shutdown count as a failed try, for TPMs
// that may lose a failure in a power cut, unless an attacker cannot prevent the
// update. Here a failure is durable before it is answered, so that nothing of
// an attempt is known whose count could still be lost: the rule is not applied.

// inLockout reports whether DA protected entities must not be used with their
// authValue.
func (t *TPM) inLockout() bool {
	// recoveryTime 0 turns the protection off.
	return t.perm.recoveryTime != 0 && t.perm.failedTries >= t.perm.maxTries
}

// healDA lets one failed try be forgotten each recoveryTime, and ends the
// lockout of lockoutAuth after lockoutRecovery.
func (t *TPM) healDA(now uint64) {
	p := &t.perm
	if p.failedTries > 0 && p.recoveryTime != 0 {
		period := uint64(p.recoveryTime) * 1000
		if n := (now - t.ram.failedTriesAt) / period; n > 0 {
			p.failedTries -= uint32(min(n, uint64(p.failedTries)))
			t.ram.failedTriesAt += n * period
			t.touch()
		}
	}
	if p.lockoutAuthBad && p.lockoutRecovery != 0 &&
		now-t.ram.lockoutAt >= uint64(p.lockoutRecovery)*1000 {
		p.lockoutAuthBad = false
		t.touch()
	}
}

// daFailure records a failed authorization of a DA protected entity.
func (t *TPM) daFailure() {
	if t.perm.recoveryTime == 0 {
		return
	}
	if t.perm.failedTries == 0 || t.inLockout() {
		t.ram.failedTriesAt = t.msTime()
	}
	if t.perm.failedTries < t.perm.maxTries {
		t.perm.failedTries++
	}
	t.touch()
}

// lockoutAuthFailure records a failed authorization with lockoutAuth.
func (t *TPM) lockoutAuthFailure() {
	t.perm.lockoutAuthBad = true
	t.ram.lockoutAt = t.msTime()
	t.touch()
}

// resetDA is TPM2_DictionaryAttackLockReset.
func (t *TPM) resetDA() {
	t.perm.failedTries = 0
	t.ram.failedTriesAt = t.msTime()
	t.touch()
}

// daProtected reports whether failures for the entity count.
func daProtected(e *entity) bool {
	switch {
	case e.obj != nil:
		return !e.obj.noDA()
	case e.nv != nil:
		return !e.nv.pub.Attributes.has(nvNoDA)
	}
	return false
}

// checkLockout refuses the use of an authValue that is locked out.
func (t *TPM) checkLockout(e *entity) RC {
	return t.lockedOut(daProtected(e), e.h == TPM_RH_LOCKOUT)
}

// checkBindLockout refuses a session whose key was made of an authValue that is locked out now:
// in any role, and before anything is compared, since what the session does for its caller tells
// whether he knows its key (TPM20-P1 sections 19.8.1 and 19.8.7). s may be nil.
func (t *TPM) checkBindLockout(s *session) RC {
	if s == nil {
		return TPM_RC_SUCCESS
	}
	return t.lockedOut(s.daBound, s.lockedBound)
}

// lockedOut refuses the use of an authValue that is DA protected, or is lockoutAuth, as long as it
// must not be tried.
func (t *TPM) lockedOut(da, lockout bool) RC {
	if da && t.inLockout() || lockout && t.perm.lockoutAuthBad {
		return TPM_RC_LOCKOUT
	}
	return TPM_RC_SUCCESS
}
