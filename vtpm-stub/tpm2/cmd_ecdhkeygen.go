package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdECDHKeyGen is TPM2_ECDH_KeyGen (TPM20-P3 section 14.4).
//
//	TPM_RC_KEY        H1  not an ECC key
//	TPM_RC_NO_RESULT      the result is the point at infinity
func cmdECDHKeyGen(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	q, rc := c.object(0).eccPublic()
	if rc != TPM_RC_SUCCESS {
		return TPM_RC_KEY.Handle(1)
	}
	e, err := tpmcrypto.GenerateECC(q.Group().Curve(), rng{t})
	if err != nil {
		return TPM_RC_NO_RESULT
	}
	z, err := e.ECDH(q.Point())
	if err != nil {
		return TPM_RC_NO_RESULT
	}
	c.out.point(z)
	c.out.point(e.Public().Point())
	return TPM_RC_SUCCESS
}
