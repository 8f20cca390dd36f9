package tpm2

// cmdPolicyCommandCode is TPM2_PolicyCommandCode (TPM20-P3 section 23.11).
//
//	TPM_RC_POLICY_CC  P1  the command is not implemented
//	TPM_RC_VALUE      P1  the session is bound to another command
func cmdPolicyCommandCode(t *TPM, c *call) RC {
	cc := CC(c.in.param().u32())
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	if s.policy.commandCode != 0 && s.policy.commandCode != cc {
		return TPM_RC_VALUE.Param(1)
	}
	if t.command(cc) == nil {
		return TPM_RC_POLICY_CC.Param(1)
	}
	s.extend(t, TPM_CC_PolicyCommandCode, handleName(Handle(cc)))
	s.policy.commandCode = cc
	return TPM_RC_SUCCESS
}
