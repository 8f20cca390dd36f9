package tpm2

import "encoding/binary"

// cmdGetCommandAuditDigest is TPM2_GetCommandAuditDigest (TPM20-P3 section 18.6). Signed
// by a key it ends the digest; the next audited command begins a new one.
//
//	TPM_RC_KEY     H2  the key is not a signing key
//	TPM_RC_SCHEME  P2  the scheme is not the key's, or none is named
//	TPM_RC_RANGE, TPM_RC_VALUE  P2  ECDAA: the count was not given out, or was used
func cmdGetCommandAuditDigest(t *TPM, c *call) RC {
	extra := c.in.param().data()
	in := c.in.param().sigScheme()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	a, rc := newAttestation(c, TPM_ST_ATTEST_COMMAND_AUDIT, 1, 2, &in, extra)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	commands := t.auditedDigest()
	rc = t.answer(c, &a, func(w *writer) {
		w.u64(t.perm.auditCounter)
		w.alg(t.perm.auditAlg)
		w.b2(t.sr.auditDigest)
		w.b2(commands)
	})
	if rc == TPM_RC_SUCCESS && a.key != nil {
		t.resetCommandAudit()
	}
	return rc
}

// auditedDigest is the digest of the codes of the audited commands, in ascending order.
func (t *TPM) auditedDigest() []byte {
	if t.perm.auditAlg == TPM_ALG_NULL {
		return nil
	}
	var codes []byte
	for _, d := range t.commands {
		if d != nil && t.perm.auditCmds.has(d.cc) {
			codes = binary.BigEndian.AppendUint32(codes, uint32(d.cc))
		}
	}
	return t.hash.Sum(t.perm.auditAlg, nil, codes)
}

func (t *TPM) resetCommandAudit() {
	if len(t.sr.auditDigest) != 0 {
		t.sr.auditDigest = nil
		t.clearOrderly()
	}
}
