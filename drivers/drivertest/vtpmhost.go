package drivertest

import (
	"fmt"
	"sync"
	"testing"

	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/tpmwire"
)

// UUIDs for tests.
const (
	UUID1 = "01020304-0506-0708-090a-0b0c0d0e0f10"
	UUID2 = "11121314-1516-1718-191a-1b1c1d1e1f20"
	UUID3 = "21222324-2526-2728-292a-2b2c2d2e2f30"
)

// Command makes a TPM 2.0 command of n bytes with code and a recognisable
// body.
func Command(code uint32, n int) []byte {
	b := tpmwire.Header{Tag: tpmwire.TagNoSessions, Size: uint32(n), Code: code}.Append(nil)
	for len(b) < n {
		b = append(b, byte(int(code)+len(b)))
	}
	return b[:n]
}

// Echo is the least TPM: it answers a command with its own body.
func Echo(cmd []byte) []byte {
	return append(tpmwire.Header{Tag: tpmwire.TagNoSessions, Size: uint32(len(cmd))}.Append(nil), cmd[tpmwire.HeaderSize:]...)
}

// States records every value that a node ever shows, from the side.
type States struct {
	mu   sync.Mutex
	seen []string
	last string
}

// Record begins to record path. It reads like the toolstack, so it sees a
// value only if somebody could have seen it.
func Record(h *xentest.Hypervisor, d *xentest.Domain, path string) (*States, error) {
	s := new(States)
	look := func(string) {
		v, ok := h.Get(path)
		if !ok {
			v = "-"
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if v != s.last {
			s.last = v
			s.seen = append(s.seen, v)
		}
	}
	_, err := d.Store.Watch(path, look)
	if err != nil {
		return nil, fmt.Errorf("drivertest: recording %s: %w", path, err)
	}
	return s, nil
}

// Seen is the values so far, in order, repetitions left out.
func (s *States) Seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

// Leaks fails the test if a domain still holds pages or ports of its drivers,
// or keeps a dead one alive.
func Leaks(t *testing.T, h *xentest.Hypervisor, doms ...*xentest.Domain) {
	t.Helper()
	if z := h.Zombies(); len(z) > 0 {
		t.Errorf("zombie domains %v", z)
	}
	for _, d := range doms {
		if n := d.Mapped(); n > 0 {
			t.Errorf("domain %d still maps %d pages", d.ID, n)
		}
		if n := d.OpenPorts(); n > 0 {
			t.Errorf("domain %d still has %d ports", d.ID, n)
		}
	}
}
