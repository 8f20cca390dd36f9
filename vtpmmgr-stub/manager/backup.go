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
// from the root key, together with its place: the backup's uuid, the part's
// number, and in the last part that it is the last and how many vTPMs there are in
// all. It can be given back to the manager that made it, or to another one after
// a recovery of the first one's root secret. Giving back an old record is a
// rollback; only the administrator can ask for it, and it leaves an event.

const (
	// A header is magic, manager, recovery key and box; in the first version there
	// is no key.
	backupMagic      = "XVTBAK\x00\x02"
	backupMagicFirst = "XVTBAK\x00\x01"
	// A part is full when it has so many bytes of entries: uuid | group |
	// authority 32 | u64 group's sequence | u64 saves | u64 created | u8 has record
	// [| 64]. Records are opened from their groups. In a backup that numbers no
	// parts the entries have no authority and no sequence.
	backupPart = 24 << 10
)

var errBackupOrder = errors.New("this is not the next part of the backup that was begun last; begin anew")

// backupState is the backup that is being made.
type backupState struct {
	id    proto.UUID
	part  uint32
	after []byte
	total uint64
}

func (m *Manager) backupBox(s rootSecret) (*store.Box, error) {
	key, err := store.DeriveKey(s.key[:], "backup")
	if err != nil {
		return nil, err
	}
	return m.keyBox(key)
}

// backupAAD names a part. A zero backup is one of the first version, whose parts
// had no names.
func backupAAD(manager proto.UUID, p proto.PartID) []byte {
	if p.Backup == (proto.UUID{}) {
		return append([]byte("xenvtpm backup 1"), manager[:]...)
	}
	b := append([]byte("xenvtpm backup 2"), manager[:]...)
	b = binary.BigEndian.AppendUint32(append(b, p.Backup[:]...), p.Part)
	last := byte(0)
	if p.Last {
		last = 1
	}
	return binary.BigEndian.AppendUint64(append(b, last), p.Total)
}

// adminBackup returns the next part. Records of closed groups cannot be opened
// and are left out, which an event says.
func (m *Manager) adminBackup(req *Request, in proto.BackupRequest) (any, error) {
	b := &m.admin.backup
	switch {
	case len(in.After) == 0:
		id, err := newUUID(m.c.Rand)
		if err != nil {
			return nil, err
		}
		*b = backupState{id: id}
	case len(in.After) != 16:
		return nil, proto.ErrBody
	case !bytes.Equal(in.After, b.after):
		return nil, errBackupOrder
	}
	out, skipped, err := m.nextPart(b)
	if err != nil {
		*b = backupState{}
		return nil, err
	}
	if out.Part == 0 {
		out.Header = m.backupHeader()
		m.eventFor(EventBackup, req, proto.UUID{}, fmt.Sprintf("backup %v begun", b.id))
	}
	if skipped > 0 {
		m.eventFor(EventBackup, req, proto.UUID{}, fmt.Sprintf("backup: %d vTPMs left out (group closed or record damaged)", skipped))
	}
	return out, nil
}

func (m *Manager) nextPart(b *backupState) (out proto.BackupPart, skipped int, err error) {
	plain, n, last, skipped, err := m.backupEntries(b.after)
	if err != nil {
		return out, 0, err
	}
	defer clear(plain)
	b.total += uint64(n)
	out.After = last
	out.PartID = proto.PartID{Backup: b.id, Part: b.part}
	if out.Last = len(last) == 0; out.Last {
		out.Total = b.total
	}
	box, err := m.backupBox(m.secret)
	if err != nil {
		return out, 0, err
	}
	out.Box, err = box.Seal(nil, plain, backupAAD(m.store.ID(), out.PartID))
	b.part, b.after = b.part+1, last
	return out, skipped, err
}

// backupEntries encodes the vTPMs behind `after` until a part is full. last is
// the last one in it, nil if no other follows.
func (m *Manager) backupEntries(after []byte) (plain []byte, n int, last []byte, skipped int, err error) {
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
			return true
		}
		plain, n = append(plain, entry...), n+1
		return true
	}, func(store.Key, error) { skipped++ })
	if !full {
		last = nil
	}
	return plain, n, last, skipped, err
}

func (m *Manager) backupHeader() []byte {
	b := append([]byte(backupMagic), make([]byte, 16)...)
	id := m.store.ID()
	copy(b[len(backupMagic):], id[:])
	k, err := parseKeyFile(m.store.KeyArea())
	if err != nil {
		k = keyFile{}
	}
	return proto.AppendSized(proto.AppendSized(b, k.key), k.recovery)
}

func (m *Manager) backupEntry(u proto.UUID, b []byte) ([]byte, bool) {
	v, err := parseVTPM(b)
	g := m.groups[v.group]
	if err != nil || g == nil {
		return nil, false
	}
	of := g.membership()
	out := append(append([]byte(nil), u[:]...), v.group[:]...)
	out = append(out, of.authority[:]...)
	out = binary.BigEndian.AppendUint64(out, of.sequence)
	out = binary.BigEndian.AppendUint64(out, v.saves)
	out = binary.BigEndian.AppendUint64(out, v.created)
	if len(v.sealed) == 0 {
		return append(out, 0), true
	}
	if g.box == nil {
		return nil, false
	}
	out, err = g.box.Open(append(out, 1), v.sealed, recordAAD(u, v.group))
	return out, err == nil
}

// ParseBackupHeader reads what a backup's first part says of its manager, of its
// recovery key (empty in a first version) and of the recovery box of its root
// secret (empty if it has none). Nothing vouches for it.
func ParseBackupHeader(header []byte) (manager proto.UUID, key, recovery []byte, err error) {
	r := proto.NewReader(header)
	magic := string(r.Bytes(len(backupMagic)))
	manager = r.UUID()
	if magic == backupMagic {
		key = r.Sized(pointSize)
	}
	recovery = r.Sized(4096)
	if r.Done() != nil || magic != backupMagic && magic != backupMagicFirst {
		return proto.UUID{}, nil, nil, errors.New("no backup header of this version")
	}
	return manager, key, recovery, nil
}
