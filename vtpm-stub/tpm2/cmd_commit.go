package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdCommit is TPM2_Commit (TPM20-P3 section 19.2, TPM20-P1 section C.2.3).
//
//	TPM_RC_ECC_POINT  P1  P1 is not on the key's curve
//	TPM_RC_ECC_POINT  P2  the point of s2 and y2 is not
//	TPM_RC_KEY        H1  not an ECC signing key
//	TPM_RC_NO_RESULT      a result is the point at infinity
//	TPM_RC_SCHEME     H1  the key's scheme is not anonymous
//	TPM_RC_SIZE       P3  only one of s2 and y2 is there
func cmdCommit(t *TPM, c *call) RC {
	in := c.in.param().eccPoint2B()
	s2 := c.in.param().b2(maxSymData)
	y2 := c.in.param().b2(maxECCBytes)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	k, rc := o.eccKey()
	switch {
	case rc != TPM_RC_SUCCESS || !o.signs():
		return TPM_RC_KEY.Handle(1)
	case o.pub.Scheme.Scheme != TPM_ALG_ECDAA:
		return TPM_RC_SCHEME.Handle(1)
	case (len(s2) == 0) != (len(y2) == 0):
		return TPM_RC_SIZE.Param(3)
	}
	g := k.Public().Group()
	var p1, p2 tpmcrypto.Point
	if len(s2) != 0 {
		var err error
		if p2, err = g.CommitPoint(o.commitAlg(), s2, y2); err != nil {
			return TPM_RC_ECC_POINT.Param(2)
		}
	}
	if len(in.X) != 0 || len(in.Y) != 0 {
		if p1, rc = onCurve(g, in); rc != TPM_RC_SUCCESS {
			return rc.Param(1)
		}
	}
	return t.commit(c, k, p1, p2)
}

// commit computes and answers the points.
func (t *TPM) commit(c *call, k *tpmcrypto.ECCPrivateKey, p1, p2 tpmcrypto.Point) RC {
	r, rc := t.nextCommit(k.Public().Group(), c.object(0).name)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	kp, l, e, err := k.Commit(r, p1, p2)
	if err != nil {
		return TPM_RC_NO_RESULT
	}
	c.out.point(kp)
	c.out.point(l)
	c.out.point(e)
	c.out.u16(t.commitMade())
	return TPM_RC_SUCCESS
}

// commitAlg is the nameAlg, or the scheme's hash of an external key without a Name.
func (o *object) commitAlg() AlgID {
	if o.pub.NameAlg == TPM_ALG_NULL {
		return o.pub.Scheme.Hash
	}
	return o.pub.NameAlg
}
