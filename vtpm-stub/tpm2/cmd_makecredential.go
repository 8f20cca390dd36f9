package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// maxIDObject is the size of a TPMS_ID_OBJECT.
const maxIDObject = 2*2 + 2*maxDigest

// cmdMakeCredential is TPM2_MakeCredential (TPM20-P3 section 12.6).
//
//	TPM_RC_KEY   H1  the public key is not valid, or too small for the secret
//	TPM_RC_SIZE  P1  credential is longer than the key's nameAlg's digest
//	TPM_RC_TYPE  H1  the key is not an asymmetric storage key
func cmdMakeCredential(t *TPM, c *call) RC {
	credential := c.in.param().digest()
	name := c.in.param().name()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	key, rc := c.newParent(0)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if len(credential) > key.pub.NameAlg.DigestSize() {
		return TPM_RC_SIZE.Param(1)
	}
	seed, secret, rc := t.shareSecret(key, tpmcrypto.LabelIdentity)
	if rc != TPM_RC_SUCCESS {
		return rc.Handle(1)
	}
	p := protectionOf(key, seed)
	c.out.b2(p.wrap(t, name, nil, marshal(2+maxDigest, func(w *writer) { w.b2(credential) })))
	c.out.b2(secret)
	clear(seed)
	return TPM_RC_SUCCESS
}
