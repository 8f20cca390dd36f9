package tpm2

import "bytes"

// cmdNVDefineSpace is TPM2_NV_DefineSpace (TPM20-P3 section 31.3).
//
//	TPM_RC_ATTRIBUTES  P2  attributes contradict each other or the authorization
//	TPM_RC_NV_DEFINED      the index exists
//	TPM_RC_NV_SPACE        no room in NV
//	TPM_RC_SIZE        P1  auth is longer than the digest of nameAlg
//	TPM_RC_SIZE        P2  dataSize or authPolicy has the wrong size
func cmdNVDefineSpace(t *TPM, c *call) RC {
	auth := c.in.param().digest()
	pub := c.in.param().nvPublic2B()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	return t.nvDefine(c.handle(0), auth, pub)
}

// nvDefine is shared with TPM2_NV_DefineSpace2.
func (t *TPM) nvDefine(authHandle Handle, auth []byte, pub TPMS_NV_PUBLIC) RC {
	auth = stripZeros(auth)
	if len(auth) > pub.NameAlg.DigestSize() {
		return TPM_RC_SIZE.Param(1)
	}
	if rc := t.checkNVPublic(authHandle, &pub); rc != TPM_RC_SUCCESS {
		return rc.Param(2)
	}
	if t.nvFind(pub.Index) != nil {
		return TPM_RC_NV_DEFINED
	}
	ix := &nvIndex{pub: pub.clone(), auth: bytes.Clone(auth), data: make([]byte, pub.DataSize)}
	ix.blank()
	return t.nvAdd(ix)
}

// checkNVPublic checks the public area of a new index.
func (t *TPM) checkNVPublic(authHandle Handle, p *TPMS_NV_PUBLIC) RC {
	a := p.Attributes
	if n := len(p.AuthPolicy); n != 0 && n != p.NameAlg.DigestSize() {
		return TPM_RC_SIZE
	}
	platform := authHandle == TPM_RH_PLATFORM
	switch {
	case a&(nvWritten|nvReadLocked|nvWriteLocked) != 0,
		a&(nvPPRead|nvOwnerRead|nvAuthRead|nvPolicyRead) == 0,
		a&(nvPPWrite|nvOwnerWrite|nvAuthWrite|nvPolicyWrite) == 0,
		a.has(nvPlatformCreate) != platform,
		a.has(nvPolicyDelete) && !platform,
		a.has(nvPolicyDelete) && t.command(TPM_CC_NV_UndefineSpaceSpecial) == nil:
		return TPM_RC_ATTRIBUTES
	}
	return t.checkNVType(p)
}

// checkNVType checks what depends on the type of the index.
func (t *TPM) checkNVType(p *TPMS_NV_PUBLIC) RC {
	a := p.Attributes
	size := 8
	switch a.nt() {
	case TPM_NT_ORDINARY:
		size = int(p.DataSize)
		if a.has(nvWriteAll) && size > maxNVBuffer {
			return TPM_RC_SIZE
		}
	case TPM_NT_COUNTER:
		if a.has(nvClearStClear) || t.command(TPM_CC_NV_Increment) == nil {
			return TPM_RC_ATTRIBUTES
		}
	case TPM_NT_BITS:
		if t.command(TPM_CC_NV_SetBits) == nil {
			return TPM_RC_ATTRIBUTES
		}
	case TPM_NT_EXTEND:
		size = p.NameAlg.DigestSize()
		if t.command(TPM_CC_NV_Extend) == nil {
			return TPM_RC_ATTRIBUTES
		}
	case TPM_NT_PIN_FAIL, TPM_NT_PIN_PASS:
		if a.nt() == TPM_NT_PIN_FAIL && !a.has(nvNoDA) || a.has(nvAuthWrite) ||
			a&(nvPPWrite|nvOwnerWrite|nvPolicyWrite) == 0 {
			return TPM_RC_ATTRIBUTES
		}
	default:
		return TPM_RC_ATTRIBUTES
	}
	if int(p.DataSize) != size {
		return TPM_RC_SIZE
	}
	return TPM_RC_SUCCESS
}
