package tpm2

import (
	"bytes"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// cmdECCEncrypt is TPM2_ECC_Encrypt (v185, P3 section 14.8). Attributes of the key do not
// matter.
//
//	TPM_RC_KEY     H1  not an ECC key
//	TPM_RC_NO_RESULT   the shared point is at infinity
//	TPM_RC_SCHEME  P2  not KDF2, or the key has a scheme
func cmdECCEncrypt(t *TPM, c *call) RC {
	message := bytes.Clone(c.in.param().maxBuffer())
	in := c.in.param().kdfScheme()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	q, rc := o.eccPublic()
	if rc != TPM_RC_SUCCESS {
		return TPM_RC_KEY.Handle(1)
	}
	if !eccEncryptScheme(&o.pub.Scheme, &in) {
		return TPM_RC_SCHEME.Param(2)
	}
	e, err := tpmcrypto.GenerateECC(q.Group().Curve(), rng{t})
	if err != nil {
		return TPM_RC_NO_RESULT
	}
	z, err := e.ECDH(q.Point())
	if err != nil {
		return TPM_RC_NO_RESULT
	}
	tag := t.eccTag(in.Hash, z, message)
	t.eccMask(in.Hash, z, message)
	c.out.point(e.Public().Point())
	c.out.b2(message)
	c.out.b2(tag)
	return TPM_RC_SUCCESS
}
