package tpm2

// cmdReadOnlyControl is TPM2_ReadOnlyControl (TPM20-P3 v185 section 24.9): in
// read-only mode the dispatcher refuses commands that change the TPM for good.
//
//	TPM_RC_VALUE  P1  neither YES nor NO
func cmdReadOnlyControl(t *TPM, c *call) RC {
	on := c.in.param().yesNo()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	t.sc.readOnly = on
	t.clearOrderly()
	return TPM_RC_SUCCESS
}
