package manager

import (
	"crypto/ecdh"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// recoveryState is the recovery of this run.
type recoveryState struct {
	session *ecdh.PrivateKey
	backup  *store.Box // of another manager
	from    proto.UUID // that manager
}

var errNoRecovery = errors.New("no recovery key was given when the manager was provisioned")

// recoveryBox finds the root secret's recovery box, on an open store or on the
// disk of a degraded manager.
func (m *Manager) recoveryBox() ([]byte, error) {
	var payload []byte
	switch {
	case m.store != nil:
		payload = m.store.KeyArea()
	case m.c.Disk == nil:
		return nil, m.c.DiskErr
	default:
		p, err := store.Probe(m.c.Disk)
		if err != nil {
			return nil, err
		}
		if p.Birth {
			return nil, errNoRecovery
		}
		payload = p.Areas[0].Payload
	}
	k, err := parseKeyFile(payload)
	if err != nil {
		return nil, err
	}
	if len(k.recovery) == 0 {
		return nil, errNoRecovery
	}
	return k.recovery, nil
}

func (m *Manager) adminRecovery(_ *Request, _ proto.Empty) (any, error) {
	if m.admin.keys.session == nil {
		key, err := ecdh.P256().GenerateKey(m.c.Rand)
		if err != nil {
			return nil, err
		}
		m.admin.keys.session = key
	}
	out := proto.RecoveryInfo{Session: m.admin.keys.session.PublicKey().Bytes()}
	box, err := m.recoveryBox()
	if err == nil {
		out.Box = box
	}
	if m.store != nil {
		out.Manager = m.store.ID()
		return out, nil
	}
	return out, err
}

// adminRecover takes the root secret back from the recovery key: to read another
// manager's backup, or to open a store that this hardware TPM does not open.
func (m *Manager) adminRecover(req *Request, in proto.Recover) (any, error) {
	key := m.admin.keys.session
	if key == nil {
		return nil, errRecovery
	}
	plain, err := openWith(key, in.Box, sessionInfo)
	if err != nil {
		return nil, err
	}
	secret, err := parseRoot(plain)
	clear(plain)
	if err != nil {
		return nil, err
	}
	m.admin.keys.session = nil // one use
	if in.Backup {
		box, err := m.backupBox(secret)
		if err != nil {
			return nil, err
		}
		m.admin.keys.backup, m.admin.keys.from = box, secret.manager
		return proto.Empty{}, nil
	}
	if m.degraded == nil || m.store != nil {
		return nil, fmt.Errorf("%w: the store is open", errExists)
	}
	if err := m.recoverStore(secret); err != nil {
		m.logf("recovery failed: %v", err)
		m.store = nil
		return nil, err
	}
	m.logf("store recovered; it is bound to this hardware TPM and its present state now, and serves again")
	m.eventFor(EventRestored, req, secret.manager, "store recovered with the recovery key; older copies of its disk could not be told apart")
	return proto.Empty{}, nil
}

// recoverCounter uses this store's counter if the hardware TPM still has it, and
// then holds the disk against it as every start does. Where it is gone nobody
// can tell whether the disk is the newest.
func (m *Manager) recoverCounter() (err error) {
	m.nv, err = m.c.HW.OpenCounter(m.secret.counter[:])
	switch {
	case err == nil:
		return m.checkCounter()
	case errors.Is(err, hwtpm.ErrCounterMissing), errors.Is(err, hwtpm.ErrCounterReplaced):
		m.logf("recovery: this hardware TPM has no counter of this store: an older copy of the disk cannot be told apart")
		m.nv, err = m.c.HW.MakeCounter(m.secret.counter[:])
	}
	return err
}

// recoverStore binds a store to this hardware TPM: a counter, a root sealed anew
// under the local policy, and the anchor last, so that a cut leaves the recovery
// to be done again.
func (m *Manager) recoverStore(secret rootSecret) error {
	p, err := m.mayRecover(secret)
	if err != nil {
		return err
	}
	m.secret = secret
	if m.store, err = store.Open(m.c.Disk, p, m.storeConfig()); err != nil {
		return err
	}
	if err := m.recoverCounter(); err != nil {
		return err
	}
	if err := m.store.Repair(); err != nil {
		return err
	}
	binding, err := m.c.HW.Seal(secret.encode(), hwtpm.Policy{PCRs: m.c.PCRs})
	if err != nil {
		return err
	}
	k, err := parseKeyFile(m.store.KeyArea())
	if err != nil {
		return err
	}
	k.root = binding.Append(nil)
	if err := m.store.SetKeyArea(k.encode()); err != nil {
		return err
	}
	if err := m.serve(); err != nil {
		return err
	}
	if err := m.c.HW.SetAnchor(hwtpm.Anchor{State: hwtpm.AnchorActive, Manager: secret.manager}); err != nil {
		return err
	}
	m.degraded = nil
	return nil
}

// mayRecover checks that the secret is of this disk, and that the hardware TPM
// does not belong to another store.
func (m *Manager) mayRecover(secret rootSecret) (*store.Probed, error) {
	if m.c.HW == nil {
		return nil, m.c.HWErr
	}
	p, err := store.Probe(m.c.Disk)
	if err != nil {
		return nil, err
	}
	if p.ID != secret.manager {
		return nil, fmt.Errorf("%w: recovery box of manager %v, disk of %v", errRecovery, secret.manager, proto.UUID(p.ID))
	}
	anchor, err := m.c.HW.Anchor()
	if err != nil {
		return nil, err
	}
	if anchor.State == hwtpm.AnchorActive && anchor.Manager != secret.manager && anchor.Manager != m.c.Forget {
		return nil, fmt.Errorf("%w: the hardware TPM belongs to manager %v; give its store up with forget=", ErrOtherManager, proto.UUID(anchor.Manager))
	}
	return p, nil
}
