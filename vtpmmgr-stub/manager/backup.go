package manager

import (
	"bytes"
	"crypto/ecdh"
	"encoding/binary"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// A backup is the vTPMs' records in parts, each sealed under a key that follows
// from the root key. It can be given back to the manager that made it, or to
// another one after a recovery of the first one's root secret. Giving back an
// old record is a rollback; only the administrator can ask for it, and it leaves
// an event.

const (
	backupMagic = "XVTBAK\x00\x01"
	// A backup holds records opened from their groups: a part's entries are
	// uuid | group | u64 saves | u64 created | u8 has record [| 64].
	backupPart = 24 << 10
)

// recoveryState is the recovery of this run.
type recoveryState struct {
	session *ecdh.PrivateKey
	backup  *store.Box // of another manager
	from    proto.UUID // that manager
}

var errNoRecovery = errors.New("no recovery key was given when the manager was provisioned")

func (m *Manager) backupBox(s rootSecret) (*store.Box, error) {
	key, err := store.DeriveKey(s.key[:], "backup")
	if err != nil {
		return nil, err
	}
	return m.keyBox(key)
}

func backupAAD(manager proto.UUID) []byte { return append([]byte("xenvtpm backup 1"), manager[:]...) }

// adminBackup returns the next part. Records of closed groups cannot be opened
// and are left out, which the last event says.
func (m *Manager) adminBackup(req *Request, in proto.BackupRequest) (any, error) {
	from := store.MakeKey(kindVTPM, [16]byte{})
	if len(in.After) != 0 && len(in.After) != 16 {
		return nil, proto.ErrBody
	}
	copy(from[1:], in.After)
	var out proto.BackupPart
	var plain []byte
	skipped, full := 0, false
	serr := m.store.Scan(from, func(k store.Key, b []byte) bool {
		if k[0] != kindVTPM {
			return false
		}
		if len(in.After) != 0 && bytes.Equal(k[1:], in.After) {
			return true
		}
		if full = len(plain) >= backupPart; full {
			return false
		}
		out.After = bytes.Clone(k[1:])
		entry, ok := m.backupEntry(proto.UUID(k[1:]), b)
		if !ok {
			skipped++
		}
		plain = append(plain, entry...)
		return true
	}, func(store.Key, error) { skipped++ })
	if serr != nil {
		return nil, serr
	}
	if !full {
		out.After = nil
	}
	box, err := m.backupBox(m.secret)
	if err != nil {
		return nil, err
	}
	if out.Box, err = box.Seal(nil, plain, backupAAD(m.store.ID())); err != nil {
		return nil, err
	}
	if len(in.After) == 0 {
		out.Header = m.backupHeader()
		m.eventFor(EventBackup, req, proto.UUID{}, "backup begun")
	}
	if skipped > 0 {
		m.eventFor(EventBackup, req, proto.UUID{}, fmt.Sprintf("backup: %d vTPMs left out (group closed or record damaged)", skipped))
	}
	return out, nil
}

func (m *Manager) backupHeader() []byte {
	b := append([]byte(backupMagic), make([]byte, 16)...)
	id := m.store.ID()
	copy(b[len(backupMagic):], id[:])
	k, err := parseKeyFile(m.store.KeyArea())
	if err != nil {
		return b
	}
	return proto.AppendSized(b, k.recovery)
}

func (m *Manager) backupEntry(u proto.UUID, b []byte) ([]byte, bool) {
	v, err := parseVTPM(b)
	if err != nil {
		return nil, false
	}
	out := append(append([]byte(nil), u[:]...), v.group[:]...)
	out = binary.BigEndian.AppendUint64(out, v.saves)
	out = binary.BigEndian.AppendUint64(out, v.created)
	if len(v.sealed) == 0 {
		return append(out, 0), true
	}
	g := m.groups[v.group]
	if g == nil || g.box == nil {
		return nil, false
	}
	out, err = g.box.Open(append(out, 1), v.sealed, recordAAD(u, v.group))
	return out, err == nil
}

// adminRestore puts a part's records back. A group that does not exist here, or
// is closed, stands for the default group.
func (m *Manager) adminRestore(req *Request, in proto.Restore) (any, error) {
	box, from := m.admin.keys.backup, m.admin.keys.from
	if box == nil {
		var err error
		if box, err = m.backupBox(m.secret); err != nil {
			return nil, err
		}
		from = m.store.ID()
	}
	plain, err := box.Open(nil, in.Box, backupAAD(from))
	if err != nil {
		return nil, fmt.Errorf("%w: this part is not of a backup of manager %v", errRecovery, from)
	}
	defer clear(plain)
	var out proto.Restored
	for r := proto.NewReader(plain); r.Len() > 0; {
		kept, err := m.restoreEntry(r, in.Overwrite)
		if err != nil {
			return nil, err
		}
		if kept {
			out.Kept++
		} else {
			out.Restored++
		}
	}
	m.eventFor(EventRestored, req, from, fmt.Sprintf("backup of that manager: %d vTPMs restored, %d kept", out.Restored, out.Kept))
	return out, m.then(func() {})
}

func (m *Manager) restoreEntry(r *proto.Reader, overwrite bool) (kept bool, err error) {
	u := r.UUID()
	v := vtpm{group: r.UUID(), saves: r.U64(), created: r.U64()}
	var rec []byte
	if r.U8() != 0 {
		rec = r.Bytes(len(proto.Record{}))
	}
	if r.Err() != nil {
		return false, r.Err()
	}
	if _, busy := m.open[u]; busy {
		return false, fmt.Errorf("%w: %v", errInUse, u)
	}
	_, ok, err := m.lookup(u)
	if err != nil || ok && !overwrite {
		return ok, err
	}
	g := m.groups[v.group]
	if g == nil || g.box == nil {
		v.group, g = defaultGroup, m.groups[defaultGroup]
	}
	if rec != nil {
		if v.sealed, err = g.box.Seal(nil, rec, recordAAD(u, v.group)); err != nil {
			return false, err
		}
	}
	return false, m.put(u, v)
}

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
	p, err := store.Probe(m.c.Disk)
	if err != nil {
		return err
	}
	if p.ID != secret.manager {
		return fmt.Errorf("%w: recovery box of manager %v, disk of %v", errRecovery, secret.manager, proto.UUID(p.ID))
	}
	if m.c.HW == nil {
		return m.c.HWErr
	}
	anchor, err := m.c.HW.Anchor()
	if err != nil {
		return err
	}
	if anchor.State == hwtpm.AnchorActive && anchor.Manager != secret.manager && anchor.Manager != m.c.Forget {
		return fmt.Errorf("%w: the hardware TPM belongs to manager %v; give its store up with forget=", ErrOtherManager, proto.UUID(anchor.Manager))
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

// ParseBackupHeader reads what a backup's first part says of its manager, and
// the recovery box of its root secret (empty if it has none).
func ParseBackupHeader(header []byte) (manager proto.UUID, recovery []byte, err error) {
	r := proto.NewReader(header)
	magic := string(r.Bytes(len(backupMagic)))
	manager = r.UUID()
	recovery = r.Sized(4096)
	if r.Done() != nil || magic != backupMagic {
		return proto.UUID{}, nil, errors.New("no backup header of this version")
	}
	return manager, recovery, nil
}
