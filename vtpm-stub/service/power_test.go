package service

import (
	"errors"
	"testing"

	"xenvtpm/drivers/tpmwire"
)

// Who comes when, and whether the TPM is power-cycled for it.
func TestPowerCycles(t *testing.T) {
	type step struct {
		domain uint16
		gone   []uint16 // detached before the command
		back   []uint16 // attached again before the command
		cycles int      // so far, after it
	}
	for _, c := range []struct {
		name  string
		never bool
		steps []step
	}{
		{"one guest", false, []step{{domain: 3}, {domain: 3}, {domain: 3}}},
		{"driver reload", false, []step{{domain: 3}, {domain: 3, gone: []uint16{3}, back: []uint16{3}}}},
		{"reboot", false, []step{{domain: 3}, {domain: 4, gone: []uint16{3}, cycles: 1}, {domain: 4, cycles: 1}, {domain: 5, gone: []uint16{4}, cycles: 2}}},
		{"reboot, kept", true, []step{{domain: 3}, {domain: 4, gone: []uint16{3}}, {domain: 5, gone: []uint16{4}}}},
		{"builder stays", false, []step{{domain: 2}, {domain: 3}, {domain: 2}, {domain: 3, gone: []uint16{2}}, {domain: 3}}},
		{"two share, then a third alone", false, []step{{domain: 2}, {domain: 3}, {domain: 4, gone: []uint16{2}}, {domain: 5, gone: []uint16{3, 4}, cycles: 1}}},
		{"a former user comes back to others", false, []step{{domain: 2}, {domain: 3}, {domain: 4, gone: []uint16{2}}, {domain: 2, back: []uint16{2}}}},
	} {
		gone := map[uint16]bool{}
		cycles := 0
		e := &fakeEngine{}
		s := New(e, LocalityPolicy{}, nil)
		s.guests.never = c.never
		s.guests.cycle = func() (Engine, error) { cycles++; return e, nil }
		s.SetAttached(func(d uint16) bool { return !gone[d] })
		for i, st := range c.steps {
			for _, d := range st.gone {
				gone[d] = true
			}
			for _, d := range st.back {
				delete(gone, d)
			}
			s.Handle(&Request{Domain: st.domain, Command: frame(tpmwire.TagNoSessions, 0x144)})
			if cycles != st.cycles {
				t.Errorf("%s, step %d: %d power cycles, want %d", c.name, i, cycles, st.cycles)
			}
		}
	}
}

// Only commands for the TPM count: a domain that sends nonsense, or may not use
// the TPM, resets nothing.
func TestPowerCycleNeedsCommand(t *testing.T) {
	policy, err := ParseLocality([]string{"0"})
	if err != nil {
		t.Fatal(err)
	}
	s := New(&fakeEngine{}, policy, t.Logf)
	s.guests.cycle = func() (Engine, error) { t.Error("power cycle"); return nil, nil }
	s.SetAttached(func(uint16) bool { return false })
	s.Handle(&Request{Domain: 3, Command: frame(tpmwire.TagNoSessions, 0x144)})
	s.Handle(&Request{Domain: 4, Command: []byte("nonsense")})
	s.Handle(&Request{Domain: 4, Command: frame(tpmwire.TagVTPMRequest, 2)})
	s.Handle(&Request{Domain: 4, Locality: 1, Command: frame(tpmwire.TagNoSessions, 0x144)})
}

// A TPM that does not come up again serves nobody.
func TestPowerCycleFails(t *testing.T) {
	s := New(&fakeEngine{}, LocalityPolicy{}, t.Logf)
	s.guests.cycle = func() (Engine, error) { return nil, errors.New("the disk is gone") }
	s.SetAttached(func(uint16) bool { return false })
	s.Handle(&Request{Domain: 3, Command: frame(tpmwire.TagNoSessions, 0x144)})
	rsp := s.Handle(&Request{Domain: 4, Command: frame(tpmwire.TagNoSessions, 0x144)})
	if h, err := tpmwire.ParsePacket(rsp); err != nil || h.Code != tpmwire.RCFailure || !s.Failed() {
		t.Errorf("answer %x", rsp)
	}
}
