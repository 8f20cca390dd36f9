package manager

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// TestPromisedRequests: each request that docs/operations.md says is refused gets
// the result that stands there, and what stands there in the log and, where it is
// an event, in the event log.
func TestPromisedRequests(t *testing.T) {
	promises, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	var log []string
	s.m.logf = func(f string, args ...any) { log = append(log, fmt.Sprintf(f, args...)) }
	g, nowhere := proto.UUID{0x11}, proto.UUID{0x99}
	s.must(proto.OrdGroupCreate, proto.GroupCreate{ID: g, Name: "blue", Authority: s.public(), Policy: s.list(g, 5, s.present())})
	first, second := vtpmClient(s.m, 1), &proto.Client{S: client{m: s.m, id: ClientID{Domain: 77}, uuid: uuid(1)}}
	if err := first.SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(s.list(g, 6, s.present()))
	forged[len(forged)-1] ^= 1
	stranger := newSite(t)
	for name, c := range map[string]struct {
		do    func() error
		want  error
		line  string    // of the document and the log; "" if it promises none
		event EventKind // 0: none
	}{
		"unknown uuid":          {do: func() error { _, err := vtpmClient(s.m, 50).LoadHashKey(); return err }, want: proto.ErrNoRecord},
		"unknown uuid, shown":   {do: func() error { return s.do(proto.OrdShow, proto.Target{UUID: uuid(50)}) }, want: proto.BadIndex},
		"unknown uuid, deleted": {do: func() error { return s.do(proto.OrdDelete, proto.Target{UUID: uuid(50)}) }, want: proto.BadIndex},
		"same uuid twice, load": {func() error { _, err := second.LoadHashKey(); return err }, proto.Disabled, "already open by domain n", EventOpenTwice},
		"same uuid twice, save": {func() error { return second.SaveHashKey(record(2)) }, proto.Disabled, "already open by domain n", EventOpenTwice},
		"wrong group, create":   {func() error { return s.do(proto.OrdCreate, proto.Target{UUID: uuid(51), Group: &nowhere}) }, proto.BadIndex, "no such group", 0},
		"wrong group, move":     {func() error { return s.do(proto.OrdMove, proto.Target{UUID: uuid(1), Group: &nowhere}) }, proto.BadIndex, "no such group", 0},
		"replayed policy list":  {func() error { return s.do(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(g, 5, s.present())}) }, proto.Conflict, "not newer than the one in force", EventBadPolicy},
		"older policy list":     {func() error { return s.do(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(g, 4, s.present())}) }, proto.Conflict, "not newer than the one in force", EventBadPolicy},
		"wrong signature":       {func() error { return s.do(proto.OrdPolicyApply, proto.PolicyApply{Policy: forged}) }, proto.AuthFail, "does not verify", EventBadPolicy},
		"another authority": {func() error {
			return s.do(proto.OrdPolicyApply, proto.PolicyApply{Policy: stranger.list(g, 6, s.present())})
		}, proto.AuthFail, "does not verify", EventBadPolicy},
		"policy of another group": {func() error {
			return s.do(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(nowhere, 6, s.present())})
		}, proto.BadIndex, "no such group", 0},
		"administration by a vTPM": {func() error { return first.Admin(proto.OrdStatus, proto.Empty{}, &proto.Status{}) },
			proto.AuthFail, "not the administrator's frontend", EventNotAdmin},
	} {
		log = nil
		err := c.do()
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if c.line == "" {
			continue
		}
		if !strings.Contains(string(promises), "`"+c.line+"`") {
			t.Errorf("%s: docs/operations.md does not promise %q", name, c.line)
		}
		text := strings.ReplaceAll(c.line, "domain n", "domain 11") // as vtpmClient numbers them
		if c.event == 0 {                                           // the administrator alone is told
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: the administrator is told %v", name, err)
			}
			continue
		}
		if len(log) != 1 || !strings.Contains(log[0], text) {
			t.Errorf("%s: the log says %q", name, log)
		}
		if !s.hasEvent(c.event, text) {
			t.Errorf("%s: no event", name)
		}
	}
	if r, err := first.LoadHashKey(); err != nil || r != record(1) {
		t.Errorf("after all this: %v", err)
	}
}

// A group that does not open says so once, in the log of the start, and to each
// of its vTPMs that asks.
func TestPromisedClosedGroup(t *testing.T) {
	s := newSite(t)
	g := proto.UUID{0x11}
	s.must(proto.OrdGroupCreate, proto.GroupCreate{ID: g, Name: "blue", Authority: s.public(), Policy: s.list(g, 1, s.present())})
	s.must(proto.OrdCreate, proto.Target{UUID: uuid(1), Group: &g})
	if err := vtpmClient(s.m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	state := s.present()
	state.Digest[0] ^= 1
	s.must(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(g, 2, state)})
	if err := s.reboot(); err != nil {
		t.Fatal(err)
	}
	var log []string
	s.m.logf = func(f string, args ...any) { log = append(log, fmt.Sprintf(f, args...)) }
	if _, err := vtpmClient(s.m, 1).LoadHashKey(); !errors.Is(err, proto.Disabled) {
		t.Errorf("load: %v", err)
	}
	if len(log) != 1 || !strings.Contains(log[0], hwtpm.ErrPCRMismatch.Error()) || !s.hasEvent(EventGroupClosed, "is closed") {
		t.Errorf("the log says %q", log)
	}
}
