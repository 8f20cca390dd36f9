package manager

import (
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/proto"
)

var (
	errNotWhole = errors.New("the backup has not been seen to be whole: check all its parts first, in order, or take what is there as a partial one")
	errNoTarget = errors.New("the vTPM's group does not exist here")
)

// restoreState is what was checked of a backup in this run.
type restoreState struct {
	backup proto.UUID
	next   uint32
	total  uint64 // vTPMs in the parts that were checked
	whole  bool
}

// checked takes notice of a part that has authenticated. The parts have to come
// in order, and the last has to count them.
func (s *restoreState) checked(p proto.PartID, entries uint64) error {
	if p.Part == 0 {
		*s = restoreState{backup: p.Backup}
	}
	if p.Backup != s.backup || p.Part != s.next || s.whole {
		return fmt.Errorf("%w (part %d of backup %v does not follow)", errNotWhole, p.Part, p.Backup)
	}
	s.next, s.total = s.next+1, s.total+entries
	if p.Last && s.total != p.Total {
		return fmt.Errorf("%w (%d vTPMs, and its end says %d)", errNotWhole, s.total, p.Total)
	}
	s.whole = p.Last
	return nil
}

// mayRestore: a backup that names its parts was checked to its end, or what is
// there is wanted as it is.
func (s *restoreState) mayRestore(in proto.Restore) error {
	switch {
	case in.Check && in.Backup == (proto.UUID{}) && !in.Partial:
		return fmt.Errorf("%w (it was made by an older version, which did not number parts)", errNotWhole)
	case in.Check, in.Partial, s.whole && s.backup == in.Backup:
		return nil
	}
	return errNotWhole
}

// restoring is one part on its way.
type restoring struct {
	proto.Restore
	out proto.Restored
}

// adminRestore puts a part's records back, or finds out what that would do.
func (m *Manager) adminRestore(req *Request, in proto.Restore) (any, error) {
	if err := m.admin.restore.mayRestore(in); err != nil {
		return nil, err
	}
	plain, from, err := m.openPart(in)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	part := &restoring{Restore: in}
	entries := uint64(0)
	for r := proto.NewReader(plain); r.Len() > 0; entries++ {
		if err := m.restoreEntry(r, part); err != nil {
			return nil, err
		}
	}
	out := part.out
	if in.Check {
		if in.Backup == (proto.UUID{}) {
			return out, nil
		}
		return out, m.admin.restore.checked(in.PartID, entries)
	}
	m.eventFor(EventRestored, req, from, fmt.Sprintf("backup of that manager: %d vTPMs restored, %d kept, %d refused", out.Restored, out.Kept, out.Refused))
	return out, m.then(func() {})
}

// openPart opens a part of this manager's backup, or of that of the manager
// whose root secret was recovered for this.
func (m *Manager) openPart(in proto.Restore) (plain []byte, from proto.UUID, err error) {
	box, err := m.backupBox(m.secret)
	if err != nil {
		return nil, from, err
	}
	from = m.store.ID()
	plain, err = box.Open(nil, in.Box, backupAAD(from, in.PartID))
	if other := m.admin.keys.backup; err != nil && other != nil {
		from = m.admin.keys.from
		plain, err = other.Open(nil, in.Box, backupAAD(from, in.PartID))
	}
	if err != nil {
		return nil, from, fmt.Errorf("%w: this is not that part of a backup of manager %v", errRecovery, from)
	}
	return plain, from, nil
}

// backupRecord is an entry of a part.
type backupRecord struct {
	uuid           proto.UUID
	of             membership
	saves, created uint64
	record         []byte // nil: never saved
}

func readBackupRecord(r *proto.Reader, named bool) (e backupRecord, err error) {
	e.uuid, e.of.group = r.UUID(), r.UUID()
	if named {
		copy(e.of.authority[:], r.Bytes(len(e.of.authority)))
		e.of.sequence = r.U64()
	}
	e.saves, e.created = r.U64(), r.U64()
	if r.U8() != 0 {
		e.record = r.Bytes(len(proto.Record{}))
	}
	return e, r.Err()
}

func (m *Manager) restoreEntry(r *proto.Reader, part *restoring) error {
	e, err := readBackupRecord(r, part.Backup != proto.UUID{})
	if err != nil {
		return err
	}
	now, exists, err := m.lookup(e.uuid)
	switch {
	case err != nil:
		return err
	case exists && !part.Overwrite: // running or not
		part.out.Kept++
		return nil
	}
	if _, busy := m.open[e.uuid]; busy {
		return fmt.Errorf("%w: %v", errInUse, e.uuid)
	}
	g, err := m.restoreTarget(&e, part)
	if err == nil && exists {
		err = m.mayReplace(e.uuid, now.group, g.id, part.Release)
	}
	if err != nil {
		part.refuse(e.uuid, err)
		return nil
	}
	part.out.Restored++
	if part.Check {
		return nil
	}
	v := vtpm{group: g.id, saves: e.saves, created: e.created}
	if e.record != nil {
		if v.sealed, err = g.box.Seal(nil, e.record, recordAAD(e.uuid, g.id)); err != nil {
			return err
		}
	}
	return m.put(e.uuid, v)
}

// restoreTarget is the group that an entry goes into: its own, if that is open
// here and has the authority that it had; the default group only if its own does
// not exist, the administrator says so, and its authority lets it go.
func (m *Manager) restoreTarget(e *backupRecord, part *restoring) (*group, error) {
	g := m.groups[e.of.group]
	if g == nil {
		if !part.DefaultGroup {
			return nil, fmt.Errorf("%w: group %v; make it, or restore into the default group", errNoTarget, e.of.group)
		}
		if err := mayLeave(e.uuid, e.of, defaultGroup, false, part.Release); err != nil {
			return nil, err
		}
		g = m.groups[defaultGroup]
	} else if part.Backup != (proto.UUID{}) && g.membership().authority != e.of.authority {
		return nil, fmt.Errorf("%w (group %v has another authority than in the backup)", errNotReleased, g.id)
	}
	if g.box == nil {
		return nil, fmt.Errorf("%w: group %v", errClosed, g.id)
	}
	return g, nil
}

// mayReplace: a vTPM that is here leaves its group if the backup's entry is of
// another one.
func (m *Manager) mayReplace(u, from, to proto.UUID, release []byte) error {
	if from == to {
		return nil
	}
	g := m.groups[from]
	if g == nil {
		return errNoGroup
	}
	return mayLeave(u, g.membership(), to, true, release)
}

// maxWhy bounds the reasons in an answer.
const maxWhy = 20

func (r *restoring) refuse(u proto.UUID, err error) {
	r.out.Refused++
	if len(r.out.Why) < maxWhy {
		r.out.Why = append(r.out.Why, fmt.Sprintf("%v: %v", u, err))
	}
}
