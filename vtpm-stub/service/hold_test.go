package service

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpm-stub/state"
)

var (
	errAway  = errors.New("away")
	errFinal = errors.New("refused")
)

// fakeKeeper is a state.Store with a manager that can be away. fail is what Save
// and Settle meet; given says whether a failing Save begins with the state.
type fakeKeeper struct {
	fail    error
	given   bool
	pending []byte
	durable []byte
}

func (k *fakeKeeper) Save(blob []byte) error {
	if err := k.Settle(); err != nil {
		return err
	}
	if k.fail == nil {
		k.durable = bytes.Clone(blob)
		return nil
	}
	if !k.given {
		return k.fail
	}
	k.pending = bytes.Clone(blob)
	return fmt.Errorf("%w: %w", state.ErrUncertain, k.fail)
}

func (k *fakeKeeper) Settle() error {
	switch {
	case k.pending == nil:
		return nil
	case errors.Is(k.fail, errFinal):
		return k.fail
	case k.fail != nil:
		return fmt.Errorf("%w: %w", state.ErrUncertain, k.fail)
	}
	k.durable, k.pending = k.pending, nil
	return nil
}

// holding is a service over an engine whose every command changes what lasts.
func holding(t *testing.T, k *fakeKeeper) (*Service, *int64, *int) {
	t.Helper()
	now, executed := new(int64), new(int)
	var s *Service
	e := &savingEngine{run: func(cmd []byte) []byte {
		*executed++
		if err := s.persist(fmt.Appendf(nil, "state %d", *executed)); err != nil {
			return error20(0x101)
		}
		return tpmwire.Header{Tag: tpmwire.TagNoSessions, Size: tpmwire.HeaderSize + 1}.Append(nil)
	}}
	s = New(e, LocalityPolicy{}, t.Logf)
	s.hold.keeper, s.clock = k, func() int64 { return *now }
	s.passing = func(err error) bool { return errors.Is(err, errAway) }
	return s, now, executed
}

// savingEngine is a fakeEngine with a function for its commands.
type savingEngine struct {
	fakeEngine
	run func(cmd []byte) []byte
}

func (e *savingEngine) Execute(_ uint8, cmd, _ []byte) []byte {
	return append(e.run(cmd), byte(len(cmd)))
}

func TestHold(t *testing.T) {
	for _, given := range []bool{false, true} {
		k := &fakeKeeper{given: given}
		s, _, executed := holding(t, k)
		cmd := frame(tpmwire.TagNoSessions, 0x134, 1, 2, 3)
		ask := func(from string, cmd []byte) []byte { return s.Handle(&Request{From: from, Command: cmd}) }
		if rsp := ask("3/0", cmd); rsp == nil || s.Held() {
			t.Fatal("a save that works is held")
		}
		k.fail = errAway
		if rsp := ask("3/0", cmd); rsp != nil || !s.Held() || s.Kept() != nil {
			t.Fatal("an answer before the change is durable")
		}
		if err := s.Settle(); !errors.Is(err, errAway) || !s.Held() {
			t.Fatal(err)
		}
		// The engine may change more before it is settled, as a power cycle does.
		if err := s.persist([]byte("later")); err != nil {
			t.Fatal(err)
		}
		k.fail = nil
		if err := s.Settle(); err != nil || s.Held() || string(k.durable) != "later" {
			t.Fatalf("settled: %v, %q", err, k.durable)
		}
		if rsp := ask("4/0", frame(tpmwire.TagNoSessions, 0x134)); rsp == nil || *executed != 3 {
			t.Fatal("another frontend's command is not executed")
		}
		if rsp := ask("3/0", cmd); rsp == nil || *executed != 3 {
			t.Fatal("a command that is sent again is executed again")
		}
		if ask("3/0", cmd); *executed != 4 {
			t.Fatal("a third one is not executed")
		}
	}
}

