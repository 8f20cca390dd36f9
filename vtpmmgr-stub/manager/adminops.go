package manager

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// Refusals of operations on vTPMs.
var (
	errExists = errors.New("vTPM exists")
	errNoVTPM = errors.New("no such vTPM")
	errInUse  = errors.New("vTPM is open")
	errClosed = errors.New("group is closed")
)

func (m *Manager) adminStatus(_ *Request, _ proto.Empty) (any, error) {
	s := proto.Status{PCRs: pcrNames(m.c.PCRs), Rollback: "strict", Open: len(m.open),
		Requests: m.Metrics.Requests, Saves: m.Metrics.Saves, Loads: m.Metrics.Loads, Commits: m.Metrics.Commits, Refusals: m.Metrics.Refusals}
	if m.c.RollbackOff {
		s.Rollback = "off"
	}
	if m.degraded != nil {
		s.Degraded = m.degraded.Error()
		_, err := m.recoveryBox()
		s.Recoverable = err == nil && m.store == nil
		return s, nil
	}
	s.Manager, s.Counter, s.Commit, s.Groups = m.store.ID(), m.nv, m.store.Generation(), len(m.groups)
	s.FreeSectors, s.Sectors = m.store.Space()
	s.VTPMs = m.countVTPMs()
	k, b, err := m.rootBinding()
	if err != nil {
		return nil, err
	}
	s.Recovery = len(k.recovery) > 0
	if b.Auth != nil {
		h := authorityHash32(b.Auth.Public)
		s.Provisioned, s.Authority, s.AuthorityHash = true, hwtpm.AuthorityName(b.Auth.Public), hex.EncodeToString(h[:])
		s.Pinned = m.c.Authority == h
	}
	if len(k.recovery) > 0 {
		s.RecoveryBox = Fingerprint(k.recovery)
	}
	if len(k.key) > 0 {
		s.RecoveryKey = Fingerprint(k.key)
	}
	if s.Sequence, err = m.rootSequence(); err != nil {
		return nil, err
	}
	return s, nil
}

// countVTPMs is the number of entries that are not something else.
func (m *Manager) countVTPMs() uint64 {
	other := uint64(len(m.events.kept))
	for _, g := range m.groups {
		if g.binding != nil {
			other += uint64((len(g.encode()) + 4 + chunkSize - 1) / chunkSize)
		}
	}
	for _, k := range []byte{metaRootSq, metaCA, metaRecovery, metaOwner} {
		if b, err := m.store.Get(metaKey(k)); err == nil && b != nil {
			other++
		}
	}
	return m.store.Count() - min(other, m.store.Count())
}

// Entries of a page of vTPMs, events and groups, which keep it below MaxAdmin.
const (
	listLimit  = 200
	eventLimit = 60
	groupLimit = 40
)

func (m *Manager) adminList(_ *Request, in proto.ListRequest) (any, error) {
	out := proto.List{VTPMs: []proto.VTPM{}}
	from := store.MakeKey(kindVTPM, [16]byte{})
	if in.After != nil {
		from = store.MakeKey(kindVTPM, *in.After)
	}
	err := m.store.Scan(from, func(k store.Key, b []byte) bool {
		u := proto.UUID(k[1:])
		if k[0] != kindVTPM {
			return false
		}
		if in.After != nil && u == *in.After {
			return true
		}
		v, err := parseVTPM(b)
		if err == nil && in.Group != nil && v.group != *in.Group {
			return true
		}
		if len(out.VTPMs) == listLimit {
			out.More = true
			return false
		}
		out.VTPMs = append(out.VTPMs, m.describe(u, v, err))
		return true
	}, func(k store.Key, err error) {
		if len(out.Bad) < 20 {
			out.Bad = append(out.Bad, err.Error())
		}
	})
	return out, err
}

func (m *Manager) describe(u proto.UUID, v vtpm, err error) proto.VTPM {
	d := proto.VTPM{UUID: u, Group: v.group, Saved: len(v.sealed) > 0, Saves: v.saves, Created: v.created}
	if err != nil {
		d.Error = err.Error()
	}
	if by, ok := m.open[u]; ok {
		dom := int(by.Domain)
		d.Domain = &dom
	}
	return d
}

func (m *Manager) adminShow(_ *Request, in proto.Target) (any, error) {
	v, ok, err := m.lookup(in.UUID)
	if err == nil && !ok {
		err = errNoVTPM
	}
	if err != nil {
		return nil, err
	}
	return m.describe(in.UUID, v, nil), nil
}

