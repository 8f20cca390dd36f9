package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// archivePhase is what version 3 added to volatile state: what a TPM has at moments other than
// between two commands of a running guest.
func (t *TPM) archivePhase(a *archive) {
	epoch := t.perm.timeEpoch
	a.u32(&epoch)
	if a.loading() && epoch != t.perm.timeEpoch {
		a.stale()
	}
	for i := range t.perm.pcrAlloc { // PowerOn has put the next allocation there
		a.u32(&t.perm.pcrAlloc[i])
	}
	a.flag(&t.ram.allocated)
	for i := range t.sc.act {
		a.flag(&t.sc.act[i].set)
	}
	archiveTested(a, &t.ram.testedAlgs)
	t.archiveHashEvent(a)
	t.archiveOrderly(a)
}

func archiveTested(a *archive, list *[]AlgID) {
	n := a.count(len(*list), len(tpmcrypto.SelfTests()))
	if a.loading() {
		*list = make([]AlgID, n)
	}
	for i := range *list {
		a.alg(&(*list)[i])
	}
}

// archiveHashEvent is an event sequence that goes on, and the PCR 0 that one made before Startup.
func (t *TPM) archiveHashEvent(a *archive) {
	r := &t.ram
	a.flag(&r.hashing)
	for i, alg := range hashAlgs {
		used := r.hashEvent[i] != nil
		a.flag(&used)
		if used {
			archiveHash(a, &r.hashEvent[i])
		}
		if a.loading() && used && (a.in.rc != TPM_RC_SUCCESS || !r.hashing || r.hashEvent[i].Alg() != alg) {
			a.bad()
		}
		a.fixed(r.hcrtm[i][:alg.DigestSize()])
	}
}

// orderlyBits are the attributes of an orderly index that change without being saved.
const orderlyBits = nvWritten | nvReadLocked | nvWriteLocked

// archiveOrderly is what orderly indices hold, which Shutdown would save. Nothing is changed
// unless all of it is sound; it comes last.
func (t *TPM) archiveOrderly(a *archive) {
	var list []*nvIndex
	for _, ix := range t.perm.nv {
		if ix.pub.Attributes.has(nvOrderly) {
			list = append(list, ix)
		}
	}
	if n := a.count(len(list), maxNVIndices); n != len(list) {
		a.stale()
		return
	}
	type content struct {
		attrs TPMA_NV
		data  []byte
	}
	now := make([]content, len(list))
	for i, ix := range list {
		h, attrs, data := ix.pub.Index, uint32(ix.pub.Attributes), ix.data
		a.handle(&h)
		a.u32(&attrs)
		a.bytes(&data, maxNVIndex)
		now[i] = content{TPMA_NV(attrs), data}
		if h != ix.pub.Index || (TPMA_NV(attrs)^ix.pub.Attributes)&^orderlyBits != 0 || len(data) != len(ix.data) {
			a.stale()
			return
		}
	}
	if !a.loading() || !a.end() {
		return
	}
	for i, ix := range list {
		ix.pub.Attributes, ix.nameOK = now[i].attrs, false
		ix.data = now[i].data
	}
}
