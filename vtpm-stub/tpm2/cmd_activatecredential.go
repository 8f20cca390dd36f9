package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdActivateCredential is TPM2_ActivateCredential (TPM20-P3 section 12.5).
//
//	TPM_RC_INTEGRITY  P1  credentialBlob was changed, or is for another object or key
//	TPM_RC_KEY        H2  the key pair is not valid
//	TPM_RC_SIZE       P1  the credential is malformed
//	TPM_RC_TYPE       H2  the key is not an asymmetric storage key
//	TPM_RC_VALUE      P2  secret is not one for the key
func cmdActivateCredential(t *TPM, c *call) RC {
	blob := c.in.param().b2(maxIDObject)
	secret := c.in.param().b2(maxEncryptedSecret)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	key, rc := c.newParent(1)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	seed, rc := t.recoverShared(key, 2, tpmcrypto.LabelIdentity, secret, 2)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	p := protectionOf(key, seed)
	plain, rc := p.unwrap(t, c.object(0).name, false, blob)
	clear(seed)
	if rc != TPM_RC_SUCCESS {
		return rc.Param(1)
	}
	r := reader{b: plain}
	info := r.digest()
	if rc := r.end(); rc != TPM_RC_SUCCESS {
		return rc.Param(1)
	}
	c.out.b2(info)
	clear(plain)
	return TPM_RC_SUCCESS
}

// recoverShared is recoverSecret with the numbers of the handle and the
// parameter for its errors.
func (t *TPM) recoverShared(key *object, handle int, label string, secret []byte, param int) ([]byte, RC) {
	seed, rc := t.recoverSecret(key, label, secret)
	switch rc {
	case TPM_RC_SUCCESS:
		return seed, rc
	case TPM_RC_KEY:
		return nil, rc.Handle(handle)
	}
	return nil, rc.Param(param)
}
