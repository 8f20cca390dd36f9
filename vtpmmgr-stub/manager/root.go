package manager

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// The root's policy lives in the key area, in the plain, because it is needed
// before anything can be decrypted. Its sequence number lives in the store,
// where it cannot be altered.

// kindMeta are single values of the manager itself.
const (
	kindMeta     = 'm'
	metaRootSq   = 1
	metaCA       = 2 // certification key (attest.go)
	metaRecovery = 3 // number of the recovery key
	metaOwner    = 4 // authority that has provisioned the store, as authority= names it
)

func metaKey(n byte) store.Key { return store.MakeKey(kindMeta, [16]byte{15: n}) }

func (m *Manager) rootSequence() (uint64, error) { return m.metaNumber(metaRootSq) }

// metaNumber reads a number, 0 if there is none yet.
func (m *Manager) metaNumber(n byte) (uint64, error) {
	b, err := m.store.Get(metaKey(n))
	if err != nil || b == nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("the manager's number %d is malformed", n)
	}
	return binary.BigEndian.Uint64(b), nil
}

// rootBinding is the binding in force.
func (m *Manager) rootBinding() (keyFile, *hwtpm.Binding, error) {
	k, err := parseKeyFile(m.store.KeyArea())
	if err != nil {
		return k, nil, err
	}
	b, err := hwtpm.ParseBinding(k.root)
	return k, b, err
}

// provision seals the root anew, under the authority's policy in place of the
// present PCRs, and keeps the root secret for the recovery key, if one is given.
func (m *Manager) provision(public, list, recovery []byte) error {
	sequence, err := m.rootSequence()
	if err != nil {
		return err
	}
	k, old, err := m.rootBinding()
	if err != nil {
		return err
	}
	if err := m.mayProvision(old, public, recovery); err != nil {
		return err
	}
	l, err := checkList(list, public, proto.UUID{}, sequence)
	if err != nil {
		return err
	}
	binding, err := m.c.HW.Seal(m.secret.encode(), m.rootPolicy(m.store.ID(), &hwtpm.Authority{
		Public: bytes.Clone(public), Ref: hwtpm.PolicyRef(proto.UUID{}), Approvals: l.Approvals}))
	if err != nil {
		return err
	}
	k.root = binding.Append(nil)
	if len(recovery) > 0 {
		if err := m.boxFor(&k, recovery); err != nil {
			return err
		}
	}
	owner := authorityHash32(public)
	if err := m.store.Put(metaKey(metaOwner), owner[:]); err != nil {
		return err
	}
	return m.replaceRoot(k, l.Sequence, func() {
		if err := m.loadDefault(); err != nil {
			m.logf("opening the default group: %v", err)
		}
	})
}

// isOwned reports whether the store has been provisioned by the authority that the
// command line names, if it names one. A recovery takes the root's policy away, and
// not this. A store that was provisioned before this was noted, is noted now.
func (m *Manager) isOwned() (bool, error) {
	if m.c.Authority == [32]byte{} {
		return true, nil
	}
	_, b, err := m.rootBinding()
	if err != nil {
		return false, err
	}
	owner, err := m.store.Get(metaKey(metaOwner))
	if err != nil || bytes.Equal(owner, m.c.Authority[:]) {
		return err == nil, err
	}
	if b.Auth == nil || m.isAuthority(b.Auth.Public) != nil {
		return false, nil
	}
	return true, m.store.Put(metaKey(metaOwner), m.c.Authority[:])
}

// mayProvision: a root that has an authority keeps it, and gets another recovery
// key only with its word. The first one is the operator's to give, who could as
// well make a new store.
func (m *Manager) mayProvision(old *hwtpm.Binding, public, recovery []byte) error {
	switch {
	case old.Auth == nil:
		return m.isAuthority(public)
	case !bytes.Equal(old.Auth.Public, public):
		return fmt.Errorf("%w: the root has another authority already", errGroupExists)
	case len(recovery) > 0:
		return fmt.Errorf("%w: the root is provisioned; another recovery key takes its authority's word (vtpmctl recovery replace)", errGroupExists)
	}
	return nil
}

// boxFor closes the root secret into a box for a recovery key.
func (m *Manager) boxFor(k *keyFile, recovery []byte) (err error) {
	k.key = bytes.Clone(recovery)
	k.recovery, err = sealTo(m.c.Rand, recovery, m.secret.encode())
	return err
}

