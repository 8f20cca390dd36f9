package manager

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// group is a set of vTPMs whose keys open together, in the platform states that
// the group's authority approves.
type group struct {
	id       proto.UUID
	name     string
	sequence uint64
	binding  *hwtpm.Binding // nil for the default group
	box      *store.Box     // nil: closed
	why      error          // why it is closed
}

// defaultGroup is the group of vTPMs that nobody has put elsewhere. It is
// always there and opens with the root key.
var defaultGroup proto.UUID

// Limits of groups.
const (
	maxGroups    = 256
	maxGroupName = 64
	groupVersion = 1
)

func (g *group) encode() []byte {
	b := append([]byte{groupVersion}, g.id[:]...)
	b = proto.AppendSized(b, []byte(g.name))
	b = binary.BigEndian.AppendUint64(b, g.sequence)
	return proto.AppendSized(b, g.binding.Append(nil))
}

func parseGroup(in []byte) (*group, error) {
	r := proto.NewReader(in)
	version := r.U8()
	g := &group{id: r.UUID(), name: string(r.Sized(maxGroupName)), sequence: r.U64()}
	binding := r.Sized(0xFFFF)
	if r.Done() != nil || version != groupVersion {
		return nil, errors.New("group entry malformed or of a newer version")
	}
	var err error
	g.binding, err = hwtpm.ParseBinding(binding)
	return g, err
}

// loadGroups reads all groups and opens those that open. One that does not is
// logged and leaves the others working.
func (m *Manager) loadGroups() error {
	clear(m.groups)
	if err := m.loadDefault(); err != nil {
		return err
	}
	var ids []proto.UUID
	if err := m.store.Scan(store.MakeKey(kindBlob, [16]byte{}), func(k store.Key, _ []byte) bool {
		if k[0] == kindBlob {
			ids = append(ids, proto.UUID(k[1:]))
		}
		return k[0] == kindBlob
	}, func(_ store.Key, err error) { m.logf("groups: %v", err) }); err != nil {
		return err
	}
	for _, id := range ids {
		m.loadGroup(id)
	}
	return nil
}

// loadDefault opens the default group. It stays closed while authority= names
// somebody whose store this has never been: a new one, which an approved system has
// made on another disk, must not take in new vTPMs unnoticed.
func (m *Manager) loadDefault() error {
	g := &group{id: defaultGroup, name: "default"}
	m.groups[defaultGroup] = g
	owned, err := m.isOwned()
	switch {
	case err != nil:
		return err
	case !owned:
		g.why = errUnowned
		m.logf("the default group stays closed, its vTPMs get no keys: %v", g.why)
		return nil
	}
	key, err := store.DeriveKey(m.secret.key[:], "default group")
	if err != nil {
		return err
	}
	g.box, err = m.keyBox(key)
	return err
}

func (m *Manager) loadGroup(id proto.UUID) {
	g := &group{id: id}
	b, err := m.getBlob(id)
	if err == nil {
		var parsed *group
		if parsed, err = parseGroup(b); err == nil && parsed.id == id {
			g = parsed
			err = m.openGroup(g)
		}
	}
	if err != nil {
		g.why = err
		m.logf("group %v %q stays closed, its vTPMs get no keys: %v", id, g.name, err)
	}
	m.groups[id] = g
}

// openGroup unseals the group's key.
func (m *Manager) openGroup(g *group) error {
	key, err := m.c.HW.Unseal(g.binding)
	if err != nil {
		return err
	}
	g.box, err = m.keyBox(key)
	if err == nil {
		g.why = nil
	}
	return err
}

// keyBox makes a Box of a key, and wipes the key.
func (m *Manager) keyBox(key []byte) (*store.Box, error) {
	defer clear(key)
	return store.NewBox(key, m.c.Rand)
}

// Refusals of group operations, beside hwtpm's.
var (
	errStale       = errors.New("policy list is not newer than the one in force")
	errGroupExists = errors.New("group exists")
	errNoGroup     = errors.New("no such group")
	errNotEmpty    = errors.New("group is not empty")
	errBadName     = errors.New("name is empty, too long or not printable")
	errTooMany     = errors.New("too many groups")
	errUnowned     = errors.New("authority= names an authority that has never provisioned this store: provision it, or put the right disk in")
	errUnprovided  = errors.New("the manager is not provisioned: its root has no authority")
)

