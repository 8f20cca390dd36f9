package tpm2

// cmdSetCommandCodeAuditStatus is TPM2_SetCommandCodeAuditStatus (TPM20-P3 section 21.2).
// Codes that are not implemented, Shutdown, and this command itself are passed over.
// A change of the algorithm is not audited: it ends the digest.
//
//	TPM_RC_VALUE  P1  algorithm and list are to be changed at once
func cmdSetCommandCodeAuditStatus(t *TPM, c *call) RC {
	alg := c.in.param().hash(true)
	set := c.in.param().ccList()
	clear := c.in.param().ccList()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if alg != TPM_ALG_NULL && alg != t.perm.auditAlg {
		if len(set) != 0 || len(clear) != 0 {
			return TPM_RC_VALUE.Param(1)
		}
		t.perm.auditAlg = alg
		t.touch()
		t.resetCommandAudit()
		c.notAudited = true
		return TPM_RC_SUCCESS
	}
	t.setAudited(set, true)
	t.setAudited(clear, false)
	return TPM_RC_SUCCESS
}

func (t *TPM) setAudited(list []CC, on bool) {
	for _, cc := range list {
		if cc == TPM_CC_SetCommandCodeAuditStatus || cc == TPM_CC_Shutdown || t.command(cc) == nil {
			continue
		}
		if t.perm.auditCmds.has(cc) != on {
			t.perm.auditCmds.put(cc, on)
			t.touch()
		}
	}
}
