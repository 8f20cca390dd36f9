package tpm2

// cmdPolicySecret is TPM2_PolicySecret (TPM20-P3 section 23.4). A PIN Pass index gives no
// ticket, since it would outlive the count.
//
//	TPM_RC_CPHASH       the session is bound to another command
//	TPM_RC_EXPIRED  P4  the authorization is over
//	TPM_RC_MODE         authHandle is authorized by a policy without its authValue
//	TPM_RC_NONCE    P1  nonceTPM is not the session's
//	TPM_RC_SIZE     P2  cpHashA has not the size of the policy's digest
func cmdPolicySecret(t *TPM, c *call) RC {
	var a authTerms
	a.nonceTPM = c.in.param().b2(maxDigest)
	a.cpHash = c.in.param().digest()
	a.ref = c.in.param().b2(maxDigest)
	a.expiration = int32(c.in.param().u32())
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(1)
	if p := c.policySession(0); p != nil && !p.policy.authValue && !p.policy.password {
		return TPM_RC_MODE
	}
	if !s.trial() {
		if rc := t.checkTerms(s, &a); rc != TPM_RC_SUCCESS {
			return rc
		}
	}
	name := t.entityName(&c.h[0])
	if name == nil {
		name = handleName(c.handle(0))
	}
	t.applyTerms(s, TPM_CC_PolicySecret, name, &a)
	pinPass := c.nv(0) != nil && c.nv(0).pub.Attributes.nt() == TPM_NT_PIN_PASS
	t.answerTicket(c, TPM_ST_AUTH_SECRET, a.expiration < 0 && !s.trial() && !pinPass, t.entityHierarchy(&c.h[0]), &a, name)
	return TPM_RC_SUCCESS
}

// entityHierarchy returns the hierarchy whose proof a ticket about the entity uses.
func (t *TPM) entityHierarchy(e *entity) Handle {
	switch {
	case e.obj != nil:
		return e.obj.hierarchy
	case e.nv != nil && e.nv.pub.Attributes.has(nvPlatformCreate):
		return TPM_RH_PLATFORM
	case e.h == TPM_RH_PLATFORM, e.h == TPM_RH_ENDORSEMENT, e.h == TPM_RH_NULL:
		return e.h
	}
	return TPM_RH_OWNER
}
