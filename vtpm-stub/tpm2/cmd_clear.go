package tpm2

// cmdClear is TPM2_Clear (TPM20-P3 section 24.6): all that belongs to the owner goes.
// The endorsement primary seed stays, its proof does not.
//
//	TPM_RC_DISABLED  TPM2_ClearControl disabled the command
func cmdClear(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if t.perm.disableClear {
		return TPM_RC_DISABLED
	}
	t.reseed(TPM_RH_OWNER)
	t.dropObjects(TPM_RH_ENDORSEMENT)
	t.random(t.endorsement.proof[:])
	t.nvDrop(func(ix *nvIndex) bool { return !ix.pub.Attributes.has(nvPlatformCreate) })
	t.resetHierarchy(TPM_RH_OWNER)
	t.resetHierarchy(TPM_RH_ENDORSEMENT)
	t.clearOwnerState()
	if c.handle(0) == TPM_RH_LOCKOUT {
		c.setResponseAuth(0, nil)
	}
	t.clearOrderly()
	t.touch()
	return TPM_RC_SUCCESS
}

// clearOwnerState resets what is no entity: lockout, clock, counts.
func (t *TPM) clearOwnerState() {
	p := &t.perm
	clear(p.lockoutAuth)
	p.lockoutAuth = nil
	p.lockoutPolicy = policyAuth{alg: TPM_ALG_NULL}
	p.lockoutAuthBad = false
	t.resetDA()
	t.sc.pcrAuth = nil
	t.setClock(0)
	p.resetCount = 0
	t.sr.restartCount = 0
	t.sr.pcrCounter++
}
