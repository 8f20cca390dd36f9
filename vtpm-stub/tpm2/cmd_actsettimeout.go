package tpm2

// actStop as startTimeout stops a timer that has signaled.
const actStop = 0xFFFFFFFF

// cmdACTSetTimeout is TPM2_ACT_SetTimeout (v185, P3 section 33.2). startTimeout is in seconds.
// It has no response codes of its own.
func cmdACTSetTimeout(t *TPM, c *call) RC {
	timeout := c.in.param().u32()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	a := &t.sc.act[c.handle(0)-TPM_RH_ACT_0]
	running := a.deadline != 0
	switch {
	case timeout == actStop && !running && a.signaled:
		a.signaled = false
	case timeout != 0:
		a.deadline, a.signaled = t.msTime()+uint64(timeout)*1000, false
	case running:
		a.deadline, a.signaled = 0, true
	}
	a.preserve, a.set = false, true
	t.clearOrderly()
	return TPM_RC_SUCCESS
}