// adminCreate makes an entry without a record: the vTPM's first save fills it,
// in its group from the beginning.
func (m *Manager) adminCreate(req *Request, in proto.Target) (any, error) {
	_, ok, err := m.lookup(in.UUID)
	switch {
	case err != nil:
		return nil, err
	case ok:
		return nil, errExists
	}
	v := vtpm{created: m.unixNow()}
	if in.Group != nil {
		v.group = *in.Group
	}
	if m.groups[v.group] == nil {
		return nil, errNoGroup
	}
	if err := m.put(in.UUID, v); err != nil {
		return nil, err
	}
	m.eventFor(EventCreated, req, in.UUID, "vTPM added by the administrator")
	return proto.Empty{}, m.then(func() {})
}

func (m *Manager) adminDelete(req *Request, in proto.Target) (any, error) {
	_, ok, err := m.lookup(in.UUID)
	_, busy := m.open[in.UUID]
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errNoVTPM
	case busy:
		return nil, errInUse
	}
	if err := m.store.Delete(store.MakeKey(kindVTPM, in.UUID)); err != nil {
		return nil, err
	}
	m.eventFor(EventDeleted, req, in.UUID, "vTPM deleted by the administrator")
	return proto.Empty{}, m.then(func() {})
}

// adminMove takes a vTPM to another group: its record is sealed anew under that
// group's key. Both groups must be open, unless nothing was ever saved.
func (m *Manager) adminMove(req *Request, in proto.Target) (any, error) {
	v, ok, err := m.lookup(in.UUID)
	if err == nil && !ok {
		err = errNoVTPM
	}
	if err != nil {
		return nil, err
	}
	if in.Group == nil || m.groups[*in.Group] == nil || m.groups[v.group] == nil {
		return nil, errNoGroup
	}
	from, to := m.groups[v.group], m.groups[*in.Group]
	if from != to {
		if err := mayLeave(in.UUID, from.membership(), to.id, true, in.Release); err != nil {
			m.badPolicy(req, in.UUID, "move refused: ", err)
			return nil, err
		}
	}
	if len(v.sealed) > 0 {
		if from.box == nil || to.box == nil {
			return nil, errClosed
		}
		plain, err := from.box.Open(nil, v.sealed, recordAAD(in.UUID, from.id))
		if err != nil {
			return nil, fmt.Errorf("%w: record does not open", store.ErrDamaged)
		}
		if v.sealed, err = to.box.Seal(nil, plain, recordAAD(in.UUID, to.id)); err != nil {
			return nil, err
		}
		clear(plain)
	}
	v.group = to.id
	if err := m.put(in.UUID, v); err != nil {
		return nil, err
	}
	m.eventFor(EventMoved, req, in.UUID, fmt.Sprintf("vTPM moved from group %v to %v", from.id, to.id))
	return proto.Empty{}, m.then(func() {})
}

func (m *Manager) adminEvents(_ *Request, in proto.EventsRequest) (any, error) {
	out := proto.Events{Events: []proto.Event{}}
	add := func(e Event) bool {
		if len(out.Events) == eventLimit {
			out.More = true
			return false
		}
		out.Events = append(out.Events, proto.Event{Seq: e.Seq, Time: e.Time, Kind: e.Kind.String(), Count: e.Count, Domain: e.Domain, UUID: e.UUID, Text: e.Text})
		return true
	}
	var bad error
	err := m.store.Scan(eventKey(in.From), func(k store.Key, b []byte) bool {
		if k[0] != kindEvent {
			return false
		}
		e, err := parseEvent(binary.BigEndian.Uint64(k[1:]), b)
		bad = errors.Join(bad, err)
		return add(e)
	}, nil)
	for i, e := range m.events.pending { // not yet on the disk
		if e.Seq = m.events.next + uint64(i); e.Seq >= in.From && !out.More {
			add(e)
		}
	}
	return out, errors.Join(err, bad)
}

