package tpm2

// cmdSetCapability is TPM2_SetCapability (v185 TPM20-P3 section 30.4). Part 2 leaves what can be set to
// registries of the TCG (TPMU_SET_CAPABILITIES), and this TPM has no such property: after the authorization
// every one is refused.
//
//	TPM_RC_VALUE  P1  the capability cannot be set
func cmdSetCapability(t *TPM, c *call) RC {
	data := c.in.param().sub()
	data.u32() // TPM_CAP
	data.b = nil
	c.in.endSub(&data)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	return TPM_RC_VALUE.Param(1)
}
