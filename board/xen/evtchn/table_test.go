package evtchn

import (
	"encoding/binary"
	"errors"
	"testing"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/shm"
)

// script is a hypervisor that does what it is told.
type script struct {
	page  *shm.Page
	now   int64
	port  uint32 // given to the next alloc or bind
	rc    int    // of every event-channel op
	calls []uint32
	polls []poll
	fire  Port // becomes pending during the next poll

	pollRC  int // of every poll that names a port
	refused int // such polls
}

type poll struct {
	ports   int
	first   Port
	timeout uint64
}

func (s *script) EventChannelOp(cmd uint32, arg *[abi.EvtchnBindInterdomainSize]byte) int {
	s.calls = append(s.calls, cmd)
	switch cmd {
	case abi.EVTCHNOP_alloc_unbound:
		binary.LittleEndian.PutUint32(arg[abi.EvtchnAllocUnboundPort:], s.port)
	case abi.EVTCHNOP_bind_interdomain:
		binary.LittleEndian.PutUint32(arg[abi.EvtchnBindInterdomainLocalPort:], s.port)
	}
	s.port++
	return s.rc
}

func (s *script) PollPorts(ports []Port, timeout uint64) int {
	if len(ports) > 0 && s.pollRC != 0 {
		s.refused++
		return s.pollRC
	}
	var first Port
	if len(ports) > 0 {
		first = ports[0]
	}
	s.polls = append(s.polls, poll{len(ports), first, timeout})
	if timeout != 0 {
		s.now = max(s.now, int64(timeout))
	}
	if s.fire != 0 {
		s.set(s.fire)
		s.fire = 0
	}
	return 0
}

func (s *script) SystemTime() int64 { return s.now }

func (s *script) set(p Port) {
	s.page.Or64(abi.SharedInfoEvtchnPending+8*int(p/64), 1<<(p%64))
}

func newTable() (*script, *Table) {
	s := &script{page: shm.New(), port: 5}
	return s, New(s, s.page)
}

func TestNewMasksEverything(t *testing.T) {
	s, _ := newTable()
	for w := range abi.EvtchnWords {
		if s.page.Load64(abi.SharedInfoEvtchnMask+8*w) != ^uint64(0) {
			t.Fatalf("word %d is not masked", w)
		}
	}
	if s.page.Load64(abi.SharedInfoEvtchnPending) != 0 || s.page.Load64(abi.SharedInfoWCVersion&^7) != 0 {
		t.Error("wrote outside the mask")
	}
}

// TestStaleBits: the pending bit that a port's former user left does not count,
// but a bind always does, and a foreign port's bit is nobody's event.
func TestStaleBits(t *testing.T) {
	s, tab := newTable()
	s.set(5)
	p, err := tab.AllocUnbound(1)
	if err != nil || p != 5 || tab.TestClear(p) {
		t.Errorf("alloc: port %d, %v, or pending at birth", p, err)
	}
	p, err = tab.BindInterdomain(1, 9)
	if err != nil || p != 6 || !tab.TestClear(p) {
		t.Errorf("bind: port %d, %v, or not pending at birth", p, err)
	}
	s.set(7)
	if tab.TestClear(7) || tab.Pending() {
		t.Error("a port that is not ours counts")
	}
	s.set(5)
	if !tab.Pending() {
		t.Error("Pending does not see port 5")
	}
	if err := tab.Close(5); err != nil {
		t.Fatal(err)
	}
	if tab.Pending() || s.page.Load64(abi.SharedInfoEvtchnPending)&(1<<5) != 0 {
		t.Error("Close leaves the bit")
	}
}

