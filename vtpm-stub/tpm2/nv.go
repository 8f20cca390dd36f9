package tpm2

import (
	"encoding/binary"
	"sort"
)

// nvIndex is one NV Index (TPM20-P1 clause 37).
type nvIndex struct {
	pub  TPMS_NV_PUBLIC
	auth []byte
	data []byte // DataSize octets

	name   [2 + maxDigest]byte // Name, valid when nameOK
	nameN  int
	nameOK bool
}

// nvFind returns the index of the handle, nil if it is not defined.
func (t *TPM) nvFind(h Handle) *nvIndex {
	i := t.nvSearch(h)
	if i < len(t.perm.nv) && t.perm.nv[i].pub.Index == h {
		return t.perm.nv[i]
	}
	return nil
}

func (t *TPM) nvSearch(h Handle) int {
	return sort.Search(len(t.perm.nv), func(i int) bool { return t.perm.nv[i].pub.Index >= h })
}

// nvName returns the Name of the index as it is now.
func (t *TPM) nvName(ix *nvIndex) []byte {
	if !ix.nameOK {
		w := writer{b: t.scratch[:0]}
		w.nvPublic(&ix.pub)
		a := ix.pub.NameAlg
		ix.name[0], ix.name[1] = byte(a>>8), byte(a)
		ix.nameN = len(t.hash.Sum(a, ix.name[:2], w.b))
		ix.nameOK = true
	}
	return ix.name[:ix.nameN]
}

// nvSetAttrs changes attributes of an index. What is not orderly is permanent.
func (t *TPM) nvSetAttrs(ix *nvIndex, set, clear TPMA_NV) {
	a := ix.pub.Attributes&^clear | set
	if a == ix.pub.Attributes {
		return
	}
	ix.pub.Attributes = a
	ix.nameOK = false
	t.nvChanged(ix)
}

// nvChanged says that attributes or data of an index were changed. Data of
// orderly indices reach NV at Shutdown, others at once.
func (t *TPM) nvChanged(ix *nvIndex) {
	if ix.pub.Attributes.has(nvOrderly) {
		t.clearOrderly()
		return
	}
	t.touch()
}

// nvWrite changes data at offset, which must be in range, and SETs WRITTEN.
func (t *TPM) nvWrite(ix *nvIndex, offset int, data []byte) {
	first := !ix.pub.Attributes.has(nvWritten)
	if first {
		ix.blank() // an older program left what was in an index that lost WRITTEN
	}
	copy(ix.data[offset:], data)
	t.nvSetAttrs(ix, nvWritten, 0)
	t.nvChanged(ix)
	if first && ix.pub.Attributes.has(nvOrderly) {
		t.touch()
	}
}

// nvUint64 returns the value of a counter, bits or PIN index.
func nvUint64(ix *nvIndex) uint64 { return binary.BigEndian.Uint64(ix.data) }

// nvUsed returns the octets of NV in use.
func (t *TPM) nvUsed() int {
	n := 0
	for _, ix := range t.perm.nv {
		n += nvOverhead + len(ix.data) + len(ix.auth) + len(ix.pub.AuthPolicy)
	}
	for _, o := range t.perm.objects {
		n += nvObjectCost(o)
	}
	return n
}

// nvOverhead is what an index costs beside its data, auth and policy.
const nvOverhead = 32

func nvObjectCost(o *object) int {
	return 128 + len(o.pub.Unique) + len(o.pub.AuthPolicy) + len(o.pub.X) + len(o.pub.Y) +
		len(o.sens.Auth) + len(o.sens.Seed) + len(o.sens.Sensitive) + len(o.name) + len(o.qname)
}

// nvAdd defines an index; the handle must be free. Errors: TPM_RC_NV_SPACE.
func (t *TPM) nvAdd(ix *nvIndex) RC {
	need := nvOverhead + len(ix.data) + len(ix.auth) + len(ix.pub.AuthPolicy)
	if len(t.perm.nv) >= maxNVIndices || t.nvUsed()+need > maxNVBytes {
		return TPM_RC_NV_SPACE
	}
	i := t.nvSearch(ix.pub.Index)
	t.perm.nv = append(t.perm.nv, nil)
	copy(t.perm.nv[i+1:], t.perm.nv[i:])
	t.perm.nv[i] = ix
	t.touch()
	return TPM_RC_SUCCESS
}