// What is kept is for the same command of the same frontend, next, and soon.
func TestKeptAnswers(t *testing.T) {
	cmd, other := frame(tpmwire.TagNoSessions, 0x134, 1), frame(tpmwire.TagNoSessions, 0x134, 2)
	for name, c := range map[string]struct {
		do   func(s *Service, now *int64)
		from string
		cmd  []byte
		runs int
	}{
		"the same":         {func(*Service, *int64) {}, "3/0", cmd, 1},
		"another command":  {func(*Service, *int64) {}, "3/0", other, 2},
		"another frontend": {func(*Service, *int64) {}, "4/0", cmd, 2},
		"one in between":   {func(s *Service, _ *int64) { s.Handle(&Request{From: "3/0", Command: other}) }, "3/0", cmd, 3},
		"much later":       {func(_ *Service, now *int64) { *now += keepFor + 1 }, "3/0", cmd, 2},
		"handed over":      {func(s *Service, _ *int64) { s.Kept() }, "3/0", cmd, 2},
	} {
		k := &fakeKeeper{fail: errAway, given: true}
		s, now, executed := holding(t, k)
		s.Handle(&Request{From: "3/0", Command: cmd})
		k.fail = nil
		if err := s.Settle(); err != nil {
			t.Fatal(err)
		}
		c.do(s, now)
		if s.Handle(&Request{From: c.from, Command: c.cmd}); *executed != c.runs {
			t.Errorf("%s: %d executed, want %d", name, *executed, c.runs)
		}
	}
}

// What is refused for good ends the TPM, and nothing of it is answered.
func TestHoldEnds(t *testing.T) {
	k := &fakeKeeper{fail: errAway, given: true}
	s, _, _ := holding(t, k)
	cmd := frame(tpmwire.TagNoSessions, 0x134)
	s.Handle(&Request{From: "3/0", Command: cmd})
	k.fail = errFinal
	if err := s.Settle(); !errors.Is(err, errFinal) || s.Held() || s.Kept() != nil || !errors.Is(s.Why(), errFinal) {
		t.Fatalf("%v, held %t, why %v", err, s.Held(), s.Why())
	}
	if h, _ := run(t, s, cmd); h.Code != tpmwire.RCFailure {
		t.Fatalf("%#x", h.Code)
	}
}

func TestBusy(t *testing.T) {
	for _, c := range []struct {
		cmd  []byte
		tag  tpmwire.Tag
		code uint32
	}{
		{frame(tpmwire.TagNoSessions, 0x17B, 0, 8), tpmwire.TagNoSessions, 0x922},
		{frame(tpmwire.TagSessions, 0x134), tpmwire.TagNoSessions, 0x922},
		{frame(tpmwire.TagRquCommand, 101), tpmwire.TagRspCommand, 0x800},
	} {
		h, err := tpmwire.ParsePacket(Busy(c.cmd))
		if err != nil || h.Tag != c.tag || h.Code != c.code {
			t.Errorf("%x: %+v %v", c.cmd, h, err)
		}
	}
	for _, junk := range [][]byte{nil, {1, 2, 3}, frame(0x01C1, 1)} {
		if rsp := Busy(junk); len(rsp) < tpmwire.HeaderSize {
			t.Errorf("%x: %x", junk, rsp)
		}
	}
}

// A power cycle for which the manager is needed waits for it. Meanwhile nobody is
// served, whose TPM it was included, and it is done as it was ruled.
func TestPowerCycleOwed(t *testing.T) {
	k := &fakeKeeper{}
	s, _, executed := holding(t, k)
	away, cycles := true, []bool{}
	s.guests.cycle = func(capped bool) (Engine, error) {
		if away {
			return nil, errAway
		}
		cycles = append(cycles, capped)
		return s.engine, nil
	}
	cmd := frame(tpmwire.TagNoSessions, 0x17B)
	first := Attachment{ID: 1, Domain: 3, UUID: [16]byte{1}, Boot: BootNew}
	second := Attachment{ID: 2, Previous: 1, Domain: 4, UUID: [16]byte{1}, Boot: BootRestore}
	if s.Handle(&Request{Attachment: first, Command: cmd}) == nil || *executed != 1 {
		t.Fatal("the first guest")
	}
	s.guests.resumed = false
	delete(s.guests.past, second.UUID) // nothing that the second could resume: it is capped
	if rsp := s.Handle(&Request{Attachment: second, Command: cmd}); rsp != nil || !s.Held() || *executed != 1 {
		t.Fatalf("executed %d before the power cycle, %x", *executed, rsp)
	}
	if err := s.Settle(); !errors.Is(err, errAway) || !s.Held() {
		t.Fatal(err)
	}
	away = false
	if err := s.Settle(); err != nil || s.Held() || s.Kept() != nil || len(cycles) != 1 || !cycles[0] {
		t.Fatalf("%v, cycles (capped) %v", err, cycles)
	}
	if s.Handle(&Request{Attachment: second, Command: cmd}) == nil || *executed != 2 || len(cycles) != 1 {
		t.Fatal("the second guest is not served")
	}
	if h, _ := tpmwire.ParsePacket(s.Handle(&Request{Attachment: first, Command: cmd})); h.Code != tpmwire.RCFailure || *executed != 2 {
		t.Fatal("the first guest is served after a power cycle for another")
	}
}
