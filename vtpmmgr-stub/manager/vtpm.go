package manager

import (
	"encoding/binary"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// Kinds of key in the store.
const (
	kindEvent = 'e'
	kindGroup = 'g'
	kindVTPM  = 'v'
)

// vtpm is an entry of the store:
//
//	u8 version | group | u32 flags | u64 saves | u64 created (Unix) | sealed record
//
// The record is sealed under the group's key and bound to uuid and group, so
// that the root key alone does not open it.
type vtpm struct {
	group   proto.UUID
	flags   uint32
	saves   uint64
	created uint64
	sealed  []byte // empty: never saved
}

const vtpmVersion = 1

func (v vtpm) encode() []byte {
	b := append([]byte{vtpmVersion}, v.group[:]...)
	b = binary.BigEndian.AppendUint32(b, v.flags)
	b = binary.BigEndian.AppendUint64(b, v.saves)
	b = binary.BigEndian.AppendUint64(b, v.created)
	return append(b, v.sealed...)
}

func parseVTPM(in []byte) (vtpm, error) {
	r := proto.NewReader(in)
	version := r.U8()
	v := vtpm{group: r.UUID(), flags: r.U32(), saves: r.U64(), created: r.U64()}
	v.sealed = r.Bytes(r.Len())
	if r.Done() != nil || version != vtpmVersion {
		return vtpm{}, fmt.Errorf("vTPM entry malformed or of a newer version")
	}
	return v, nil
}

func recordAAD(u, g proto.UUID) []byte {
	return append(append([]byte("xenvtpm record 1"), u[:]...), g[:]...)
}

// lookup finds a vTPM; ok is false if there is none.
func (m *Manager) lookup(u proto.UUID) (v vtpm, ok bool, err error) {
	b, err := m.store.Get(store.MakeKey(kindVTPM, u))
	if err != nil || b == nil {
		return vtpm{}, false, err
	}
	v, err = parseVTPM(b)
	return v, err == nil, err
}

func (m *Manager) put(u proto.UUID, v vtpm) error {
	return m.store.Put(store.MakeKey(kindVTPM, u), v.encode())
}

// claim opens u for the client; false if another connection has it open.
func (m *Manager) claim(req *Request) bool {
	by, busy := m.open[req.UUID]
	if busy && by != req.Client {
		m.event(EventOpenTwice, req, fmt.Sprintf("vTPM is already open by domain %d", by.Domain))
		return false
	}
	m.open[req.UUID] = req.Client
	return true
}

// load answers LOADHASHKEY.
func (m *Manager) load(req *Request) (proto.Result, []byte) {
	v, ok, err := m.lookup(req.UUID)
	switch {
	case err != nil:
		m.event(EventDamaged, req, err.Error())
		return proto.Fail, nil
	case !ok || len(v.sealed) == 0:
		return proto.BadParameter, nil
	}
	g := m.groups[v.group]
	if g == nil || g.box == nil {
		m.event(EventGroupClosed, req, groupWhy(v.group, g))
		return proto.Disabled, nil
	}
	plain, err := g.box.Open(nil, v.sealed, recordAAD(req.UUID, v.group))
	if err != nil || len(plain) != len(proto.Record{}) {
		m.event(EventDamaged, req, "record does not open under its group's key")
		return proto.Fail, nil
	}
	if !m.claim(req) {
		return proto.Disabled, nil
	}
	m.Metrics.Loads++
	return proto.Success, proto.LoadBody(proto.Record(plain))
}

func groupWhy(id proto.UUID, g *group) string {
	if g == nil {
		return fmt.Sprintf("group %v does not exist", id)
	}
	return fmt.Sprintf("group %v is closed: %v", id, g.why)
}

// save stages SAVEHASHKEY; the answer waits for the commit. An unknown uuid
// gets an entry in the default group, as upstream's manager does.
func (m *Manager) save(req *Request, rec proto.Record) proto.Result {
	v, ok, err := m.lookup(req.UUID)
	if err != nil {
		m.event(EventDamaged, req, err.Error())
		return proto.Fail
	}
	if !ok {
		v = vtpm{group: defaultGroup, created: m.unixNow()}
	}
	g := m.groups[v.group]
	if g == nil || g.box == nil {
		m.event(EventGroupClosed, req, groupWhy(v.group, g))
		return proto.Disabled
	}
	if !m.claim(req) {
		return proto.Disabled
	}
	if v.sealed, err = g.box.Seal(nil, rec[:], recordAAD(req.UUID, v.group)); err != nil {
		m.degrade(err)
		return proto.Fail
	}
	v.saves++
	switch err := m.put(req.UUID, v); {
	case errors.Is(err, store.ErrFull):
		m.event(EventFull, req, err.Error())
		return proto.NoSpace
	case err != nil:
		m.event(EventDamaged, req, err.Error())
		return proto.Fail
	}
	if !ok {
		m.event(EventCreated, req, "first save: vTPM added to the default group")
	}
	return proto.Success
}

func (m *Manager) unixNow() uint64 {
	if m.c.Now == nil {
		return 0
	}
	return uint64(max(m.c.Now().Unix(), 0))
}
