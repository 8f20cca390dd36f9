package tpm2

import "encoding/binary"

// PIN indices (TPM20-P1 section 37.2.8) hold u32 pinCount, u32 pinLimit.

func pinCount(ix *nvIndex) uint32 { return binary.BigEndian.Uint32(ix.data) }
func pinLimit(ix *nvIndex) uint32 { return binary.BigEndian.Uint32(ix.data[4:]) }

func setPINCount(ix *nvIndex, n uint32) { binary.BigEndian.PutUint32(ix.data, n) }

func isPIN(e *entity) bool {
	if e.nv == nil {
		return false
	}
	nt := e.nv.pub.Attributes.nt()
	return nt == TPM_NT_PIN_FAIL || nt == TPM_NT_PIN_PASS
}

// pinAvailable reports whether the authValue of a PIN index may be tried.
func pinAvailable(e *entity) RC {
	if isPIN(e) && (!e.nv.pub.Attributes.has(nvWritten) || pinCount(e.nv) >= pinLimit(e.nv)) {
		return TPM_RC_AUTH_UNAVAILABLE
	}
	return TPM_RC_SUCCESS
}

// countPIN counts a successful use of the authValue of a PIN index.
func (t *TPM) countPIN(a *authSession) {
	if a.entity < 0 || !isPIN(&t.call.h[a.entity]) {
		return
	}
	if a.s != nil && a.s.isPolicy() && !a.s.policy.authValue && !a.s.policy.password {
		return
	}
	ix := t.call.h[a.entity].nv
	n := uint32(0) // PIN fail: success clears the count
	if ix.pub.Attributes.nt() == TPM_NT_PIN_PASS {
		n = pinCount(ix) + 1
	}
	if n != pinCount(ix) {
		setPINCount(ix, n)
		t.nvChanged(ix)
	}
}

// takesPIN reports whether the command wants the authValue of a PIN index and not its data. What
// is asked of the index then is pinAvailable, not TPMA_NV_AUTHREAD (TPM20-P3 section 23.4).
func (t *TPM) takesPIN(e *entity) bool {
	return isPIN(e) && t.call.def.cc == TPM_CC_PolicySecret
}

// spillsPIN reports whether a policy session that does without the authValue of a PIN index would
// have it in the key of a parameter (TPM20-P1 section 21.1, note 1): one response would do to search
// for it outside of the TPM, and each parameter would tell of a guess, neither counted. Who may
// write the index is let do it, since he can set the count himself.
func (t *TPM) spillsPIN(a *authSession, e *entity) bool {
	return isPIN(e) && a.value.n != 0 && a.attrs&(sessDecrypt|sessEncrypt) != 0 && t.call.def.flags&fNVWrite == 0
}
