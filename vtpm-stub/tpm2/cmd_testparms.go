package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdTestParms is TPM2_TestParms (TPM20-P3 section 30.3). What can be read is
// supported; the codes are those of the reading:
//
//	TPM_RC_TYPE       P1  the type of object is not implemented
//	TPM_RC_CURVE, TPM_RC_HASH, TPM_RC_KDF, TPM_RC_MODE, TPM_RC_SCHEME,
//	TPM_RC_SYMMETRIC, TPM_RC_VALUE  P1  a parameter is not supported
func cmdTestParms(t *TPM, c *call) RC {
	r := c.in.param()
	p := TPMT_PUBLIC{Type: r.publicType()}
	r.publicParms(&p)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if p.Type == TPM_ALG_RSA {
		if _, err := tpmcrypto.RSAExponent(p.Exponent); err != nil {
			return TPM_RC_VALUE.Param(1)
		}
	}
	return TPM_RC_SUCCESS
}
