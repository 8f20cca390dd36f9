package tpm2

import (
	"bytes"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// cmdObjectChangeAuth is TPM2_ObjectChangeAuth (TPM20-P3 section 12.8): a private
// area with a new authValue. The loaded object keeps the old one.
//
//	TPM_RC_SIZE  P1  newAuth is longer than nameAlg's digest
//	TPM_RC_TYPE  H1  the object is a sequence
//	TPM_RC_TYPE  H2  parentHandle is not the object's parent (a primary object has none)
func cmdObjectChangeAuth(t *TPM, c *call) RC {
	auth := c.in.param().digest()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	if o.seq != nil {
		return TPM_RC_TYPE.Handle(1)
	}
	parent, rc := c.storageParent(1)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if len(o.qname) == 0 || !tpmcrypto.Equal(o.qname, t.qualifiedName(parent.qname, o.name, o.pub.NameAlg)) {
		return TPM_RC_TYPE.Handle(2)
	}
	if auth = stripZeros(auth); len(auth) > o.pub.NameAlg.DigestSize() {
		return TPM_RC_SIZE.Param(1)
	}
	n := object{pub: o.pub, sens: o.sens, name: o.name}
	n.sens.Auth = bytes.Clone(auth)
	c.out.b2(t.wrapPrivate(parent, &n))
	clear(n.sens.Auth)
	return TPM_RC_SUCCESS
}
