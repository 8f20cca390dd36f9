package tpm2

import "encoding/binary"

// reader is a cursor over foreign bytes: the parameters of a command, a saved
// context or a state blob. The first failure sticks; after it every method
// returns zero values. Byte slices it returns alias the input.
type reader struct {
	b   []byte // what is left
	rc  RC     // first failure
	num int    // number of the parameter being read; 0 when not counting

	profile *Profile // what is offered; nil: all that is implemented
}

// param says that the next parameter begins. Errors are reported with its number.
func (r *reader) param() *reader {
	r.num++
	return r
}

// fail records the first failure.
func (r *reader) fail(rc RC) {
	if r.rc != TPM_RC_SUCCESS {
		return
	}
	if r.num > 0 {
		rc = rc.Param(r.num)
	}
	r.rc = rc
	r.b = nil
}

// end reports the first failure; bytes left over are one (TPM_RC_SIZE).
func (r *reader) end() RC {
	if r.rc == TPM_RC_SUCCESS && len(r.b) != 0 {
		r.rc = TPM_RC_SIZE
	}
	return r.rc
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) || n < 0 {
		r.fail(TPM_RC_INSUFFICIENT)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() uint8 {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// b2 reads a TPM2B of at most max octets (TPM_RC_SIZE).
func (r *reader) b2(max int) []byte {
	n := int(r.u16())
	if n > max {
		r.fail(TPM_RC_SIZE)
		return nil
	}
	return r.bytes(n)
}

// sub reads the size field of a TPM2B that holds a structure and returns a
// reader of just that structure. The caller ends with r.endSub(&s).
func (r *reader) sub() reader {
	b := r.b2(0xFFFF)
	return reader{b: b, num: r.num, rc: r.rc, profile: r.profile}
}

// endSub takes over the outcome of a reader made by sub. Left-over bytes in
// the sized structure are TPM_RC_SIZE.
func (r *reader) endSub(s *reader) {
	if s.rc == TPM_RC_SUCCESS && len(s.b) != 0 {
		s.fail(TPM_RC_SIZE)
	}
	if s.rc != TPM_RC_SUCCESS {
		r.fail(s.rc)
	}
}

// yesNo reads a TPMI_YES_NO.
func (r *reader) yesNo() bool {
	switch r.u8() {
	case 0:
		return false
	case 1:
		return true
	}
	r.fail(TPM_RC_VALUE)
	return false
}

func (r *reader) handle() Handle { return Handle(r.u32()) }

func (r *reader) alg() AlgID { return AlgID(r.u16()) }

// hash reads a TPMI_ALG_HASH; null says that TPM_ALG_NULL is allowed ("+").
func (r *reader) hash(null bool) AlgID {
	a := r.alg()
	if !r.profile.hash(a) && !(null && a == TPM_ALG_NULL) {
		r.fail(TPM_RC_HASH)
	}
	return a
}

// digest reads a TPM2B_DIGEST; TPM2B_NONCE, TPM2B_AUTH and TPM2B_OPERAND are
// the same.
func (r *reader) digest() []byte { return r.b2(maxDigest) }

// data reads a TPM2B_DATA, whose limit is the size of a TPMT_HA.
func (r *reader) data() []byte { return r.b2(maxDigest + 2) }

// name reads a TPM2B_NAME, whose limit is the size of a TPMT_HA.
func (r *reader) name() []byte { return r.b2(maxDigest + 2) }

// maxBuffer reads a TPM2B_MAX_BUFFER.
func (r *reader) maxBuffer() []byte { return r.b2(maxDigestBuffer) }

// hierarchy reads a TPMI_RH_HIERARCHY; null says that TPM_RH_NULL is allowed.
func (r *reader) hierarchy(null bool) Handle {
	h := r.handle()
	switch {
	case h == TPM_RH_OWNER, h == TPM_RH_PLATFORM, h == TPM_RH_ENDORSEMENT:
	case h == TPM_RH_NULL && null:
	default:
		r.fail(TPM_RC_VALUE)
	}
	return h
}
