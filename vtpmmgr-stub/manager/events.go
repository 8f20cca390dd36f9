package manager

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// EventKind says what an event is about.
type EventKind uint8

// Events. The numbers are stored and sent; they never change.
const (
	EventStarted     EventKind = 1
	EventCreated     EventKind = 2
	EventDeleted     EventKind = 3
	EventMoved       EventKind = 4
	EventOpenTwice   EventKind = 5 // a second client with the same uuid
	EventDamaged     EventKind = 6
	EventFull        EventKind = 7
	EventGroupClosed EventKind = 8
	EventNotAdmin    EventKind = 9 // an admin request of another frontend
	EventGroup       EventKind = 10
	EventPolicy      EventKind = 11
	EventBadPolicy   EventKind = 12
	EventBackup      EventKind = 13
	EventRestored    EventKind = 14
	EventAttest      EventKind = 15
	EventLost        EventKind = 16 // so many were too many
	EventLimited     EventKind = 17 // a client is beyond its rate
)

// Event is one entry of the log of security events.
type Event struct {
	Seq    uint64
	Time   uint64 // Unix seconds, 0 if unknown
	Kind   EventKind
	Count  uint32 // how often, in a row
	Domain uint16 // the client's
	UUID   proto.UUID
	Text   string
}

// Limits of the log.
const (
	maxEvents    = 1024 // kept on disk
	maxPending   = 64   // waiting for the next commit
	maxShare     = 8    // of them of one client, and of those on disk where room is made
	maxEventText = 160
)

// eventLog keeps events in memory until a commit carries them to the disk. They
// cause no commit of their own, and equal ones in a row are counted. One client
// gets a share: what is beyond it in memory is counted, and on the disk its own
// old events make room for its new ones, so that it cannot wear the disk or push
// out what others did.
type eventLog struct {
	next    uint64      // sequence number
	kept    []keptEvent // on disk, oldest first
	pending []Event
	lost    map[proto.UUID]uint32
}

// keptEvent is what making room must know of an event.
type keptEvent struct {
	seq  uint64
	uuid proto.UUID
	kind EventKind
}

// ofClient: events that a client causes at will. The others are the
// administrator's and the manager's own.
func (k EventKind) ofClient() bool {
	switch k {
	case EventCreated, EventOpenTwice, EventDamaged, EventFull, EventGroupClosed, EventNotAdmin, EventAttest, EventLost, EventLimited:
		return true
	}
	return false
}

func eventKey(seq uint64) store.Key {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], seq)
	return store.MakeKey(kindEvent, id)
}

func (e Event) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, e.Time)
	b = append(b, byte(e.Kind))
	b = binary.BigEndian.AppendUint32(b, e.Count)
	b = binary.BigEndian.AppendUint16(b, e.Domain)
	b = append(b, e.UUID[:]...)
	return append(b, e.Text...)
}

func parseEvent(seq uint64, in []byte) (Event, error) {
	r := proto.NewReader(in)
	e := Event{Seq: seq, Time: r.U64(), Kind: EventKind(r.U8()), Count: r.U32(), Domain: r.U16(), UUID: r.UUID()}
	e.Text = string(r.Bytes(r.Len()))
	return e, r.Done()
}

// event logs what a client did.
func (m *Manager) event(kind EventKind, req *Request, text string) {
	m.logf("domain %d, vTPM %v: %s", req.Client.Domain, req.UUID, text)
	m.record(kind, req, text)
}

// record is event for what has its line in the log elsewhere.
func (m *Manager) record(kind EventKind, req *Request, text string) {
	if len(text) > maxEventText {
		text = text[:maxEventText]
	}
	m.events.add(Event{Time: m.unixNow(), Kind: kind, Count: 1, Domain: req.Client.Domain, UUID: req.UUID, Text: text})
}

func (l *eventLog) add(e Event) {
	share := 0
	for i := range l.pending {
		p := &l.pending[i]
		if p.Kind == e.Kind && p.Domain == e.Domain && p.UUID == e.UUID && p.Text == e.Text {
			p.Count++
			return
		}
		if p.UUID == e.UUID && p.Kind.ofClient() {
			share++
		}
	}
	if len(l.pending) >= maxPending && (e.Kind.ofClient() || len(l.pending) >= 2*maxPending) || e.Kind.ofClient() && share >= maxShare {
		l.lose(e.UUID)
		return
	}
	l.pending = append(l.pending, e)
}

