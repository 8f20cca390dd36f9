package tpm2

// cmdPolicyTransportSPDM is TPM2_PolicyTransportSPDM (v185 TPM20-P3 section 23.25). It is a deferred
// assertion: this TPM has no secure channel, so a session that carries it authorizes nothing
// (TPM_RC_CHANNEL). A trial session computes the digest for a TPM that has one.
//
//	TPM_RC_HASH   P1/P2  the Name's algorithm is not a hash algorithm
//	TPM_RC_SIZE   P1/P2  the Name is not as long as its algorithm says, or has none
//	TPM_RC_VALUE         the session demands a secure channel already
func cmdPolicyTransportSPDM(t *TPM, c *call) RC {
	req := c.in.param().name()
	tpm := c.in.param().name()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	if s.policy.secureChannel {
		return TPM_RC_VALUE
	}
	for i, name := range [][]byte{req, tpm} {
		if len(name) == 0 {
			continue
		}
		if _, rc := t.offer.nameHash(name); rc != TPM_RC_SUCCESS {
			return rc.Param(i + 1)
		}
	}
	if len(req)+len(tpm) == 0 {
		s.extend(t, TPM_CC_PolicyTransportSPDM)
	} else {
		// The sizes tell the two Names apart when there is only one (equation 11).
		names := t.hash.Sum(s.hash, nil, u16Bytes(uint16(len(req))), req, u16Bytes(uint16(len(tpm))), tpm)
		s.extend(t, TPM_CC_PolicyTransportSPDM, names)
	}
	s.policy.secureChannel = true
	return TPM_RC_SUCCESS
}
