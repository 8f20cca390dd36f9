package tpm2

// cmdRewrap is TPM2_Rewrap (TPM20-P3 section 13.2).
//
//	TPM_RC_HANDLE     H1  inSymSeed is empty with an old parent, or is there
//	                      without one
//	TPM_RC_INTEGRITY  P1  inDuplicate was changed, or is not of this Name or parent
//	TPM_RC_KEY    H1, H2  a key is not valid
//	TPM_RC_SIZE       P1  inDuplicate leaves no room for the outer wrapper
//	TPM_RC_TYPE   H1, H2  not an asymmetric storage key
//	TPM_RC_VALUE      P3  inSymSeed is not one for the old parent
func cmdRewrap(t *TPM, c *call) RC {
	blob := c.in.param().b2(maxPrivate)
	name := c.in.param().name()
	secret := c.in.param().b2(maxEncryptedSecret)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	old, rc := c.newParent(0)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	parent, rc := c.newParent(1)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if (old == nil) != (len(secret) == 0) {
		return TPM_RC_HANDLE.Handle(1)
	}
	if old != nil {
		if blob, rc = t.outerUnwrap(old, name, blob, secret, 1, 3); rc != TPM_RC_SUCCESS {
			return rc
		}
	}
	var newSecret []byte
	if parent != nil {
		if len(blob)+2+parent.pub.NameAlg.DigestSize() > maxPrivate {
			return TPM_RC_SIZE.Param(1)
		}
		if blob, newSecret, rc = t.outerWrap(parent, name, blob); rc != TPM_RC_SUCCESS {
			return rc.Handle(2)
		}
	}
	c.out.b2(blob)
	c.out.b2(newSecret)
	return TPM_RC_SUCCESS
}
