package tpm2

import "encoding/binary"

// cmdPolicySigned is TPM2_PolicySigned (TPM20-P3 section 23.3). Part 3 gives
// TPM_RC_POLICY_FAIL for a wrong signature; TPMs in use give TPM_RC_SIGNATURE, as
// TPM2_VerifySignature does, and so clients expect it.
//
//	TPM_RC_CPHASH        the session is bound to another command
//	TPM_RC_EXPIRED   P4  the authorization is over
//	TPM_RC_HANDLE    P5  an HMAC key without its sensitive part
//	TPM_RC_KEY       P5  the public key is not valid
//	TPM_RC_NONCE     P1  nonceTPM is not the session's
//	TPM_RC_SCHEME    P5  the scheme is not for this type of key, or ECDAA
//	TPM_RC_SIGNATURE P5  the signature is wrong
//	TPM_RC_SIZE      P2  cpHashA has not the size of the policy's digest
func cmdPolicySigned(t *TPM, c *call) RC {
	var a authTerms
	a.nonceTPM = c.in.param().b2(maxDigest)
	a.cpHash = c.in.param().digest()
	a.ref = c.in.param().b2(maxDigest)
	a.expiration = int32(c.in.param().u32())
	sig := c.in.param().signature(false)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	key, s := c.object(0), c.session(1)
	if !s.trial() {
		if rc := t.checkTerms(s, &a); rc != TPM_RC_SUCCESS {
			return rc
		}
		expiration := binary.BigEndian.AppendUint32(nil, uint32(a.expiration))
		digest, rc := t.message(key, sig.Hash, a.nonceTPM, expiration, a.cpHash, a.ref)
		if rc != TPM_RC_SUCCESS {
			return rc.Param(5)
		}
		if rc := t.verify(key, digest, &sig); rc != TPM_RC_SUCCESS {
			return rc.Param(5)
		}
	}
	t.applyTerms(s, TPM_CC_PolicySigned, key.name, &a)
	t.answerTicket(c, TPM_ST_AUTH_SIGNED, a.expiration < 0 && !s.trial(), key.hierarchy, &a, key.name)
	return TPM_RC_SUCCESS
}
