package manager

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

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

func (m *Manager) backupBox(s rootSecret) (*store.Box, error) {
	key, err := store.DeriveKey(s.key[:], "backup")
	if err != nil {
		return nil, err
	}
	return m.keyBox(key)
}

func backupAAD(manager proto.UUID) []byte { return append([]byte("xenvtpm backup 1"), manager[:]...) }

// adminBackup returns the next part. Records of closed groups cannot be opened
// and are left out, which an event says.
func (m *Manager) adminBackup(req *Request, in proto.BackupRequest) (any, error) {
	if len(in.After) != 0 && len(in.After) != 16 {
		return nil, proto.ErrBody
	}
	plain, last, skipped, err := m.backupEntries(in.After)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	box, err := m.backupBox(m.secret)
	if err != nil {
		return nil, err
	}
	out := proto.BackupPart{After: last}
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

// backupEntries encodes the vTPMs behind `after` until a part is full. last is
// the last one in it, nil if no other follows.
func (m *Manager) backupEntries(after []byte) (plain, last []byte, skipped int, err error) {
	from := store.MakeKey(kindVTPM, [16]byte{})
	copy(from[1:], after)
	full := false
	err = m.store.Scan(from, func(k store.Key, b []byte) bool {
		if k[0] != kindVTPM {
			return false
		}
		if len(after) != 0 && bytes.Equal(k[1:], after) {
			return true
		}
		if full = len(plain) >= backupPart; full {
			return false
		}
		last = bytes.Clone(k[1:])
		entry, ok := m.backupEntry(proto.UUID(k[1:]), b)
		if !ok {
			skipped++
		}
		plain = append(plain, entry...)
		return true
	}, func(store.Key, error) { skipped++ })
	if !full {
		last = nil
	}
	return plain, last, skipped, err
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
	// What is there and is not to be replaced is kept, running or not.
	_, ok, err := m.lookup(u)
	if err != nil || ok && !overwrite {
		return ok, err
	}
	if _, busy := m.open[u]; busy {
		return false, fmt.Errorf("%w: %v", errInUse, u)
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
