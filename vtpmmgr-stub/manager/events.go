package manager

import (
	"encoding/binary"
	"errors"
	"fmt"

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
	maxEventText = 160
)

// eventLog keeps events in memory until a commit carries them to the disk. They
// cause no commit of their own, and equal ones in a row are counted, so that a
// client cannot wear the disk or push out what others did.
type eventLog struct {
	first, next uint64 // sequence numbers on disk: first..next-1
	pending     []Event
	lost        uint32
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
	for i := range l.pending {
		p := &l.pending[i]
		if p.Kind == e.Kind && p.Domain == e.Domain && p.UUID == e.UUID && p.Text == e.Text {
			p.Count++
			return
		}
	}
	if len(l.pending) >= maxPending {
		l.lost++
		return
	}
	l.pending = append(l.pending, e)
}

// load finds the range of events on disk.
func (l *eventLog) load(s *store.Store) error {
	first := true
	err := s.Scan(eventKey(0), func(k store.Key, _ []byte) bool {
		if k[0] != kindEvent {
			return false
		}
		seq := binary.BigEndian.Uint64(k[1:])
		if first {
			l.first, first = seq, false
		}
		l.next = seq + 1
		return true
	}, nil)
	return err
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
		l.next++
		if l.next-l.first > maxEvents {
			if err := s.Delete(eventKey(l.first)); err != nil {
				return err
			}
			l.first++
		}
	}
	return nil
}

// nameLost makes the last pending event say how many had no room.
func (l *eventLog) nameLost() {
	if l.lost == 0 {
		return
	}
	last := &l.pending[len(l.pending)-1]
	if last.Kind == EventLost {
		l.lost += last.Count
	}
	*last = Event{Kind: EventLost, Count: l.lost, Text: fmt.Sprintf("%d events were not kept", l.lost)}
	l.lost = 0
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
	EventGroup: "group", EventPolicy: "policy", EventBadPolicy: "bad-policy", EventBackup: "backup", EventRestored: "restored", EventAttest: "attest", EventLost: "lost"}

func (k EventKind) String() string {
	if s, ok := eventNames[k]; ok {
		return s
	}
	return fmt.Sprintf("event-%d", uint8(k))
}