func TestErrors(t *testing.T) {
	s, tab := newTable()
	for name, err := range map[string]error{
		"close":  tab.Close(3),
		"notify": tab.Notify(3),
		"beyond": tab.Notify(1 << 31),
		"adopt":  tab.Adopt(0),
		"adopt2": tab.Adopt(4096),
	} {
		if !errors.Is(err, ErrBadPort) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if tab.TestClear(1<<31) || len(s.calls) != 0 {
		t.Error("an unknown port got to Xen")
	}
	s.rc = -int(abi.ENOSPC)
	if _, err := tab.AllocUnbound(1); !errors.Is(err, abi.ENOSPC) {
		t.Errorf("alloc: %v", err)
	}
	if _, err := tab.BindInterdomain(1, 2); !errors.Is(err, abi.ENOSPC) {
		t.Errorf("bind: %v", err)
	}
	s.rc = 0
	for _, port := range []uint32{0, 4096, 1 << 31} {
		s.port = port
		if _, err := tab.AllocUnbound(1); !errors.Is(err, ErrBadPort) {
			t.Errorf("Xen gives port %d: %v", port, err)
		}
	}
	if tab.Len() != 0 || len(tab.Ports()) != 0 {
		t.Error("ports are left")
	}
}

func TestWait(t *testing.T) {
	s, tab := newTable()
	a, _ := tab.AllocUnbound(1)
	b, _ := tab.AllocUnbound(1)
	s.set(b)
	tab.Wait(1e9)
	if len(s.polls) != 0 {
		t.Error("Wait polled although a port is pending")
	}
	tab.TestClear(b)
	s.fire = a
	tab.Wait(Forever)
	if len(s.polls) != 1 || s.polls[0] != (poll{2, a, 0}) {
		t.Errorf("polls %v", s.polls)
	}
	tab.TestClear(a)
	tab.Wait(5e9)
	if s.now != 5e9 || s.polls[1].timeout != 5e9 {
		t.Errorf("now %d, polls %v", s.now, s.polls)
	}
	tab.Wait(4e9) // the past: no poll, and never timeout 0, which is for ever
	tab.Wait(-1)
	if len(s.polls) != 2 {
		t.Errorf("polls %v", s.polls)
	}
	s.set(b)
	s.fire = a
	tab.WaitPort(a, Forever)
	if len(s.polls) != 3 || s.polls[2].ports != 1 || !tab.TestClear(a) || !tab.TestClear(b) {
		t.Errorf("WaitPort: polls %v", s.polls)
	}
	tab.WaitPort(99, Forever) // not ours: returns
	tab.Rearm(a)
	tab.Rearm(99)
	if !tab.TestClear(a) || s.page.Load64(abi.SharedInfoEvtchnPending+8) != 0 {
		t.Error("Rearm")
	}
}

// TestPollRefused: a poll that Xen refuses does not make a wait spin.
func TestPollRefused(t *testing.T) {
	s, tab := newTable()
	a, _ := tab.AllocUnbound(1)
	s.pollRC = -int(abi.EINVAL)
	for name, wait := range map[string]func(int64){
		"Wait": tab.Wait, "WaitPort": func(deadline int64) { tab.WaitPort(a, deadline) },
	} {
		s.refused, s.polls = 0, nil
		until := s.now + 1e9
		wait(until)
		if s.now != until || s.refused > 100 || s.refused != len(s.polls) {
			t.Errorf("%s: %d polls refused and %d slept by %d, want about 100 by %d", name, s.refused, len(s.polls), s.now, until)
		}
		s.fire = a
		if wait(Forever); !tab.TestClear(a) {
			t.Errorf("%s: lost the event", name)
		}
	}
}

// TestWindow: with more ports than a poll takes, every port is polled in turn
// and no sleep is long.
func TestWindow(t *testing.T) {
	s, tab := newTable()
	for range 300 {
		if _, err := tab.AllocUnbound(1); err != nil {
			t.Fatal(err)
		}
	}
	s.now = 1e9
	tab.Wait(2e9)
	firsts := map[Port]bool{}
	last := int64(1e9)
	for _, p := range s.polls {
		if p.ports != abi.SchedPollMaxPorts {
			t.Fatalf("polled %d ports", p.ports)
		}
		if int64(p.timeout)-last > manyPortsSlice {
			t.Fatalf("slept %d ns", int64(p.timeout)-last)
		}
		last = int64(p.timeout)
		firsts[p.first] = true
	}
	if last != 2e9 || !firsts[5] || !firsts[5+128] {
		t.Errorf("ended at %d, windows from %v", last, firsts)
	}
}
