package tpm2

import "sort"

// object is a loaded key, data object or sequence (TPM20-P1 clause 27).
type object struct {
	handle  Handle
	pub     TPMT_PUBLIC
	sens    TPMT_SENSITIVE
	private bool // sens is present

	name  []byte // Name; empty when nameAlg is TPM_ALG_NULL
	qname []byte // Qualified Name

	hierarchy Handle // TPM_RH_OWNER, _ENDORSEMENT, _PLATFORM or _NULL
	primary   bool   // made from a primary seed
	external  bool   // loaded by TPM2_LoadExternal
	stClear   bool   // stClear of the object or of an ancestor

	seq *sequence // a sequence object; the above is zero then

	// key and publicKey cache what parsing the key costs; never saved.
	key, publicKey any
	// integrity is the HMAC key of a storage key's children, after its first use.
	integrity []byte
}

// auth returns the authValue.
func (o *object) auth() []byte {
	if o.seq != nil {
		return o.seq.auth
	}
	return o.sens.Auth
}

// noDA reports whether failures do not count for dictionary attack protection.
func (o *object) noDA() bool { return o.seq != nil || o.pub.Attributes.has(objNoDA) }

// computeName returns the Name of a public area: nameAlg || H(public). It is
// empty when nameAlg is TPM_ALG_NULL (TPM20-P1 clause 16).
func (t *TPM) computeName(p *TPMT_PUBLIC) []byte {
	if p.NameAlg == TPM_ALG_NULL {
		return nil
	}
	w := writer{b: t.scratch[:0]}
	w.public(p)
	return t.hashName(p.NameAlg, w.b)
}

// maxPublic bounds a marshaled TPMT_PUBLIC.
const maxPublic = 2048

func (t *TPM) hashName(alg AlgID, parts ...[]byte) []byte {
	name := make([]byte, 2, 2+maxDigest)
	name[0], name[1] = byte(alg>>8), byte(alg)
	return t.hash.Sum(alg, name, parts...)
}

// qualifiedName returns H(QN of parent || Name). For a primary object the
// parent's QN is the handle of the hierarchy.
func (t *TPM) qualifiedName(parentQN, name []byte, nameAlg AlgID) []byte {
	if nameAlg == TPM_ALG_NULL {
		return nil
	}
	return t.hashName(nameAlg, parentQN, name)
}

// handleName returns the Name of an entity that has no public area.
func handleName(h Handle) []byte {
	return []byte{byte(h >> 24), byte(h >> 16), byte(h >> 8), byte(h)}
}

// freeObjectSlot reports whether another transient object can be loaded.
// Commands that end with a new object check it first (TPM_RC_OBJECT_MEMORY).
func (t *TPM) freeObjectSlot() bool {
	for _, o := range t.ram.objects {
		if o == nil {
			return true
		}
	}
	return false
}

// addObject puts a transient object into a free slot and gives it a handle.
// Errors: TPM_RC_OBJECT_MEMORY.
func (t *TPM) addObject(o *object) RC {
	for i := range t.ram.objects {
		if t.ram.objects[i] == nil {
			o.handle = TRANSIENT_FIRST + Handle(i)
			t.ram.objects[i] = o
			return TPM_RC_SUCCESS
		}
	}
	return TPM_RC_OBJECT_MEMORY
}

// transient returns the loaded transient object, nil if there is none.
func (t *TPM) transient(h Handle) *object {
	if i := h.index(); h.Type() == TPM_HT_TRANSIENT && i < maxObjects {
		return t.ram.objects[i]
	}
	return nil
}

// flushObject forgets a transient object and reports whether there was one.
func (t *TPM) flushObject(h Handle) bool {
	o := t.transient(h)
	if o == nil {
		return false
	}
	wipeObject(o)
	t.ram.objects[h.index()] = nil
	return true
}

// flushHierarchy forgets the transient objects of a hierarchy. Its sequence
// objects are in the null hierarchy.
func (t *TPM) flushHierarchy(h Handle) {
	for i, o := range t.ram.objects {
		if o != nil && o.hierarchy == h {
			wipeObject(o)
			t.ram.objects[i] = nil
		}
	}
}

func wipeObject(o *object) {
	clear(o.sens.Auth)
	clear(o.sens.Seed)
	clear(o.sens.Sensitive)
	o.key, o.publicKey = nil, nil
	clear(o.integrity)
	o.integrity = nil
	if o.seq != nil {
		clear(o.seq.auth)
	}
}

// persistent returns the persistent object of the handle, nil if there is none.
func (t *TPM) persistent(h Handle) *object {
	i := t.persistentIndex(h)
	if i < len(t.perm.objects) && t.perm.objects[i].handle == h {
		return t.perm.objects[i]
	}
	return nil
}

func (t *TPM) persistentIndex(h Handle) int {
	return sort.Search(len(t.perm.objects), func(i int) bool { return t.perm.objects[i].handle >= h })
}

// addPersistent keeps a copy of o under the handle, which must be free.
// Errors: TPM_RC_NV_SPACE.
func (t *TPM) addPersistent(o *object, h Handle) RC {
	if len(t.perm.objects) >= t.persistentLimit() {
		return TPM_RC_NV_SPACE
	}
	c := *o
	c.handle = h
	c.pub, c.sens = o.pub.clone(), o.sens.clone()
	c.integrity = nil // wiped with o
	if c.pub.isML() {
		c.key = nil // see keepML
	}
	i := t.persistentIndex(h)
	t.perm.objects = append(t.perm.objects, nil)
	copy(t.perm.objects[i+1:], t.perm.objects[i:])
	t.perm.objects[i] = &c
	t.touch()
	return TPM_RC_SUCCESS
}

// removePersistent evicts a persistent object; the handle must be in use.
func (t *TPM) removePersistent(h Handle) {
	i := t.persistentIndex(h)
	wipeObject(t.perm.objects[i])
	t.perm.objects = append(t.perm.objects[:i], t.perm.objects[i+1:]...)
	t.touch()
}

// dropPersistent evicts all persistent objects that match.
func (t *TPM) dropPersistent(match func(o *object) bool) {
	kept := t.perm.objects[:0]
	for _, o := range t.perm.objects {
		if match(o) {
			wipeObject(o)
			t.touch()
			continue
		}
		kept = append(kept, o)
	}
	clear(t.perm.objects[len(kept):])
	t.perm.objects = kept
}
