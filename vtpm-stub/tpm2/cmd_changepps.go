package tpm2

// cmdChangePPS is TPM2_ChangePPS (TPM20-P3 section 24.4): a new platform primary seed.
// NV indices and platformAuth stay. It has no error of its own.
func cmdChangePPS(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	t.reseed(TPM_RH_PLATFORM)
	t.platform.policy = policyAuth{alg: TPM_ALG_NULL}
	t.perm.pcrPolicy = policyAuth{alg: TPM_ALG_NULL}
	t.clearOrderly()
	t.touch()
	return TPM_RC_SUCCESS
}

// reseed gives a hierarchy a new seed and proof; its objects and contexts are
// gone.
func (t *TPM) reseed(h Handle) {
	t.dropObjects(h)
	t.random(t.hier(h).seed[:])
	t.random(t.hier(h).proof[:])
}

// dropObjects flushes the transient and deletes the persistent objects of a hierarchy.
func (t *TPM) dropObjects(h Handle) {
	t.flushHierarchy(h)
	t.dropPersistent(func(o *object) bool { return o.hierarchy == h })
}