// checkList parses and verifies a list that must be newer than sequence.
func checkList(encoded, public []byte, group proto.UUID, sequence uint64) (*hwtpm.PolicyList, error) {
	l, err := hwtpm.ParsePolicyList(encoded)
	if err != nil {
		return nil, err
	}
	if l.Group != group {
		return nil, fmt.Errorf("%w: list is for group %v", hwtpm.ErrPolicy, l.Group)
	}
	if err := l.Verify(public); err != nil {
		return nil, err
	}
	if l.Sequence <= sequence {
		return nil, fmt.Errorf("%w (list %d, in force %d)", errStale, l.Sequence, sequence)
	}
	return l, nil
}

// createGroup seals a new group's key. The present platform state must be among
// the approved ones: otherwise nobody could open what was just made.
func (m *Manager) createGroup(id proto.UUID, name string, public, list []byte) error {
	switch {
	case !printable(name):
		return errBadName
	case m.groups[id] != nil:
		return errGroupExists
	case len(m.groups) >= maxGroups:
		return errTooMany
	}
	l, err := checkList(list, public, id, 0)
	if err != nil {
		return err
	}
	key := make([]byte, 32)
	defer clear(key)
	if _, err := io.ReadFull(m.c.Rand, key); err != nil {
		return err
	}
	g := &group{id: id, name: name, sequence: l.Sequence}
	g.binding, err = m.c.HW.Seal(key, hwtpm.Policy{Authority: &hwtpm.Authority{Public: bytes.Clone(public), Ref: hwtpm.PolicyRef(id), Approvals: l.Approvals}})
	if err != nil {
		return err
	}
	if g.box, err = store.NewBox(key, m.c.Rand); err != nil {
		return err
	}
	if err := m.putBlob(id, g.encode()); err != nil {
		return err
	}
	return m.then(func() { m.groups[id] = g })
}

func printable(s string) bool {
	for _, c := range s {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxGroupName
}

// then commits what was staged, and runs f when it counts. The caller discards
// what an error leaves staged.
func (m *Manager) then(f func()) error {
	err := m.commit(f)
	if err != nil && !m.passing(err) {
		m.degrade(err)
	}
	return err
}

// applyPolicy replaces the approved states of a group, which may be closed, or
// of the root.
func (m *Manager) applyPolicy(encoded []byte) (*hwtpm.PolicyList, error) {
	l, err := hwtpm.ParsePolicyList(encoded)
	if err != nil {
		return nil, err
	}
	if l.Group == (proto.UUID{}) {
		return l, m.applyRootPolicy(encoded)
	}
	if m.degraded != nil {
		return l, fmt.Errorf("%w: %v", errDegraded, m.degraded)
	}
	g := m.groups[l.Group]
	if g == nil || g.binding == nil {
		return l, errNoGroup
	}
	if _, err := checkList(encoded, g.binding.Auth.Public, g.id, g.sequence); err != nil {
		return l, err
	}
	next := *g
	auth, binding := *g.binding.Auth, *g.binding
	auth.Approvals, binding.Auth, next.binding, next.sequence = l.Approvals, &auth, &binding, l.Sequence
	if err := m.putBlob(g.id, next.encode()); err != nil {
		return l, err
	}
	return l, m.then(func() {
		*g = next
		if g.box == nil {
			if err := m.openGroup(g); err != nil {
				g.why = err
			}
		}
	})
}

// deleteGroup deletes a group without vTPMs.
func (m *Manager) deleteGroup(id proto.UUID) error {
	if g := m.groups[id]; g == nil || id == defaultGroup {
		return errNoGroup
	}
	members, err := m.members(id)
	if err != nil {
		return err
	}
	if members > 0 {
		return fmt.Errorf("%w: %d vTPMs", errNotEmpty, members)
	}
	if err := m.deleteBlob(id); err != nil {
		return err
	}
	return m.then(func() { delete(m.groups, id) })
}

// members counts a group's vTPMs. It reads the whole tree.
func (m *Manager) members(id proto.UUID) (n int, err error) {
	serr := m.store.Scan(store.MakeKey(kindVTPM, [16]byte{}), func(k store.Key, b []byte) bool {
		if k[0] != kindVTPM {
			return false
		}
		v, perr := parseVTPM(b)
		if perr != nil {
			err = perr
		}
		if v.group == id {
			n++
		}
		return true
	}, func(_ store.Key, derr error) { err = derr })
	return n, errors.Join(serr, err)
}
