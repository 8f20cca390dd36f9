package tpm2

// cmdGetTestResult is TPM2_GetTestResult (TPM20-P3 section 10.4). It works in
// failure mode. outData is empty: the reason for a failure is in the log.
func cmdGetTestResult(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	c.out.b2(nil)
	rc := t.ram.testResult
	switch {
	case t.failure != 0:
		rc = t.failure
	case !t.ram.tested && rc == TPM_RC_SUCCESS:
		rc = TPM_RC_NEEDS_TEST
	}
	c.out.u32(uint32(rc))
	return TPM_RC_SUCCESS
}
