package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdEncapsulate is TPM2_Encapsulate (v185, P3 section 14.10): for ECC keys Encap of DHKEM (v185,
// P1 section 44.4, RFC 9180), for ML-KEM keys FIPS 203.
//
//	TPM_RC_KEY     H1  not a KEM key
//	TPM_RC_NO_RESULT   the shared point is at infinity
func cmdEncapsulate(t *TPM, c *call) RC {
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	if o.seq == nil && o.pub.Type == TPM_ALG_MLKEM {
		return encapsulateML(c, o)
	}
	q, rc := o.eccPublic()
	if rc != TPM_RC_SUCCESS || kemID(&o.pub) == 0 {
		return TPM_RC_KEY.Handle(1)
	}
	e, err := tpmcrypto.GenerateECC(o.pub.Curve, rng{t})
	if err != nil {
		return TPM_RC_NO_RESULT
	}
	z, err := e.ECDH(q.Point())
	if err != nil {
		return TPM_RC_NO_RESULT
	}
	enc := serializePoint(e.Public().Point())
	secret, err := sharedSecret(&o.pub, z, enc, serializePoint(q.Point()))
	if err != nil {
		return TPM_RC_NO_RESULT
	}
	c.out.b2(secret)
	c.out.b2(enc)
	return TPM_RC_SUCCESS
}