// replaceRecovery gives the root another recovery key. The former one is out of
// the key area; copies of the disk from before still have its box.
func (m *Manager) replaceRecovery(statement []byte) (*hwtpm.RecoveryKey, error) {
	k, b, err := m.rootBinding()
	if err != nil {
		return nil, err
	}
	if b.Auth == nil {
		return nil, errUnprovided
	}
	s, err := hwtpm.ParseRecoveryKey(statement)
	if err != nil {
		return nil, err
	}
	if err := hwtpm.VerifyMessage(b.Auth.Public, s.Message(), s.Signature); err != nil {
		return nil, err
	}
	last, err := m.metaNumber(metaRecovery)
	switch {
	case err != nil:
		return nil, err
	case s.Manager != m.store.ID():
		return nil, fmt.Errorf("%w: it is for manager %v", hwtpm.ErrPolicy, s.Manager)
	case s.Number <= last:
		return nil, fmt.Errorf("%w (number %d, in force %d)", errStale, s.Number, last)
	}
	if err := m.boxFor(&k, s.Public); err != nil {
		return nil, err
	}
	if err := m.store.SetKeyArea(k.encode()); err != nil {
		return nil, err
	}
	if err := m.store.Put(metaKey(metaRecovery), binary.BigEndian.AppendUint64(nil, s.Number)); err != nil {
		return nil, err
	}
	return s, m.then(func() {})
}

func (m *Manager) replaceRoot(k keyFile, sequence uint64, then func()) error {
	if err := m.store.SetKeyArea(k.encode()); err != nil {
		return err
	}
	if err := m.store.Put(metaKey(metaRootSq), binary.BigEndian.AppendUint64(nil, sequence)); err != nil {
		return err
	}
	return m.then(then)
}

// applyRootPolicy replaces the states that the root opens in. It works on a
// manager that is degraded because the present state was not approved, too: the
// hardware TPM decides whether the new list opens the root.
func (m *Manager) applyRootPolicy(encoded []byte) error {
	if m.degraded != nil {
		return m.reopen(encoded)
	}
	k, b, err := m.rootBinding()
	if err != nil {
		return err
	}
	if b.Auth == nil {
		return errUnprovided
	}
	sequence, err := m.rootSequence()
	if err != nil {
		return err
	}
	l, err := checkList(encoded, b.Auth.Public, proto.UUID{}, sequence)
	if err != nil {
		return err
	}
	b.Auth.Approvals = l.Approvals
	k.root = b.Append(nil)
	return m.replaceRoot(k, l.Sequence, func() {})
}

// reopen starts a degraded manager with a newer policy list.
func (m *Manager) reopen(encoded []byte) error {
	if !errors.Is(m.degraded, hwtpm.ErrPCRMismatch) || m.store != nil {
		return fmt.Errorf("a policy does not help here: %w", m.degraded)
	}
	probed, err := store.Probe(m.c.Disk)
	if err != nil {
		return err
	}
	for i := range probed.Areas {
		if err = m.reopenWith(probed, probed.Areas[i].Payload, encoded); err == nil {
			return nil
		}
	}
	return err
}

func (m *Manager) reopenWith(probed *store.Probed, payload, encoded []byte) error {
	k, err := parseKeyFile(payload)
	if err != nil {
		return err
	}
	b, err := hwtpm.ParseBinding(k.root)
	if err != nil {
		return err
	}
	if b.Auth == nil {
		return errUnprovided
	}
	l, err := checkList(encoded, b.Auth.Public, proto.UUID{}, 0)
	if err != nil {
		return err
	}
	b.Auth.Approvals = l.Approvals
	k.root = b.Append(nil)
	if err := m.unsealArea(probed.ID, k.encode()); err != nil {
		return err
	}
	anchor, err := m.c.HW.Anchor()
	if err != nil {
		return err
	}
	if err := m.openUnsealed(probed, anchor); err != nil {
		m.store = nil
		return err
	}
	sequence, err := m.rootSequence()
	if err == nil && l.Sequence <= sequence {
		err = fmt.Errorf("%w (list %d, in force %d)", errStale, l.Sequence, sequence)
	}
	if err != nil {
		m.store = nil
		return err
	}
	m.degraded = nil
	if err := m.replaceRoot(k, l.Sequence, func() {}); err != nil {
		return err
	}
	return m.adopt()
}
