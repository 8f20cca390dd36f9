package tpm2

// cmdPolicyDuplicationSelect is TPM2_PolicyDuplicationSelect (TPM20-P3 section 23.15).
//
//	TPM_RC_COMMAND_CODE  the session is bound to another command
//	TPM_RC_CPHASH        the session is bound to Names or parameters already
//	TPM_RC_VALUE  P3     includeObject is neither YES nor NO
func cmdPolicyDuplicationSelect(t *TPM, c *call) RC {
	object := c.in.param().name()
	parent := c.in.param().name()
	include := c.in.param().yesNo()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	if s.policy.binding != bindNone {
		return TPM_RC_CPHASH
	}
	if s.policy.commandCode != 0 && s.policy.commandCode != TPM_CC_Duplicate {
		return TPM_RC_COMMAND_CODE
	}
	if include {
		s.extend(t, TPM_CC_PolicyDuplicationSelect, object, parent, []byte{1})
	} else {
		s.extend(t, TPM_CC_PolicyDuplicationSelect, parent, []byte{0})
	}
	s.bindTo(bindNameHash, t.hash.Sum(s.hash, nil, object, parent))
	s.policy.dupSelected = true
	s.policy.commandCode = TPM_CC_Duplicate
	return TPM_RC_SUCCESS
}
