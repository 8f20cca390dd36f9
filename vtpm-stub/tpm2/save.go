package tpm2

import (
	"fmt"
)

// The saved state begins with a header of 16 octets: "XVT2", u8 kind, u8 zero,
// u16 version, u32 length of the whole, u32 zero. What follows is described by
// the archive functions of this file. Integers are big-endian; lists and octet
// strings have their number first. A change of what is written needs a new
// version; old ones must be read for ever (testdata has one of each). What is
// saved has the lowest version that can say it, so that an older program reads
// it if it can, and else names the reason (ErrNewState):
//
//	1  the first
//	2  keys of ML-KEM and ML-DSA, and sequences for them
//	3  volatile state: in every phase, with orderly indices; a TPM in failure mode.
//	   Signing sequences that have got fewer than four octets of their message
//	4  the profile
//	5  more than 64 persistent objects
const (
	stateHeader  = 16
	stateVersion = 5

	kindPermanent = 1
	kindVolatile  = 2
	kindFailed    = 3 // volatile state of a TPM in failure mode
)

// save gives the permanent state to Config.Persist.
func (t *TPM) save() error {
	if t.broken {
		return fmt.Errorf("an earlier save failed")
	}
	if t.cfg.Persist != nil {
		blob, err := t.encodePermanent()
		if err != nil {
			return err
		}
		err = t.cfg.Persist(blob)
		clear(blob)
		if err != nil {
			return err
		}
	}
	t.dirty = false
	return nil
}

// encodePermanent returns the permanent state in a buffer that the next call
// uses again.
func (t *TPM) encodePermanent() ([]byte, error) {
	size := 64*1024 + t.nvUsed() + len(t.perm.nv)*256 + len(t.perm.objects)*1024
	return t.encode(kindPermanent, size, t.archivePermanent)
}

func (t *TPM) encode(kind uint8, size int, f func(*archive)) ([]byte, error) {
	if cap(t.saveBuf) < size {
		t.saveBuf = make([]byte, 0, size)
	}
	w := writer{b: t.saveBuf[:0]}
	w.raw([]byte("XVT2"))
	w.u8(kind)
	w.u8(0)
	w.u16(0)
	w.u32(0)
	w.u32(0)
	a := archive{out: &w, version: 1}
	f(&a)
	if w.full {
		return nil, fmt.Errorf("tpm2: state of kind %d is larger than %d octets", kind, size)
	}
	h := writer{b: w.b[6:6:12]}
	h.u16(a.version)
	h.u32(uint32(len(w.b)))
	return w.b, nil
}

// decode checks the header and runs f over the rest.
func decode(kind uint8, blob []byte, f func(*archive)) error {
	r := reader{b: blob}
	magic := r.bytes(4)
	k, zero, version, length, zero2 := r.u8(), r.u8(), r.u16(), r.u32(), r.u32()
	switch {
	case r.rc != TPM_RC_SUCCESS || string(magic) != "XVT2":
		return ErrState
	case k != kind:
		return ErrWrongKind
	case version > stateVersion:
		return ErrNewState
	case version == 0 || zero != 0 || zero2 != 0 || int64(length) != int64(len(blob)):
		return ErrState
	}
	a := &archive{in: &r, version: version}
	f(a)
	switch {
	case a.err != nil:
		return a.err
	case !a.end():
		return ErrState
	}
	return nil
}

func (t *TPM) decodePermanent(blob []byte) error {
	return decode(kindPermanent, blob, t.archivePermanent)
}

// archivePermanent is the permanent state.
func (t *TPM) archivePermanent(a *archive) {
	p := &t.perm
	for _, h := range []*hierarchy{&t.owner, &t.endorsement, &t.platform} {
		a.fixed(h.seed[:])
		a.fixed(h.proof[:])
	}
	for _, h := range []*hierarchy{&t.owner, &t.endorsement} {
		a.bytes(&h.auth, maxDigest)
		a.policy(&h.policy)
	}
	a.bytes(&p.lockoutAuth, maxDigest)
	a.policy(&p.lockoutPolicy)
	a.flag(&p.disableClear)
	t.archiveDA(a)
	a.u32(&p.resetCount)
	a.u64(&p.totalResetCount)
	a.u32(&p.timeEpoch)
	a.u64(&p.clock)
	a.flag(&p.clockSafe)
	a.u8((*uint8)(&p.orderly))
	a.u8(&p.startupLocality)
	for i := range p.pcrAlloc {
		a.u32(&p.pcrAlloc[i])
		a.u32(&p.pcrAllocNext[i])
	}
	a.policy(&p.pcrPolicy)
	a.u32(&p.algorithmSet)
	a.ccSet(&p.ppCommands)
	a.hashAlg(&p.auditAlg, true)
	a.ccSet(&p.auditCmds)
	a.u64(&p.auditCounter)
	a.u64(&p.maxCounter)
	t.archiveNV(a)
	t.archivePersistent(a)
	if p.orderly == orderlyState {
		t.archiveStateReset(a)
		t.archiveStateClear(a, t.savedACT)
	}
	archiveProfile(a, &t.profile)
	if a.loading() && (p.orderly > orderlyState || p.startupLocality > 4) {
		a.bad()
	}
}

