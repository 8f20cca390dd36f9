package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdECCParameters is TPM2_ECC_Parameters (TPM20-P3 section 14.6).
//
//	TPM_RC_CURVE  P1  the curve is not implemented
func cmdECCParameters(t *TPM, c *call) RC {
	curve := c.in.param().curve()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	g := tpmcrypto.GroupOf(curve)
	p := g.Params()
	kdf := curveKDF(curve)
	w := &c.out
	w.u16(uint16(curve))
	w.u16(uint16(g.OrderBits()))
	w.scheme(&kdf)
	w.scheme(&nullScheme)
	for _, v := range [][]byte{p.P, p.A, p.B, p.Gx, p.Gy, p.N, p.H} {
		w.b2(v)
	}
	return TPM_RC_SUCCESS
}

// curveKDF is the default KDF that the TCG Algorithm Registry (rev. 1.32, section 6) gives
// for a curve. That of SM2 needs SM3, which is not implemented.
func curveKDF(c ECCCurve) TPMT_SCHEME {
	s := TPMT_SCHEME{Scheme: TPM_ALG_KDF1_SP800_56A, Hash: TPM_ALG_SHA256}
	switch c {
	case TPM_ECC_NIST_P384:
		s.Hash = TPM_ALG_SHA384
	case TPM_ECC_NIST_P521:
		s.Hash = TPM_ALG_SHA512
	case TPM_ECC_BN_P256, TPM_ECC_BN_P638, TPM_ECC_SM2_P256:
		return nullScheme
	}
	return s
}
