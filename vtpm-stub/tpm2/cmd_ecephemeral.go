package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdECEphemeral is TPM2_EC_Ephemeral (TPM20-P3 section 19.3).
//
//	TPM_RC_CURVE      P1  the curve is not implemented
//	TPM_RC_NO_RESULT      the point is at infinity
func cmdECEphemeral(t *TPM, c *call) RC {
	curve := c.in.param().curve()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	g := tpmcrypto.GroupOf(curve)
	r, rc := t.nextCommit(g, ephemeralName(curve))
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	q, err := g.BaseMul(r)
	if err != nil || q.IsInfinity() {
		return TPM_RC_NO_RESULT
	}
	c.out.point(q)
	c.out.u16(t.commitMade())
	return TPM_RC_SUCCESS
}

// ephemeralName stands for the Name of a key in the derivation of an ephemeral key: the
// value is good for keys of the curve only, and not for TPM2_Sign.
func ephemeralName(c ECCCurve) []byte { return []byte{byte(c >> 8), byte(c)} }