func (t *TPM) archiveDA(a *archive) {
	p := &t.perm
	a.u32(&p.failedTries)
	a.u32(&p.maxTries)
	a.u32(&p.recoveryTime)
	a.u32(&p.lockoutRecovery)
	a.flag(&p.lockoutAuthBad)
}

func (t *TPM) archiveNV(a *archive) {
	n := a.count(len(t.perm.nv), maxNVIndices)
	if a.loading() {
		t.perm.nv = nil
	}
	for i := range n {
		if a.loading() {
			if a.in.rc != TPM_RC_SUCCESS {
				return
			}
			t.perm.nv = append(t.perm.nv, new(nvIndex))
		}
		archiveIndex(a, t.perm.nv[i])
		if a.loading() && i > 0 && t.perm.nv[i].pub.Index <= t.perm.nv[i-1].pub.Index {
			a.bad()
		}
	}
}

func archiveIndex(a *archive, ix *nvIndex) {
	if a.loading() {
		p := a.in.nvPublic()
		ix.pub = p.clone()
	} else {
		a.out.nvPublic(&ix.pub)
	}
	a.bytes(&ix.auth, maxDigest)
	a.bytes(&ix.data, maxNVIndex)
	if a.loading() {
		nt := ix.pub.Attributes.nt()
		fixed8 := nt == TPM_NT_COUNTER || nt == TPM_NT_BITS || nt == TPM_NT_PIN_FAIL || nt == TPM_NT_PIN_PASS
		if len(ix.data) != int(ix.pub.DataSize) || fixed8 && len(ix.data) != 8 {
			a.bad()
		}
	}
}

func (t *TPM) archivePersistent(a *archive) {
	if len(t.perm.objects) > maxPersistentFormer {
		a.need(5)
	}
	n := a.count(len(t.perm.objects), maxPersistent)
	if a.loading() {
		t.perm.objects = nil
	}
	for i := range n {
		if a.loading() {
			if a.in.rc != TPM_RC_SUCCESS {
				return
			}
			t.perm.objects = append(t.perm.objects, new(object))
		}
		o := t.perm.objects[i]
		archiveObject(a, o)
		if a.loading() && (o.handle.Type() != TPM_HT_PERSISTENT || o.seq != nil ||
			i > 0 && o.handle <= t.perm.objects[i-1].handle) {
			a.bad()
		}
	}
}

// archiveStateReset is what Shutdown(STATE) keeps over TPM Restart and Resume.
func (t *TPM) archiveStateReset(a *archive) {
	s := &t.sr
	a.u32(&s.clearCount)
	a.u32(&s.restartCount)
	a.u32(&s.pcrCounter)
	a.u64(&s.contextCounter)
	a.u64(&s.objectCounter)
	a.bytes(&s.auditDigest, maxDigest)
	a.u64(&s.commitCounter)
	a.fixed(s.commitNonce[:])
	a.fixed(s.commitArray[:])
	a.fixed(t.null.seed[:])
	a.fixed(t.null.proof[:])
	for i := range t.ram.sessions {
		sl := &t.ram.sessions[i]
		a.u64(&sl.contextID)
		a.u8(&sl.kind)
	}
}

// archiveStateClear is what Shutdown(STATE) keeps over TPM Resume. left says what is written of
// a timer.
func (t *TPM) archiveStateClear(a *archive, left func(*act) uint64) {
	s := &t.sc
	for _, h := range []*hierarchy{&t.owner, &t.endorsement, &t.platform} {
		a.flag(&h.enabled)
	}
	a.flag(&s.phEnableNV)
	a.flag(&s.readOnly)
	a.bytes(&t.platform.auth, maxDigest)
	a.policy(&t.platform.policy)
	for b := range s.pcr {
		for n := range s.pcr[b] {
			a.fixed(s.pcr[b][n][:hashAlgs[b].DigestSize()])
		}
	}
	a.bytes(&s.pcrAuth, maxDigest)
	for i := range s.act {
		archiveACT(a, &s.act[i], left(&s.act[i]))
	}
}
