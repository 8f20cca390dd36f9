package tpm2

import "bytes"

// TPMA_NV (TPM20-P2 section 13.4): attributes of an NV Index.
type TPMA_NV uint32

const (
	nvPPWrite        TPMA_NV = 1 << 0
	nvOwnerWrite     TPMA_NV = 1 << 1
	nvAuthWrite      TPMA_NV = 1 << 2
	nvPolicyWrite    TPMA_NV = 1 << 3
	nvTypeMask       TPMA_NV = 0xF0
	nvPolicyDelete   TPMA_NV = 1 << 10
	nvWriteLocked    TPMA_NV = 1 << 11
	nvWriteAll       TPMA_NV = 1 << 12
	nvWriteDefine    TPMA_NV = 1 << 13
	nvWriteStClear   TPMA_NV = 1 << 14
	nvGlobalLock     TPMA_NV = 1 << 15
	nvPPRead         TPMA_NV = 1 << 16
	nvOwnerRead      TPMA_NV = 1 << 17
	nvAuthRead       TPMA_NV = 1 << 18
	nvPolicyRead     TPMA_NV = 1 << 19
	nvNoDA           TPMA_NV = 1 << 25
	nvOrderly        TPMA_NV = 1 << 26
	nvClearStClear   TPMA_NV = 1 << 27
	nvReadLocked     TPMA_NV = 1 << 28
	nvWritten        TPMA_NV = 1 << 29
	nvPlatformCreate TPMA_NV = 1 << 30
	nvReadStClear    TPMA_NV = 1 << 31

	nvReserved TPMA_NV = 0x3<<8 | 0x1F<<20
)

func (a TPMA_NV) has(m TPMA_NV) bool { return a&m == m }

// nt returns the TPM_NT of the index.
func (a TPMA_NV) nt() uint8 { return uint8(a&nvTypeMask) >> 4 }

// TPMS_NV_PUBLIC (TPM20-P2 section 13.6).
type TPMS_NV_PUBLIC struct {
	Index      Handle
	NameAlg    AlgID
	Attributes TPMA_NV
	AuthPolicy []byte
	DataSize   uint16
}

// nvPublic reads a TPMS_NV_PUBLIC.
func (r *reader) nvPublic() TPMS_NV_PUBLIC {
	p := TPMS_NV_PUBLIC{Index: r.handle()}
	if r.rc == TPM_RC_SUCCESS && p.Index.Type() != TPM_HT_NV_INDEX {
		r.fail(TPM_RC_VALUE)
	}
	p.NameAlg = r.hash(false)
	p.Attributes = TPMA_NV(r.u32())
	if p.Attributes&nvReserved != 0 {
		r.fail(TPM_RC_RESERVED_BITS)
	}
	p.AuthPolicy = r.digest()
	p.DataSize = r.u16()
	if p.DataSize > maxNVIndex {
		r.fail(TPM_RC_SIZE)
	}
	return p
}

// nvPublic2B reads a TPM2B_NV_PUBLIC.
func (r *reader) nvPublic2B() TPMS_NV_PUBLIC {
	s := r.sub()
	if r.rc == TPM_RC_SUCCESS && len(s.b) == 0 {
		r.fail(TPM_RC_SIZE)
	}
	p := s.nvPublic()
	r.endSub(&s)
	return p
}

func (w *writer) nvPublic(p *TPMS_NV_PUBLIC) {
	w.handle(p.Index)
	w.alg(p.NameAlg)
	w.u32(uint32(p.Attributes))
	w.b2(p.AuthPolicy)
	w.u16(p.DataSize)
}

func (w *writer) nvPublic2B(p *TPMS_NV_PUBLIC) {
	m := w.begin2B()
	w.nvPublic(p)
	w.end2B(m)
}

func (p *TPMS_NV_PUBLIC) clone() TPMS_NV_PUBLIC {
	c := *p
	c.AuthPolicy = bytes.Clone(p.AuthPolicy)
	return c
}
