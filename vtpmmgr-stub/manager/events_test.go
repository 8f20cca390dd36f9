package manager

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// noisy starts a manager with a clock that the test moves, and returns its console.
func noisy(t *testing.T, d *simDisk, now *int64) (*Manager, *[]string) {
	t.Helper()
	var out []string
	c := config(t, d, newTPM())
	c.Clock = func() int64 { return *now }
	c.Logf = func(f string, a ...any) { out = append(out, fmt.Sprintf(f, a...)) }
	return start(t, c), &out
}

// One vTPM that provokes events without end leaves those of others and of the
// administrator in the log, and the log says how many of its own it has dropped.
func TestEventShare(t *testing.T) {
	now := int64(0)
	d := newDisk(diskSize)
	m, _ := noisy(t, d, &now)
	s := &site{t: t, m: m, a: &proto.Client{S: client{m: m, admin: true}}}
	s.must(proto.OrdCreate, proto.Target{UUID: uuid(3)})
	for n := range 5 { // others
		if err := vtpmClient(m, 20+n).SaveHashKey(record(n)); err != nil {
			t.Fatal(err)
		}
	}
	req := &Request{Client: ClientID{Domain: 7}, UUID: uuid(1)}
	provoked := 0
	for round := range 300 { // each commit carries more than its share
		for i := range 3 * maxShare {
			m.event(EventAttest, req, fmt.Sprintf("certificate refused: %d, %d", round, i))
			provoked++
		}
		if err := vtpmClient(m, 2).SaveHashKey(record(round)); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.events.kept) > maxEvents {
		t.Errorf("%d events on the disk", len(m.events.kept))
	}
	of := map[proto.UUID]int{}
	lost := 0
	for seq := uint64(0); ; {
		var page proto.Events
		if err := s.a.Admin(proto.OrdEvents, proto.EventsRequest{From: seq}, &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			of[e.UUID]++
			if e.Kind == "lost" {
				lost += int(e.Count)
			}
			seq = e.Seq + 1
		}
		if !page.More {
			break
		}
	}
	for n := range 5 {
		if of[uuid(20+n)] != 1 {
			t.Errorf("vTPM %d has %d events", 20+n, of[uuid(20+n)])
		}
	}
	if of[uuid(3)] != 1 || of[uuid(2)] != 1 || of[uuid(1)] < 100 || lost < 100*2*maxShare {
		t.Errorf("administrator's %d, saver's %d, noisy one's %d; %d counted as lost of %d", of[uuid(3)], of[uuid(2)], of[uuid(1)], lost, provoked)
	}
	// The same after a restart, which reads what the disk has.
	before := len(m.events.kept)
	again := start(t, quiet(diskOf(d.live), m.c.HW.(*fakeTPM).restart()))
	if len(again.events.kept) < before-1 || again.events.next <= m.events.next {
		t.Errorf("%d events after a restart, %d before", len(again.events.kept), before)
	}
}

// However a vTPM makes the manager write, it gets its budget of lines, and what is
// left out is counted. The administrator's lines and another vTPM's are written.
func TestConsoleBudget(t *testing.T) {
	ek := tpm2.RSAEKTemplate
	ek.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: make([]byte, 256)})
	for name, provoke := range map[string]func(m *Manager, n int){
		"administration": func(m *Manager, n int) { _ = vtpmClient(m, 1).Admin(proto.OrdStatus, proto.Empty{}, &proto.Status{}) },
		"open elsewhere": func(m *Manager, n int) {
			_, _ = (&proto.Client{S: client{m: m, id: ClientID{Domain: 99}, uuid: uuid(1)}}).LoadHashKey()
		},
		"hardware fails": func(m *Manager, n int) {
			m.c.HW.(*fakeTPM).fail = failOp("random", fmt.Errorf("broken for the %dth time", n))
			_, _ = vtpmClient(m, 1).GetRandom(8)
		},
		"hardware does not count": func(m *Manager, n int) {
			m.c.HW.(*fakeTPM).fail = failOp("increment", fmt.Errorf("%w: %d", hwtpm.ErrBusy, n))
			_ = vtpmClient(m, 1).SaveHashKey(record(n))
		},
		"no attestation": func(m *Manager, n int) { _, _ = vtpmClient(m, 1).CertifyKey(marshalled(ek), 183) },
	} {
		t.Run(name, func(t *testing.T) {
			now := int64(0)
			m, out := noisy(t, newDisk(diskSize), &now)
			if err := vtpmClient(m, 1).SaveHashKey(record(1)); err != nil {
				t.Fatal(err)
			}
			before := len(*out)
			const seconds, each = 100, 30
			for n := range seconds * each {
				provoke(m, n)
				now += int64(time.Second) / each
			}
			if made := len(*out) - before; made < 30 || made > 2*30+2*seconds/10 { // two clients at most: itself, and several
				t.Errorf("%d lines in %d s of noise", made, seconds)
			}
			for at := m.ReportLines(); at < 1<<62; at = m.ReportLines() {
				now = at
			}
			if last := (*out)[len(*out)-1]; !strings.Contains(last, "lines left out") {
				t.Errorf("the last line: %q", last)
			}
			m.c.HW.(*fakeTPM).fail = nil
			before = len(*out)
			m.event(EventOpenTwice, &Request{UUID: uuid(8)}, "another's")
			if err := (&proto.Client{S: client{m: m, admin: true}}).Admin(proto.OrdCreate, proto.Target{UUID: uuid(9)}, &proto.Empty{}); err != nil || len(*out) != before+2 {
				t.Errorf("%d lines of others: %v", len(*out)-before, err)
			}
		})
	}
}
