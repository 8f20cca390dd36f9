package xenbus

import (
	"fmt"
	"strings"
	"testing"
)

func (ev FrontEvent) String() string {
	if ev.Kind != FrontBackend {
		return ev.Kind.String()
	}
	return fmt.Sprintf("Backend %v", ev.Backend)
}

func frontEvents() []FrontEvent {
	var evs []FrontEvent
	for k := FrontBackend; k <= FrontTimer; k++ {
		if k != FrontBackend {
			evs = append(evs, FrontEvent{Kind: k})
			continue
		}
		for s := Unknown; s <= Reconfigured; s++ {
			evs = append(evs, FrontEvent{Kind: FrontBackend, Backend: s})
		}
	}
	return evs
}

func (f Frontend) describe() string {
	return fmt.Sprintf("%v{shared %t early %t}", f.Phase, f.shared, f.early)
}

// TestFrontendTable compares every reachable state with every event, for both
// ways to wait for a backend, with the reviewed tables in testdata. It checks
// on the way that a page is never shared twice nor dropped twice.
func TestFrontendTable(t *testing.T) {
	for _, need := range []bool{false, true} {
		name := map[bool]string{false: "testdata/frontend-tpm.txt", true: "testdata/frontend-blk.txt"}[need]
		var out strings.Builder
		first := Frontend{NeedInitWait: need}
		seen := map[Frontend]bool{first: true}
		list := []Frontend{first}
		for i := 0; i < len(list); i++ {
			for _, ev := range frontEvents() {
				f := list[i]
				acts := f.Step(ev)
				checkFrontActions(t, list[i], ev, acts)
				if f == list[i] && len(acts) == 0 {
					continue
				}
				fmt.Fprintf(&out, "%s\n  %v -> %s: %s\n", list[i].describe(), ev, f.describe(), actions(acts))
				if !seen[f] {
					seen[f] = true
					list = append(list, f)
				}
			}
		}
		golden(t, name, out.String())
	}
}

func checkFrontActions(t *testing.T, before Frontend, ev FrontEvent, acts []Action) {
	t.Helper()
	shared := before.shared
	for i, a := range acts {
		switch a.Kind {
		case Publish:
			if shared || i != len(acts)-1 {
				t.Fatalf("%s, %v: %s", before.describe(), ev, actions(acts))
			}
		case Disconnect:
			if !shared {
				t.Fatalf("%s, %v: dropped twice", before.describe(), ev)
			}
			shared = false
		case SetState:
			if a.State == Closed && shared {
				t.Fatalf("%s, %v: Closed with a page still shared", before.describe(), ev)
			}
		}
	}
}

func TestFrontendNamed(t *testing.T) {
	be := func(s State) FrontEvent { return FrontEvent{Kind: FrontBackend, Backend: s} }
	ok := FrontEvent{Kind: FrontPublishOK}
	gone := FrontEvent{Kind: FrontBackendGone}
	cl := FrontEvent{Kind: FrontClose}
	up := []FrontEvent{be(InitWait), ok, be(Connected), {Kind: FrontAccept}}
	with := func(evs ...FrontEvent) []FrontEvent { return append(append([]FrontEvent{}, up...), evs...) }
	tests := []struct {
		name string
		evs  []FrontEvent
		want string
		end  FrontPhase
	}{
		{"publishes before the backend is up", []FrontEvent{be(Initialising)}, "Publish", FrontPublishing},
		{"shows Initialised", []FrontEvent{be(InitWait), ok}, "show Initialised", FrontPublished},
		{"backend still waits: it may serve all the same", []FrontEvent{be(InitWait), ok, be(InitWait)}, "Early", FrontPublished},
		{"backend connected: look at it", up[:3], "Check", FrontPublished},
		{"connected", up, "show Connected", FrontConnected},
		{"backend restarted", with(be(InitWait)), "Disconnect, Publish", FrontPublishing},
		{"backend closes", with(be(Closing)), "Disconnect, Unpublish, show Closed", FrontClosed},
		{"still closing", with(be(Closing), be(Closing)), "", FrontClosed},
		{"backend closed: offer to come back", with(be(Closing), be(Closed)), "show Initialising", FrontIdle},
		{"backend back", with(be(Closing), be(Closed), be(InitWait)), "Publish", FrontPublishing},
		{"mini-os goes to InitWait at once", with(be(Closing), be(InitWait)), "Publish", FrontPublishing},
		{"backend's domain gone", with(gone), "Disconnect, Unpublish, show Initialising", FrontIdle},
		{"close", with(cl), "show Closing, arm Close", FrontClosing},
		{"close, answered", with(cl, be(Closing)), "Disconnect, Unpublish, show Closed, arm Close", FrontClosing2},
		{"close, finished", with(cl, be(Closing), be(InitWait)), "show Initialising", FrontFinished},
		{"close, nobody answers", with(cl, FrontEvent{Kind: FrontTimer}, FrontEvent{Kind: FrontTimer}), "show Initialising", FrontFinished},
		{"no protocol 2", []FrontEvent{be(InitWait), ok, {Kind: FrontReject}}, "Disconnect, Unpublish, show Closed", FrontFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var f Frontend
			var got []Action
			for _, ev := range tt.evs {
				got = f.Step(ev)
			}
			if actions(got) != tt.want || f.Phase != tt.end {
				t.Fatalf("got %q in %v, want %q in %v", actions(got), f.Phase, tt.want, tt.end)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "1", "4", "9", "00", "-1", "4 ", "18446744073709551616", "0x4", "4294967295"} {
		f.Add(s, uint64(1<<32-1))
	}
	f.Fuzz(func(t *testing.T, text string, max uint64) {
		s := ParseState(text)
		if s != Unknown && s.Node() != text {
			t.Fatalf("ParseState(%q) = %v", text, s)
		}
		v, err := ParseUint(text, max)
		if err == nil && v > max {
			t.Fatalf("ParseUint(%q, %d) = %d", text, max, v)
		}
	})
}
