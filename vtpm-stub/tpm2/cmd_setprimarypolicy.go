package tpm2

// cmdSetPrimaryPolicy is TPM2_SetPrimaryPolicy (TPM20-P3 section 24.3).
//
//	TPM_RC_HASH  P2  hashAlg is not implemented
//	TPM_RC_SIZE  P1  authPolicy is not a digest of hashAlg
func cmdSetPrimaryPolicy(t *TPM, c *call) RC {
	policy, rc := readPolicy(c)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	switch h := c.handle(0); {
	case h == TPM_RH_LOCKOUT:
		t.perm.lockoutPolicy = policy
		t.touch()
	case h >= TPM_RH_ACT_0 && h <= TPM_RH_ACT_F:
		t.sc.act[h-TPM_RH_ACT_0].policy = policy
		t.clearOrderly()
	default:
		t.hier(h).policy = policy
		if h == TPM_RH_PLATFORM {
			t.clearOrderly() // platformPolicy lasts until the next reset
		} else {
			t.touch()
		}
	}
	return TPM_RC_SUCCESS
}

// readPolicy reads the parameters authPolicy and hashAlg, the last of a command.
func readPolicy(c *call) (policyAuth, RC) {
	p := policyAuth{digest: c.in.param().digest()}
	p.alg = c.in.param().hash(true)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return p, rc
	}
	return p.checked()
}

// checked returns a copy of the policy if its digest has the size of its hash.
func (p policyAuth) checked() (policyAuth, RC) {
	if len(p.digest) != p.alg.DigestSize() {
		return p, TPM_RC_SIZE.Param(1)
	}
	p.digest = append([]byte(nil), p.digest...)
	return p, TPM_RC_SUCCESS
}
