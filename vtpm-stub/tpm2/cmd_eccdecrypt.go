package tpm2

import (
	"bytes"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// cmdECCDecrypt is TPM2_ECC_Decrypt (v185, P3 section 14.9).
//
//	TPM_RC_ATTRIBUTES  H1  the key is restricted, or not a decryption key
//	TPM_RC_ECC_POINT   P1  C1 is not on the key's curve
//	TPM_RC_KEY         H1  not an ECC key
//	TPM_RC_NO_RESULT       the shared point is at infinity
//	TPM_RC_SCHEME      P4  not KDF2, or the key has a scheme
//	TPM_RC_VALUE       P3  C3 is not that of the message
func cmdECCDecrypt(t *TPM, c *call) RC {
	c1 := c.in.param().eccPoint2B()
	message := bytes.Clone(c.in.param().maxBuffer())
	c3 := c.in.param().digest()
	in := c.in.param().kdfScheme()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	if rc := unrestrictedDecrypt(o, TPM_ALG_ECC); rc != TPM_RC_SUCCESS {
		return rc
	}
	if !eccEncryptScheme(&o.pub.Scheme, &in) {
		return TPM_RC_SCHEME.Param(4)
	}
	k, rc := o.eccKey()
	if rc != TPM_RC_SUCCESS {
		return TPM_RC_KEY.Handle(1)
	}
	q, rc := onCurve(k.Public().Group(), c1)
	if rc != TPM_RC_SUCCESS {
		return rc.Param(1)
	}
	z, err := k.ECDH(q)
	if err != nil {
		return pointRC(err)
	}
	t.eccMask(in.Hash, z, message)
	if !tpmcrypto.Equal(c3, t.eccTag(in.Hash, z, message)) {
		return TPM_RC_VALUE.Param(3)
	}
	c.out.b2(message)
	return TPM_RC_SUCCESS
}