func (m *Manager) adminGroups(_ *Request, in proto.GroupsRequest) (any, error) {
	if in.ID != nil {
		g := m.groups[*in.ID]
		if g == nil {
			return nil, errNoGroup
		}
		d := describeGroup(g, true)
		n, err := m.members(g.id)
		d.VTPMs = &n
		return proto.Groups{Groups: []proto.Group{d}}, err
	}
	out := proto.Groups{Groups: []proto.Group{}}
	for _, id := range slices.SortedFunc(maps.Keys(m.groups), func(a, b proto.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		if in.After != nil && bytes.Compare(id[:], in.After[:]) <= 0 {
			continue
		}
		if out.More = len(out.Groups) == groupLimit; out.More {
			break
		}
		out.Groups = append(out.Groups, describeGroup(m.groups[id], false))
	}
	return out, nil
}

func describeGroup(g *group, states bool) proto.Group {
	d := proto.Group{ID: g.id, Name: g.name, Open: g.box != nil, Sequence: g.sequence}
	if g.why != nil {
		d.Why = cut(g.why.Error(), 160)
	}
	if g.binding == nil {
		return d
	}
	d.Authority = hwtpm.AuthorityName(g.binding.Auth.Public)
	for _, a := range g.binding.Auth.Approvals {
		if states {
			d.States = append(d.States, stateText(a))
		}
	}
	return d
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

func stateText(a hwtpm.Approval) string {
	bank := map[uint16]string{proto.AlgSHA256: "sha256", proto.AlgSHA384: "sha384", proto.AlgSHA512: "sha512"}[a.PCRs.Alg]
	return fmt.Sprintf("%s:%s %s", bank, pcrNames(a.PCRs), hex.EncodeToString(a.Digest[:]))
}

func (m *Manager) adminGroupCreate(req *Request, in proto.GroupCreate) (any, error) {
	if in.ID == (proto.UUID{}) || len(in.Recovery) > 0 {
		return nil, proto.ErrBody
	}
	if err := m.createGroup(in.ID, in.Name, in.Authority, in.Policy); err != nil {
		m.badPolicy(req, in.ID, "group not created: ", err)
		return nil, err
	}
	m.eventFor(EventGroup, req, in.ID, "group created: "+in.Name)
	return proto.Empty{}, nil
}

func (m *Manager) adminGroupDelete(req *Request, in proto.GroupDelete) (any, error) {
	if err := m.deleteGroup(in.ID); err != nil {
		return nil, err
	}
	m.eventFor(EventGroup, req, in.ID, "group deleted")
	return proto.Empty{}, nil
}

func (m *Manager) adminPolicy(req *Request, in proto.PolicyApply) (any, error) {
	l, err := m.applyPolicy(in.Policy)
	id := proto.UUID{}
	if l != nil {
		id = l.Group
	}
	if err != nil {
		m.badPolicy(req, id, "policy list refused: ", err)
		return nil, err
	}
	m.eventFor(EventPolicy, req, id, fmt.Sprintf("policy list %d in force, %d states", l.Sequence, len(l.Approvals)))
	return proto.Empty{}, nil
}

func (m *Manager) adminProvision(req *Request, in proto.GroupCreate) (any, error) {
	if in.ID != (proto.UUID{}) || in.Name != "" {
		return nil, proto.ErrBody
	}
	if err := m.provision(in.Authority, in.Policy, in.Recovery); err != nil {
		m.badPolicy(req, proto.UUID{}, "provisioning refused: ", err)
		return nil, err
	}
	m.eventFor(EventPolicy, req, proto.UUID{}, "manager provisioned: authority "+hwtpm.AuthorityName(in.Authority))
	return proto.Empty{}, nil
}

func (m *Manager) adminReplaceRecovery(req *Request, in proto.RecoveryReplace) (any, error) {
	s, err := m.replaceRecovery(in.Statement)
	if err != nil {
		m.badPolicy(req, proto.UUID{}, "recovery key not replaced: ", err)
		return nil, err
	}
	m.eventFor(EventPolicy, req, m.store.ID(), fmt.Sprintf("recovery key %d: %s", s.Number, Fingerprint(s.Public)))
	return proto.Empty{}, nil
}

func (m *Manager) adminPCRs(_ *Request, in proto.PCRsRequest) (any, error) {
	sel := proto.PCRSelection{Alg: in.Alg, Mask: in.Mask}
	if m.c.HW == nil {
		return nil, fmt.Errorf("%w: %v", hwtpm.ErrNoTPM, m.c.HWErr)
	}
	if proto.DigestSize(sel.Alg) == 0 || sel.Mask>>24 != 0 || sel.Mask == 0 {
		return nil, proto.ErrBody
	}
	values, err := m.c.HW.PCRs(sel)
	return proto.PCRs{Values: values}, err
}
