package tpm2

import "bytes"

// cmdHierarchyChangeAuth is TPM2_HierarchyChangeAuth (TPM20-P3 section 24.8). platformAuth lasts until
// the next reset.
//
//	TPM_RC_SIZE  P1  newAuth is longer than a digest of the context integrity hash
func cmdHierarchyChangeAuth(t *TPM, c *call) RC {
	auth := c.in.param().digest()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	auth = stripZeros(auth)
	if len(auth) > ticketHash.DigestSize() {
		return TPM_RC_SIZE.Param(1)
	}
	old := &t.perm.lockoutAuth
	if h := c.handle(0); h != TPM_RH_LOCKOUT {
		old = &t.hier(h).auth
	}
	clear(*old)
	*old = bytes.Clone(auth)
	c.setResponseAuth(0, auth)
	if c.handle(0) == TPM_RH_PLATFORM {
		t.clearOrderly()
	} else {
		t.touch()
	}
	return TPM_RC_SUCCESS
}
