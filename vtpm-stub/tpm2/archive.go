package tpm2

import "bytes"

// archive moves fields between the state and a saved form. The same function
// describes both directions, so that they cannot differ: with out set fields
// are written, with in set they are read into the same places. version is that
// of what is read; when writing it is what was needed so far, see need.
type archive struct {
	out     *writer
	in      *reader
	version uint16
	err     error // more than that what is read is damaged
	// profile is that of the TPM which reads a sequence; nil: all.
	profile *Profile
}

func (a *archive) loading() bool { return a.in != nil }

// need says that what is being written takes at least this version.
func (a *archive) need(version uint16) {
	if !a.loading() {
		a.version = max(a.version, version)
	}
}

// bad marks what was read as damaged.
func (a *archive) bad() { a.in.fail(TPM_RC_VALUE) }

// stale marks what was read as another run's.
func (a *archive) stale() {
	if a.in.rc == TPM_RC_SUCCESS {
		a.err = ErrStale
	}
	a.bad()
}

func (a *archive) u8(v *uint8) {
	if a.loading() {
		*v = a.in.u8()
	} else {
		a.out.u8(*v)
	}
}

func (a *archive) u16(v *uint16) {
	if a.loading() {
		*v = a.in.u16()
	} else {
		a.out.u16(*v)
	}
}

func (a *archive) u32(v *uint32) {
	if a.loading() {
		*v = a.in.u32()
	} else {
		a.out.u32(*v)
	}
}

func (a *archive) u64(v *uint64) {
	if a.loading() {
		*v = a.in.u64()
	} else {
		a.out.u64(*v)
	}
}

func (a *archive) flag(v *bool) {
	if a.loading() {
		*v = a.in.yesNo()
	} else {
		a.out.yesNo(*v)
	}
}

// fixed moves len(b) octets.
func (a *archive) fixed(b []byte) {
	if a.loading() {
		copy(b, a.in.bytes(len(b)))
	} else {
		a.out.raw(b)
	}
}

// bytes moves at most max octets with their number.
func (a *archive) bytes(b *[]byte, max int) {
	if a.loading() {
		*b = bytes.Clone(a.in.b2(max))
	} else {
		a.out.b2(*b)
	}
}

// count moves the length of a list of at most max elements.
func (a *archive) count(n, max int) int {
	v := uint32(n)
	a.u32(&v)
	if a.loading() && v > uint32(max) {
		a.bad()
		return 0
	}
	if a.loading() && a.in.rc != TPM_RC_SUCCESS {
		return 0
	}
	return int(v)
}

func (a *archive) alg(v *AlgID) {
	x := uint16(*v)
	a.u16(&x)
	*v = AlgID(x)
}

// hashAlg moves an algorithm that must be a hash, or TPM_ALG_NULL if null.
func (a *archive) hashAlg(v *AlgID, null bool) {
	a.alg(v)
	if a.loading() && !hashImplemented(*v) && !(null && *v == TPM_ALG_NULL) {
		a.bad()
	}
}

func (a *archive) handle(v *Handle) {
	x := uint32(*v)
	a.u32(&x)
	*v = Handle(x)
}

func (a *archive) digest(d *digestBuf) {
	b := d.bytes()
	a.bytes(&b, maxDigest)
	if a.loading() {
		d.set(b)
	}
}

func (a *archive) policy(p *policyAuth) {
	a.alg(&p.alg)
	if a.loading() && p.alg == 0 && a.version < 3 {
		p.alg = TPM_ALG_NULL // volatile state from before TPM2_Startup had no algorithm
	}
	if a.loading() && !hashImplemented(p.alg) && p.alg != TPM_ALG_NULL {
		a.bad()
	}
	a.bytes(&p.digest, maxDigest)
	if a.loading() && len(p.digest) != 0 && len(p.digest) != p.alg.DigestSize() {
		a.bad()
	}
}

func (a *archive) ccSet(s *ccSet) {
	for i := range s {
		a.u32(&s[i])
	}
}

// end reports whether everything was read and was sound.
func (a *archive) end() bool { return a.in.end() == TPM_RC_SUCCESS }
