package manager

import (
	"errors"
	"math"
	"testing"
	"time"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// table is a manager with a clock that the test moves, on a hardware TPM whose
// commands are counted.
type table struct {
	t       *testing.T
	m       *Manager
	hw      *fakeTPM
	now     int64
	ops     int
	answers map[int][]proto.Result // by client, in order
	order   []int                  // who was answered
	rests   int
}

func newTable(t *testing.T) *table {
	b := &table{t: t, hw: newTPM(), answers: map[int][]proto.Result{}}
	c := quiet(newDisk(diskSize), restingTPM{b.hw, b})
	c.Clock, c.SaveRate = func() int64 { return b.now }, DefaultSaveRate
	b.m = start(t, c)
	b.hw.fail = func(string) error { b.ops++; return nil }
	return b
}

// restingTPM notes when it may unload its keys.
type restingTPM struct {
	*fakeTPM
	b *table
}

func (r restingTPM) Rest() { r.b.rests++ }

func frameOf(tag proto.Tag, ordinal uint32, body ...byte) []byte {
	f, _ := proto.Request{Tag: tag, Ordinal: ordinal, Body: body}.Append(nil)
	return f
}

var (
	slowFrame  = frameOf(proto.TagRqu, proto.OrdTPMGetRandom, 0, 0, 0, 8)
	quickFrame = frameOf(proto.TagVTPM, proto.OrdHello)
	quoteFrame = frameOf(proto.TagVTPM, proto.OrdDeepQuote)
)

const saveEvery = int64(time.Hour / DefaultSaveRate)

// ask lets client n ask; then, if set, runs when it is answered.
func (b *table) ask(n int, frame []byte, then func()) *Job {
	j := &Job{Request: Request{Client: ClientID{Domain: uint16(n)}, UUID: uuid(n), Frame: frame}}
	j.Respond = func(rsp []byte) {
		r, err := proto.ParseResponse(rsp)
		if err != nil {
			b.t.Error(err)
		}
		b.answers[n], b.order = append(b.answers[n], r.Result), append(b.order, n)
		if then != nil {
			then()
		}
	}
	b.m.Take(j)
	return j
}

// turns has turns taken until nobody is due, and counts them.
func (b *table) turns() (n int) {
	for b.m.Turn() {
		if n++; n > 10*saveBurst {
			b.t.Fatal("there is no end of turns")
		}
	}
	return n
}

// endless lets client n ask again as soon as it is answered.
func (b *table) endless(n int, frame []byte) { b.ask(n, frame, func() { b.endless(n, frame) }) }

// A save is answered with its commit, one increment, before any of the requests
// that take the hardware TPM; of those there is one in a turn, and each client has
// its own before anybody has a second.
func TestTurn(t *testing.T) {
	b := newTable(t)
	for n := range 20 {
		b.endless(n, slowFrame)
	}
	for round := range 60 {
		before, ops := b.rests, b.ops
		b.order = nil
		b.ask(50, saveFrame(record(round)), func() {
			if made := b.ops - ops; made != 1 {
				t.Errorf("round %d: the save was answered after %d commands of the hardware TPM", round, made)
			}
		})
		b.ask(51, quickFrame, nil)
		if !b.m.Turn() || len(b.order) != 3 || b.order[0] != 50 || b.order[1] != 51 || b.order[2] != round%20 {
			t.Fatalf("round %d: answered %v", round, b.order)
		}
		if made := b.ops - ops; made != 2 || b.rests != before {
			t.Errorf("round %d: %d commands of the hardware TPM, keys unloaded %d times", round, made, b.rests-before)
		}
	}
	if b.m.NextTurn() > b.now {
		t.Error("nobody is due")
	}
}

// What is used up is waited for, and others do not wait for it. Nothing is an error.
func TestSlowRate(t *testing.T) {
	b := newTable(t)
	b.endless(1, quoteFrame) // refused, as nothing is open, but it has had its turn
	turns := b.turns
	burst := slowRate.Burst / signUnits
	if n := turns(); n != burst || b.rests == 0 {
		t.Fatalf("%d turns at once, keys unloaded %d times", n, b.rests)
	}
	b.ask(2, slowFrame, nil)
	if n := turns(); n != 1 || len(b.answers[2]) != 1 {
		t.Errorf("another client: %d turns, %v", n, b.answers[2])
	}
	every := int64(signUnits) * int64(slowRate.Every)
	if at := b.m.NextTurn(); at != b.now+every {
		t.Errorf("the next turn is at %v", time.Duration(at))
	}
	b.now += every - 1
	if n := turns(); n != 0 {
		t.Errorf("%d turns before the time", n)
	}
	b.now++
	if n := turns(); n != 1 {
		t.Errorf("%d turns at the time", n)
	}
	b.now += 10 * every
	if n := turns(); n != burst {
		t.Errorf("%d turns after a pause", n)
	}
	for range 100 { // the administrator is not limited
		j := &Job{Request: Request{UUID: uuid(7), Admin: true, Frame: frameOf(proto.TagMgmt, proto.OrdAdminFetch, 0, 0, 0, 0)}, Respond: func([]byte) {}}
		b.m.Take(j)
		if !b.m.Turn() {
			t.Fatal("the administrator waits")
		}
	}
}

// A request that waits for its rate ends at once when its frontend cancels it or
// goes.
func TestWaitingRequestEnds(t *testing.T) {
	b := newTable(t)
	b.endless(1, quoteFrame)
	b.turns()
	waiting := b.m.turns.slow[0]
	cancelled, drops := false, 0
	waiting.Gone, waiting.Drop = func() bool { return cancelled }, func() { drops++ }
	if b.m.Turn() || drops != 0 {
		t.Fatal("ended before it was cancelled")
	}
	cancelled = true
	if b.m.Turn(); drops != 1 || b.m.NextTurn() != math.MaxInt64 {
		t.Errorf("dropped %d times, next turn at %d", drops, b.m.NextTurn())
	}
	j := b.ask(1, quoteFrame, nil)
	j.Drop = func() { drops++ }
	if b.m.Disconnected(j.Client); drops != 2 || b.m.NextTurn() != math.MaxInt64 {
		t.Errorf("after the frontend went: dropped %d times", drops)
	}
}

// A client that saves without end has its burst, and then one increment in each
// interval; until then a commit that another pays for carries its saves, too. It
// is named in the log of events.
func TestSaveRate(t *testing.T) {
	b := newTable(t)
	n := 0
	var again func()
	again = func() { n++; b.ask(1, saveFrame(record(n)), again) }
	again()
	b.turns()
	if len(b.answers[1]) != saveBurst {
		t.Fatalf("%d saves at once", len(b.answers[1]))
	}
	increases := b.hw.increases
	b.ask(2, saveFrame(record(2)), nil)
	if !b.m.Turn() || len(b.answers[2]) != 1 || len(b.answers[1]) != saveBurst+1 || b.hw.increases != increases+1 {
		t.Errorf("with another's save: %d and %d answers, %d increments", len(b.answers[2]), len(b.answers[1]), b.hw.increases-increases)
	}
	if at := b.m.NextTurn(); at != b.now+saveEvery {
		t.Errorf("the next turn is at %v", time.Duration(at))
	}
	const intervals = 100
	for range intervals * 10 {
		b.now += saveEvery / 10
		b.m.Turn()
	}
	if made := len(b.answers[1]) - saveBurst - 1; made != intervals {
		t.Errorf("%d saves in %d intervals", made, intervals)
	}
	for _, r := range b.answers[1] {
		if r != proto.Success {
			t.Fatal(r)
		}
	}
	s := &site{t: t, m: b.m, a: &proto.Client{S: client{m: b.m, admin: true}}}
	if !s.hasEvent(EventLimited, "saves without end") {
		t.Error("no event")
	}
}

// A save that waits when its domain ends is not made any more: the next domain
// with this uuid works from what was saved before, on the disk that both have.
func TestWaitingSaveOfGoneDomain(t *testing.T) {
	b := newTable(t)
	b.ask(1, saveFrame(record(1)), nil)
	for range saveBurst {
		b.m.Turn()
		b.ask(1, saveFrame(record(1)), nil)
	}
	b.m.Turn()
	for len(b.m.turns.saves) > 0 {
		b.now += saveEvery
		b.m.Turn()
	}
	b.ask(1, saveFrame(record(2)), nil)
	b.m.Turn()
	if len(b.m.turns.saves) != 1 {
		t.Fatal("the save does not wait")
	}
	b.m.Disconnected(ClientID{Domain: 1})
	next := &proto.Client{S: client{m: b.m, id: ClientID{Domain: 77}, uuid: uuid(1)}}
	if r, err := next.LoadHashKey(); err != nil || r != record(1) {
		t.Fatalf("the next domain: %v", err)
	}
	b.now += int64(time.Hour)
	b.m.Turn()
	if r, err := next.LoadHashKey(); err != nil || r != record(1) {
		t.Errorf("a save of the domain before was made: %v", err)
	}
}

// While the hardware TPM is busy, one turn asks it once, whoever waits.
func TestBusyIsAskedOnce(t *testing.T) {
	b := newTable(t)
	b.hw.fail = func(op string) error {
		b.ops++
		return map[string]error{"increment": hwtpm.ErrBusy, "counter": hwtpm.ErrBusy}[op]
	}
	load := frameOf(proto.TagVTPM, proto.OrdLoadHashKey)
	for round := range 3 {
		for n := range 30 {
			b.ask(n, [][]byte{saveFrame(record(n)), load}[n%2], nil)
		}
		if b.ops = 0; !b.m.Turn() || b.ops > 1 {
			t.Errorf("round %d: %d commands", round, b.ops)
		}
	}
	for n := range 30 {
		for _, r := range b.answers[n] {
			if !errors.Is(r, proto.Fail) {
				t.Errorf("client %d: %v", n, r)
			}
		}
	}
}
