package tpm2

// cmdPPCommands is TPM2_PP_Commands (TPM20-P3 section 26.2). What cannot need physical
// presence is ignored. It has no error of its own beside the size of the lists.
//
//	TPM_RC_SIZE  P1, P2  a list is too long
func cmdPPCommands(t *TPM, c *call) RC {
	set := c.in.param().ccList()
	unset := c.in.param().ccList()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	next := t.perm.ppCommands
	for _, cc := range set {
		if d := t.command(cc); d != nil && d.flags&fPP != 0 {
			next.put(cc, true)
		}
	}
	for _, cc := range unset {
		if d := t.command(cc); d != nil && d.flags&fPP != 0 {
			next.put(cc, false)
		}
	}
	if next != t.perm.ppCommands {
		t.perm.ppCommands = next
		t.touch()
	}
	return TPM_RC_SUCCESS
}
