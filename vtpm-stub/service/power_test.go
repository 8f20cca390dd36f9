package service

import (
	"errors"
	"strings"
	"testing"

	"xenvtpm/drivers/tpmwire"
)

// command is one TPM2_Startup of a device.
func command(s *Service, a Attachment) []byte {
	return s.Handle(&Request{From: "f", Attachment: a, Command: frame(tpmwire.TagNoSessions, 0x144)})
}

// Only commands for the TPM count: a domain that sends nonsense, or may not use
// the TPM, resets nothing.
func TestPowerCycleNeedsCommand(t *testing.T) {
	policy, err := ParseLocality([]string{"0"})
	if err != nil {
		t.Fatal(err)
	}
	s := New(&fakeEngine{}, policy, t.Logf)
	cycles := 0
	s.guests.cycle = func(bool) (Engine, error) { cycles++; return nil, nil }
	old, next := Attachment{ID: 1, Domain: 3}, Attachment{ID: 2, Domain: 4}
	command(s, old)
	s.Detached(old, true)
	s.Handle(&Request{Attachment: next, Command: []byte("nonsense")})
	s.Handle(&Request{Attachment: next, Command: frame(tpmwire.TagVTPMRequest, 2)})
	s.Handle(&Request{Attachment: next, Locality: 1, Command: frame(tpmwire.TagNoSessions, 0x144)})
	if cycles != 0 {
		t.Error("power cycle")
	}
	if command(s, next); cycles != 1 {
		t.Errorf("%d power cycles", cycles)
	}
}

// A TPM that does not come up again serves nobody.
func TestPowerCycleFails(t *testing.T) {
	s := New(&fakeEngine{}, LocalityPolicy{}, t.Logf)
	s.guests.cycle = func(bool) (Engine, error) { return nil, errors.New("the disk is gone") }
	command(s, Attachment{ID: 1, Domain: 3})
	s.Detached(Attachment{ID: 1, Domain: 3}, true)
	rsp := command(s, Attachment{ID: 2, Domain: 4})
	if h, err := tpmwire.ParsePacket(rsp); err != nil || h.Code != tpmwire.RCFailure || !s.Failed() {
		t.Errorf("answer %x", rsp)
	}
}

// Whoever is refused gets the error of its dialect and one line in the log.
func TestOutdatedIsRefused(t *testing.T) {
	var said []string
	s := New(&fakeEngine{}, LocalityPolicy{}, func(f string, a ...any) { said = append(said, f) })
	s.guests.cycle = func(bool) (Engine, error) { return nil, nil }
	old := Attachment{ID: 1, Domain: 3}
	command(s, old)
	command(s, Attachment{ID: 2, Domain: 4})
	n := len(said)
	for range 3 {
		if h, err := tpmwire.ParsePacket(command(s, old)); err != nil || h.Code != tpmwire.RCFailure {
			t.Errorf("answer %+v, %v", h, err)
		}
		rsp := s.Handle(&Request{From: "f", Attachment: old, Command: frame(tpmwire.TagRquCommand, ordGetTestResult)})
		if h, err := tpmwire.ParsePacket(rsp); err != nil || h.Code != tpmwire.Result12Fail {
			t.Errorf("answer %+v, %v", h, err)
		}
	}
	if len(said) != n+1 {
		t.Errorf("%d lines: %s", len(said)-n, strings.Join(said, "\n"))
	}
}

// What is remembered of guests that may come back is bounded; beyond the bound
// everybody may be one.
func TestOpenIsBounded(t *testing.T) {
	g := newGuests(t.Logf)
	for i := range maxOpen + 10 {
		a := Attachment{ID: uint64(i + 1), Domain: uint16(i + 1), UUID: [16]byte{byte(i), byte(i >> 8)}}
		if _, refusal, err := g.arrive(a); refusal != "" || err != nil {
			t.Fatal(refusal, err)
		}
		g.leave(a, false)
	}
	if len(g.open) > maxOpen || len(g.users) != 0 {
		t.Errorf("%d remembered", len(g.open))
	}
	if r, _ := g.rule(Attachment{ID: 1 << 30, Domain: 9, UUID: [16]byte{15: 1}}); r != capped {
		t.Errorf("ruling %d for somebody new", r)
	}
}
