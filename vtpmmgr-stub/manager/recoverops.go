package manager

import (
	"bytes"
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

// recoveryBox finds the root secret's recovery box and the key that it is for, on
// an open store or on the disk of a degraded manager.
func (m *Manager) recoveryBox() (k keyFile, err error) {
	var payload []byte
	switch {
	case m.store != nil:
		payload = m.store.KeyArea()
	case m.c.Disk == nil:
		return k, m.c.DiskErr
	default:
		p, err := store.Probe(m.c.Disk)
		if err != nil {
			return k, err
		}
		if p.Birth {
			return k, errNoRecovery
		}
		payload = p.Areas[0].Payload
	}
	if k, err = parseKeyFile(payload); err == nil && len(k.recovery) == 0 {
		err = errNoRecovery
	}
	return k, err
}

// adminRecovery gives out what the recovery key has to answer. The session's key
// is shown on the console as well, whence the operator takes it: what arrives at the
// recovery key came through domain 0 and over who knows what.
func (m *Manager) adminRecovery(_ *Request, _ proto.Empty) (any, error) {
	if m.admin.keys.session == nil {
		key, err := ecdh.P256().GenerateKey(m.c.Rand)
		if err != nil {
			return nil, err
		}
		m.admin.keys.session = key
	}
	out := proto.RecoveryInfo{Session: m.admin.keys.session.PublicKey().Bytes()}
	m.logf("recovery: this manager's session key is %s; vtpmctl recovery answer --session asks for it", Fingerprint(out.Session))
	k, err := m.recoveryBox()
	if err == nil {
		out.Box, out.Key = k.recovery, k.key
	}
	if m.store != nil {
		out.Manager = m.store.ID()
		m.quoteSession(&out)
		return out, nil
	}
	return out, err
}

// quoteSession has the attestation key vouch for the session key: for who has
// enrolled it, that is as good as the console. A degraded manager has no such key.
func (m *Manager) quoteSession(out *proto.RecoveryInfo) {
	a, err := m.attester()
	if err != nil {
		m.logf("recovery: no quote of the session key: %v", err)
		return
	}
	want := proto.SessionQualifying(out.Session)
	q, err := a.hw.Quote(a.keys, a.auth, want[:], m.c.PCRs)
	if err != nil {
		m.logf("recovery: no quote of the session key: %v", err)
		return
	}
	out.Quote, out.Signature = q.Attest, q.Signature
}

// adminRecover takes the root secret back from the recovery key: to read another
// manager's backup, or to open a store that this hardware TPM does not open.
func (m *Manager) adminRecover(req *Request, in proto.Recover) (any, error) {
	key := m.admin.keys.session
	if key == nil {
		return nil, errRecovery
	}
	if !in.Backup {
		if err := m.isRecoveryKey(in.Key); err != nil {
			return nil, err
		}
	}
	plain, err := openFrom(key, in.Key, in.Box)
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
		return m.recoverBackup(req, secret, in.Key)
	}
	if m.degraded == nil || m.store != nil {
		return nil, fmt.Errorf("%w: the store is open", errExists)
	}
	if err := m.recoverStore(secret, in.Key); err != nil {
		m.logf("recovery failed: %v", err)
		m.store = nil
		return nil, err
	}
	m.logf("store recovered with recovery key %s; it is bound to this hardware TPM and its present state now, and serves again", Fingerprint(in.Key))
	m.eventFor(EventRestored, req, secret.manager, "store recovered with the recovery key; older copies of its disk could not be told apart")
	return proto.Empty{}, nil
}

func (m *Manager) recoverBackup(req *Request, secret rootSecret, key []byte) (any, error) {
	box, err := m.backupBox(secret)
	if err != nil {
		return nil, err
	}
	m.admin.keys.backup, m.admin.keys.from = box, secret.manager
	m.eventFor(EventRestored, req, secret.manager, "backups of that manager can be restored now: opened with recovery key "+Fingerprint(key))
	return proto.Empty{}, nil
}

// isRecoveryKey: an answer is taken from the key that the store is kept for. A
// store of the first version does not name it; its operator has to say that it is
// to be taken on trust.
func (m *Manager) isRecoveryKey(key []byte) error {
	k, err := m.recoveryBox()
	switch {
	case err != nil:
		return err
	case len(k.key) > 0 && bytes.Equal(k.key, key):
		return nil
	case len(k.key) > 0:
		return fmt.Errorf("%w: the store is kept for recovery key %s, and this is the answer of %s", errRecovery, Fingerprint(k.key), Fingerprint(key))
	}
	p, err := store.Probe(m.c.Disk)
	if err != nil {
		return err
	}
	if id := proto.UUID(p.ID); m.c.Adopt != id {
		return fmt.Errorf("%w: the store is of a version that does not name its recovery key; if the disk has never been in other hands, start with adopt=%v", errRecovery, id)
	}
	m.logf("WARNING: adopt=: taking the answer of recovery key %s on trust", Fingerprint(key))
	return nil
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
func (m *Manager) recoverStore(secret rootSecret, key []byte) error {
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
	binding, err := m.c.HW.Seal(secret.encode(), m.rootPolicy(secret.manager, nil))
	if err != nil {
		return err
	}
	k, err := parseKeyFile(m.store.KeyArea())
	if err != nil {
		return err
	}
	k.root, k.key = binding.Append(nil), bytes.Clone(key)
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
