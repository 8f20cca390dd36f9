package tpm2

// TPM_SU values (TPM20-P2 section 6.10).
const (
	TPM_SU_CLEAR = 0x0000
	TPM_SU_STATE = 0x0001
)

// cmdStartup is TPM2_Startup (TPM20-P3 section 9.3).
//
//	TPM_RC_INITIALIZE  Startup was done already
//	TPM_RC_LOCALITY    not locality 0 or 3; for SU_STATE: the locality or
//	                   H-CRTM differs from that of the Startup before
//	TPM_RC_VALUE  P1   startupType is unknown, or SU_STATE without Shutdown(STATE)
func cmdStartup(t *TPM, c *call) RC {
	su := c.in.param().u16()
	if c.in.rc == TPM_RC_SUCCESS && su != TPM_SU_CLEAR && su != TPM_SU_STATE {
		c.in.fail(TPM_RC_VALUE)
	}
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if t.ram.started {
		return TPM_RC_INITIALIZE
	}
	if c.locality != 0 && c.locality != 3 {
		return TPM_RC_LOCALITY
	}
	from := c.locality
	if t.ram.hcrtmDone {
		from = 4
	}
	if su == TPM_SU_STATE {
		if t.perm.orderly != orderlyState {
			return TPM_RC_VALUE.Param(1)
		}
		if from != t.perm.startupLocality {
			return TPM_RC_LOCALITY
		}
	}
	t.startup(t.startKind(su), from)
	return TPM_RC_SUCCESS
}

// startKind is what a Startup makes of the Shutdown before it (TPM20-P3 section 9.3.1).
type startKind uint8

const (
	tpmReset   startKind = iota // Startup(CLEAR) after no Shutdown or Shutdown(CLEAR)
	tpmRestart                  // Startup(CLEAR) after Shutdown(STATE)
	tpmResume                   // Startup(STATE) after Shutdown(STATE)
)

// startKind returns the kind of a Startup that is allowed.
func (t *TPM) startKind(su uint16) startKind {
	switch {
	case su == TPM_SU_STATE:
		return tpmResume
	case t.perm.orderly == orderlyState:
		return tpmRestart
	}
	return tpmReset
}

// startup changes the state for a TPM Reset, Restart or Resume.
func (t *TPM) startup(kind startKind, from uint8) {
	was := t.perm.orderly
	t.dropHashEvent()
	switch kind {
	case tpmReset:
		t.resetState()
		t.clearState()
	case tpmRestart:
		t.sr.restartCount++
		t.clearState()
	case tpmResume:
		t.sr.restartCount++
		t.resumeACT()
	}
	t.platform.enabled = true // whatever it was
	t.pcrStartup(kind == tpmResume, from)
	t.nvStartup(kind, was == orderlyNone)
	if t.perm.lockoutRecovery == 0 {
		t.perm.lockoutAuthBad = false // only a restart lets lockoutAuth be tried again
	}
	if was == orderlyNone {
		t.perm.clockSafe = false
	}
	t.perm.timeEpoch++
	if t.perm.timeEpoch == 0 {
		t.perm.timeEpoch = 1
	}
	t.perm.orderly = orderlyNone
	t.perm.startupLocality = from
	t.ram.started, t.ram.orderlyStart = true, was != orderlyNone
	t.touch()
}

// resetState is what TPM Reset does to State Reset data (TPM20-P1 section 12.2.3).
func (t *TPM) resetState() {
	t.perm.resetCount++
	t.perm.totalResetCount++
	t.sr = stateReset{contextCounter: 1, objectCounter: 1}
	t.random(t.sr.commitNonce[:])
	t.newNullHierarchy()
	for i := range t.ram.sessions {
		t.ram.sessions[i] = sessionSlot{}
	}
}

// clearState is what TPM Reset and Restart do to State Clear data. phEnable is for startup.
func (t *TPM) clearState() {
	t.sr.clearCount++
	pcr := &t.sc.pcr
	for b := range pcr {
		clear(pcr[b][:])
	}
	t.sc.phEnableNV, t.sc.readOnly = true, false
	t.owner.enabled, t.endorsement.enabled = true, true
	clear(t.platform.auth)
	t.platform.auth = nil
	t.sc.pcrAuth = nil
	t.sc.act = [numACT]act{}
	t.noPolicies()
}

// noPolicies gives the platform and the timers the policies that they have before anybody sets
// some.
func (t *TPM) noPolicies() {
	t.platform.policy = policyAuth{alg: TPM_ALG_NULL}
	for i := range t.sc.act {
		t.sc.act[i].policy = policyAuth{alg: TPM_ALG_NULL}
	}
}