// nvRemove undefines an index, which must be defined. The value of a counter
// is kept: no later counter starts below it (TPM20-P1 section 37.2.4).
func (t *TPM) nvRemove(ix *nvIndex) {
	if ix.pub.Attributes.nt() == TPM_NT_COUNTER && ix.pub.Attributes.has(nvWritten) {
		t.perm.maxCounter = max(t.perm.maxCounter, nvUint64(ix))
	}
	i := t.nvSearch(ix.pub.Index)
	clear(ix.data)
	clear(ix.auth)
	t.perm.nv = append(t.perm.nv[:i], t.perm.nv[i+1:]...)
	t.touch()
}

// nvDrop undefines all indices that match.
func (t *TPM) nvDrop(match func(ix *nvIndex) bool) {
	for i := len(t.perm.nv) - 1; i >= 0; i-- {
		if match(t.perm.nv[i]) {
			t.nvRemove(t.perm.nv[i])
		}
	}
}

// nvStartup applies what a start does to indices. disorderly: there was no Shutdown
// (TPM20-P3 section 9.3.1, P1 37.2.4).
func (t *TPM) nvStartup(kind startKind, disorderly bool) {
	for _, ix := range t.perm.nv {
		counter := ix.pub.Attributes.nt() == TPM_NT_COUNTER
		if disorderly && counter && ix.pub.Attributes.has(nvOrderly) {
			t.nvAdvance(ix)
		}
		if kind == tpmResume {
			continue
		}
		a := ix.pub.Attributes
		if !counter && (a.has(nvClearStClear) || kind == tpmReset && a.has(nvOrderly)) {
			t.nvUnwrite(ix)
		}
		t.nvUnlock(ix)
	}
}

// nvUnlock ends the locks of an index that TPM Reset and Restart end. The write lock of an index
// with WRITEDEFINE lasts as long as it is written.
func (t *TPM) nvUnlock(ix *nvIndex) {
	var off TPMA_NV
	a := ix.pub.Attributes
	if a.has(nvReadStClear) {
		off |= nvReadLocked
	}
	if !a.has(nvWriteDefine) || !a.has(nvWritten) {
		off |= nvWriteLocked
	}
	t.nvSetAttrs(ix, 0, off)
}

// nvUnwrite makes an index one that was never written, its data too.
func (t *TPM) nvUnwrite(ix *nvIndex) {
	ix.blank()
	t.nvSetAttrs(ix, 0, nvWritten)
}

// blank gives the data the value that they have before the first write, which need not cover all
// of them (TPM20-P1 section 37.2.6.2).
func (ix *nvIndex) blank() {
	clear(ix.data)
	if ix.pub.Attributes.nt() != TPM_NT_ORDINARY {
		return
	}
	for i := range ix.data {
		ix.data[i] = 0xFF
	}
}

// nvAdvance moves an orderly counter past every value that it can have shown before a power cut
// (TPM20-P1 section 37.2.4.3).
func (t *TPM) nvAdvance(ix *nvIndex) {
	if ix.pub.Attributes.has(nvWritten) {
		binary.BigEndian.PutUint64(ix.data, nvUint64(ix)|maxOrderlyCount)
		t.touch()
	}
}

// nvReadAccess checks that a command may read the index when authorized by
// authHandle (TPM20-P3 section 31.1). The authorization itself was checked by
// the dispatcher.
func (t *TPM) nvReadAccess(authHandle Handle, ix *nvIndex) RC {
	a := ix.pub.Attributes
	if a.has(nvReadLocked) {
		return TPM_RC_NV_LOCKED
	}
	switch {
	case authHandle == TPM_RH_OWNER && !a.has(nvOwnerRead),
		authHandle == TPM_RH_PLATFORM && !a.has(nvPPRead),
		authHandle.Type() == TPM_HT_NV_INDEX && authHandle != ix.pub.Index:
		return TPM_RC_NV_AUTHORIZATION
	}
	if !a.has(nvWritten) {
		return TPM_RC_NV_UNINITIALIZED
	}
	return TPM_RC_SUCCESS
}

// nvWriteAccess is nvReadAccess for commands that change the data.
func (t *TPM) nvWriteAccess(authHandle Handle, ix *nvIndex) RC {
	a := ix.pub.Attributes
	if a.has(nvWriteLocked) {
		return TPM_RC_NV_LOCKED
	}
	switch {
	case authHandle == TPM_RH_OWNER && !a.has(nvOwnerWrite),
		authHandle == TPM_RH_PLATFORM && !a.has(nvPPWrite),
		authHandle.Type() == TPM_HT_NV_INDEX && authHandle != ix.pub.Index:
		return TPM_RC_NV_AUTHORIZATION
	}
	return TPM_RC_SUCCESS
}
