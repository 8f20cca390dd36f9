package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdZGen2Phase is TPM2_ZGen_2Phase (TPM20-P3 section 14.7, TPM20-P1 sections C.7.4, D.2.3).
// The ephemeral key of the counter is used up.
//
//	TPM_RC_ATTRIBUTES  H1  the key is restricted, or not a decryption key
//	TPM_RC_ECC_POINT   P1  inQsB is not on the key's curve
//	TPM_RC_ECC_POINT   P2  inQeB is not
//	TPM_RC_KEY         H1  not an ECC key
//	TPM_RC_RANGE       P4  the counter is unknown or too old
//	TPM_RC_SCHEME      P3  not a two-phase scheme, or not that of the key
//	TPM_RC_VALUE       P4  the counter was used before
//	TPM_RC_NO_RESULT       SM2: the result is the point at infinity
func cmdZGen2Phase(t *TPM, c *call) RC {
	inS := c.in.param().eccPoint2B()
	inE := c.in.param().eccPoint2B()
	scheme := c.in.param().keyExchange()
	counter := c.in.param().u16()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	if rc := unrestrictedDecrypt(o, TPM_ALG_ECC); rc != TPM_RC_SUCCESS {
		return rc
	}
	if own := o.pub.Scheme.Scheme; own != TPM_ALG_NULL && own != scheme {
		return TPM_RC_SCHEME.Param(3)
	}
	k, rc := o.eccKey()
	if rc != TPM_RC_SUCCESS {
		return TPM_RC_KEY.Handle(1)
	}
	g := k.Public().Group()
	qs, rc := onCurve(g, inS)
	if rc != TPM_RC_SUCCESS {
		return rc.Param(1)
	}
	qe, rc := onCurve(g, inE)
	if rc != TPM_RC_SUCCESS {
		return rc.Param(2)
	}
	de, rc := t.commitValue(g, ephemeralName(g.Curve()), counter)
	if rc != TPM_RC_SUCCESS {
		return rc.Param(4)
	}
	z1, z2, err := exchange(k, scheme, de, qs, qe)
	if err != nil {
		return TPM_RC_NO_RESULT
	}
	t.commitUsed(counter)
	c.out.point(z1)
	c.out.point(z2)
	return TPM_RC_SUCCESS
}

func exchange(k *tpmcrypto.ECCPrivateKey, scheme AlgID, de []byte, qs, qe tpmcrypto.Point) (z1, z2 tpmcrypto.Point, err error) {
	switch scheme {
	case TPM_ALG_ECMQV:
		z1, err = k.ZGenMQV(de, qs, qe)
	case TPM_ALG_SM2:
		z1, err = k.ZGenSM2(de, qs, qe)
	default:
		return k.ZGenFullUnified(de, qs, qe)
	}
	return z1, z2, err
}

// keyExchange reads a TPMI_ECC_KEY_EXCHANGE.
func (r *reader) keyExchange() AlgID {
	a := r.alg()
	if a != TPM_ALG_ECDH && a != TPM_ALG_ECMQV && a != TPM_ALG_SM2 {
		r.fail(TPM_RC_SCHEME)
	}
	return a
}