// lose counts an event for which there is no room.
func (l *eventLog) lose(u proto.UUID) {
	if l.lost == nil {
		l.lost = map[proto.UUID]uint32{}
	}
	if l.lost[u] == 0 && len(l.lost) >= maxPending {
		u = proto.UUID{} // too many to name each
	}
	l.lost[u]++
}

// load finds the events on disk.
func (l *eventLog) load(s *store.Store) error {
	return s.Scan(eventKey(0), func(k store.Key, b []byte) bool {
		if k[0] != kindEvent {
			return false
		}
		seq := binary.BigEndian.Uint64(k[1:])
		e, _ := parseEvent(seq, b) // a damaged one makes room like any other
		l.kept, l.next = append(l.kept, keptEvent{seq, e.UUID, e.Kind}), seq+1
		return true
	}, nil)
}

// stage puts the pending events into the store, to go with the next commit. On a
// full disk they stay in memory, where the administrator sees them, too.
func (l *eventLog) stage(s *store.Store) error {
	l.nameLost()
	pending := l.pending
	l.pending = nil // what fails for another reason is lost, not tried for ever
	for i, e := range pending {
		switch err := s.Put(eventKey(l.next), e.encode()); {
		case errors.Is(err, store.ErrFull):
			l.pending = pending[i:]
			return nil
		case err != nil:
			return err
		}
		l.kept = append(l.kept, keptEvent{l.next, e.UUID, e.Kind})
		l.next++
		if err := l.makeRoom(s); err != nil {
			return err
		}
	}
	return nil
}

func (l *eventLog) makeRoom(s *store.Store) error {
	if len(l.kept) <= maxEvents {
		return nil
	}
	i := l.victim()
	if err := s.Delete(eventKey(l.kept[i].seq)); err != nil {
		return err
	}
	l.kept = slices.Delete(l.kept, i, i+1)
	return nil
}

// victim is which event goes: the oldest of the client that has most, or of all if
// none has more than its share.
func (l *eventLog) victim() int {
	count, most := map[proto.UUID]int{}, maxShare
	var of proto.UUID
	for _, k := range l.kept {
		if !k.kind.ofClient() {
			continue
		}
		if count[k.uuid]++; count[k.uuid] > most {
			most, of = count[k.uuid], k.uuid
		}
	}
	if most == maxShare {
		return 0
	}
	return slices.IndexFunc(l.kept, func(k keptEvent) bool { return k.uuid == of && k.kind.ofClient() })
}

// nameLost adds, for each client, an event that says how many had no room.
func (l *eventLog) nameLost() {
	for u, n := range l.lost {
		if len(l.pending) >= 2*maxPending { // only on a full disk
			u = proto.UUID{}
		}
		e := Event{Kind: EventLost, Count: n, UUID: u, Text: fmt.Sprintf("%d events were not kept", n)}
		if i := slices.IndexFunc(l.pending, func(p Event) bool { return p.Kind == EventLost && p.UUID == u }); i >= 0 {
			e.Count += l.pending[i].Count
			e.Text = fmt.Sprintf("%d events were not kept", e.Count)
			l.pending[i] = e
			continue
		}
		l.pending = append(l.pending, e)
	}
	clear(l.lost)
}

// eventFor logs what the administrator did to a vTPM or a group.
func (m *Manager) eventFor(kind EventKind, req *Request, id proto.UUID, text string) {
	about := *req
	about.UUID = id
	m.event(kind, &about, text)
}

// badPolicy records a policy that was refused. The log has it as every refusal of
// the administrator.
func (m *Manager) badPolicy(req *Request, id proto.UUID, what string, err error) {
	about := *req
	about.UUID = id
	m.record(EventBadPolicy, &about, what+err.Error())
}

var eventNames = map[EventKind]string{EventStarted: "started", EventCreated: "created", EventDeleted: "deleted", EventMoved: "moved",
	EventOpenTwice: "open-twice", EventDamaged: "damaged", EventFull: "full", EventGroupClosed: "group-closed", EventNotAdmin: "not-admin",
	EventGroup: "group", EventPolicy: "policy", EventBadPolicy: "bad-policy", EventBackup: "backup", EventRestored: "restored", EventAttest: "attest", EventLost: "lost", EventLimited: "limited"}

func (k EventKind) String() string {
	if s, ok := eventNames[k]; ok {
		return s
	}
	return fmt.Sprintf("event-%d", uint8(k))
}
