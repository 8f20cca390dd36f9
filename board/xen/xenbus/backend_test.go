package xenbus

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden tables in testdata; read the diff")

func (a Action) String() string {
	switch a.Kind {
	case SetState:
		return "show " + a.State.String()
	case SetTimer:
		return "arm " + [...]string{"InitWait", "Retry", "Closed", "Grace", "Remove", "Close"}[a.Timer]
	}
	return [...]string{"SetState", "Connect", "Disconnect", "SetTimer", "Remove", "Forget", "Publish", "Unpublish", "Check", "Early"}[a.Kind]
}

func actions(acts []Action) string {
	var s []string
	for _, a := range acts {
		s = append(s, a.String())
	}
	return strings.Join(s, ", ")
}

func (ev BackEvent) String() string {
	if ev.Blameless {
		return ev.Kind.String() + " blameless"
	}
	if ev.Kind != BackFrontend {
		return ev.Kind.String()
	}
	if ev.NewRing {
		return fmt.Sprintf("Frontend %v new ring", ev.Frontend)
	}
	return fmt.Sprintf("Frontend %v", ev.Frontend)
}

// backEvents is every event there is.
func backEvents() []BackEvent {
	var evs []BackEvent
	for k := BackStart; k <= BackRefuse; k++ {
		if k != BackFrontend {
			evs = append(evs, BackEvent{Kind: k})
			if k == BackConnectFailed {
				evs = append(evs, BackEvent{Kind: k, Blameless: true})
			}
			continue
		}
		for s := Unknown; s <= Reconfigured; s++ {
			evs = append(evs, BackEvent{Kind: BackFrontend, Frontend: s}, BackEvent{Kind: BackFrontend, Frontend: s, NewRing: true})
		}
	}
	return evs
}

// backStates is every reachable machine, found by applying all events to all
// states until nothing new turns up.
func backStates() []Backend {
	seen := map[Backend]bool{{}: true}
	list := []Backend{{}}
	for i := 0; i < len(list); i++ {
		for _, ev := range backEvents() {
			b := list[i]
			b.Step(ev)
			if !seen[b] {
				seen[b] = true
				list = append(list, b)
			}
		}
	}
	return list
}

func (b Backend) describe() string {
	return fmt.Sprintf("%v{offline %t held %t mapped %t wants %t failures %d}", b.Phase, b.Offline, b.held, b.mapped, b.wants, b.failures)
}

// TestBackendTable compares every reachable state with every event, legal or
// not, with the reviewed table in testdata/backend.txt.
func TestBackendTable(t *testing.T) {
	var out strings.Builder
	for _, b := range backStates() {
		for _, ev := range backEvents() {
			n := b
			acts := n.Step(ev)
			if n == b && len(acts) == 0 {
				continue // what is not in the table changes nothing
			}
			fmt.Fprintf(&out, "%s\n  %v -> %s: %s\n", b.describe(), ev, n.describe(), actions(acts))
		}
	}
	golden(t, "testdata/backend.txt", out.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("line %d:\n got %s\nwant %s", i+1, g[i], w[i])
			}
		}
		t.Fatalf("%d lines, want %d", len(g), len(w))
	}
}

// TestBackendNamed spells out the cases that the protocol's history is about.
func TestBackendNamed(t *testing.T) {
	start := BackEvent{Kind: BackStart}
	timer := BackEvent{Kind: BackTimer}
	ok := BackEvent{Kind: BackConnectOK}
	fail := BackEvent{Kind: BackConnectFailed}
	ours := BackEvent{Kind: BackConnectFailed, Blameless: true}
	off := BackEvent{Kind: BackOffline}
	fe := func(s State) BackEvent { return BackEvent{Kind: BackFrontend, Frontend: s} }
	ring := func(s State) BackEvent { return BackEvent{Kind: BackFrontend, Frontend: s, NewRing: true} }

	connected := []BackEvent{start, timer, ring(Initialised), ok}
	with := func(evs ...BackEvent) []BackEvent { return append(append([]BackEvent{}, connected...), evs...) }
	tests := []struct {
		name string
		evs  []BackEvent
		want string // actions of the last event
		end  BackPhase
	}{
		{"new device shows InitWait", []BackEvent{start}, "show InitWait, arm InitWait", BackHold},
		{"fast frontend connects during the hold", []BackEvent{start, ring(Initialised)}, "Connect", BackConnecting},
		{"fast frontend: InitWait stays", []BackEvent{start, ring(Initialised), ok}, "", BackEarly},
		{"fast frontend after the hold", []BackEvent{start, ring(Initialised), ok, timer}, "show Connected", BackConnected},
		{"fast frontend with a bad ring", []BackEvent{start, ring(Initialised), fail}, "", BackHold},
		{"fast frontend with a bad ring is tried after the hold", []BackEvent{start, ring(Initialised), fail, timer}, "Connect", BackConnecting},
		{"fast frontend with a bad ring is tried again later", []BackEvent{start, ring(Initialised), fail, timer, fail}, "arm Retry", BackInitWait},
		{"during the hold: republished", []BackEvent{start, ring(Initialised), ok, ring(Initialised)}, "Disconnect, Connect", BackConnecting},
		{"during the hold: driver unbound", []BackEvent{start, ring(Initialised), ok, fe(Closed)}, "Disconnect", BackHold},
		{"during the hold: unbound, then nobody", []BackEvent{start, ring(Initialised), ok, fe(Closed), timer}, "", BackInitWait},
		{"during the hold: rebound", []BackEvent{start, ring(Initialised), ok, fe(Closed), ring(Initialised)}, "Connect", BackConnecting},
		{"during the hold: guest shutdown", []BackEvent{start, ring(Initialised), ok, fe(Closing)}, "show Closing", BackClosing},
		{"during the hold: its timer does not end Closing", []BackEvent{start, ring(Initialised), ok, fe(Closing), timer}, "", BackClosing},
		{"during the hold: detach", []BackEvent{start, ring(Initialised), ok, off}, "show Closing, arm Grace", BackClosing},
		{"during the hold: broken ring", []BackEvent{start, ring(Initialised), ok, {Kind: BackFault}}, "Disconnect, show Closing", BackClosing},
		{"mini-os goes straight to Connected", []BackEvent{start, timer, ring(Connected)}, "Connect", BackConnecting},
		{"connected", connected, "show Connected", BackConnected},
		{"Linux echoes Connected", with(fe(Connected)), "", BackConnected},
		{"resume republishes", with(ring(Initialised)), "Disconnect, Connect", BackConnecting},
		{"guest shutdown: Closing stays", with(fe(Closing)), "show Closing", BackClosing},
		{"guest shutdown: repeated event", with(fe(Closing), fe(Closing)), "", BackClosing},
		{"guest shutdown: time does not end Closing", with(fe(Closing), timer), "", BackClosing},
		{"guest shutdown: then Closed", with(fe(Closing), fe(Closed)), "Disconnect, show Closed, arm Closed", BackClosed},
		{"driver unbound", with(fe(Closed)), "Disconnect, show InitWait", BackInitWait},
		{"rebound at once", with(fe(Closed), ring(Initialised)), "Connect", BackConnecting},
		{"closed and back at once", with(fe(Closing), fe(Closed), ring(Initialised)), "show InitWait, Connect", BackConnecting},
		{"closed and back later", with(fe(Closing), fe(Closed), timer), "show InitWait", BackInitWait},
		{"kexec asks for InitWait", with(fe(Closing), fe(Closed), fe(Initialising)), "show InitWait", BackInitWait},
		{"detach: Closing and grace", with(off), "show Closing, arm Grace", BackClosing},
		{"detach: the frontend follows", with(off, fe(Closed)), "Disconnect, show Closed, arm Remove", BackRemoving},
		{"detach: the frontend does not", with(off, timer), "Disconnect, show Closed, arm Remove", BackRemoving},
		{"detach: a frontend that insists", with(off, ring(Connected)), "", BackClosing},
		{"detach: directory goes last", with(off, timer, timer), "Remove, Forget", BackGone},
		{"detach of a device that was being removed", with(BackEvent{Kind: BackFrontendGone}, BackEvent{Kind: BackAskedAgain}),
			"show Closed, arm Remove", BackRemoving},
		{"destroy: frontend's nodes gone with online=0", with(off, BackEvent{Kind: BackFrontendGone}),
			"Disconnect, show Closed, arm Remove", BackRemoving},
		{"domain vanished", with(BackEvent{Kind: BackFrontendGone}), "Disconnect, show Closed, arm Remove", BackRemoving},
		{"detach of a device no driver took", []BackEvent{start, timer, off}, "show Closed, arm Remove", BackRemoving},
		{"forced removal", with(BackEvent{Kind: BackDirGone}), "Disconnect, Forget", BackGone},
		{"attached again while removing", with(off, timer, BackEvent{Kind: BackReset}), "show InitWait, arm InitWait", BackHold},
		{"bad ring values are tried again later", []BackEvent{start, timer, ring(Initialised), fail}, "arm Retry", BackInitWait},
		{"and not at every event", []BackEvent{start, timer, ring(Initialised), fail, fe(Initialised)}, "", BackInitWait},
		{"new values are tried at once", []BackEvent{start, timer, ring(Initialised), fail, ring(Initialised)}, "Connect", BackConnecting},
		{"five failures close", []BackEvent{start, timer, ring(Initialised), fail, timer, fail, timer, fail, timer, fail, timer, fail},
			"show Closing", BackClosing},
		{"xenstore's failures are not counted", []BackEvent{start, timer, ring(Initialised), ours, timer, ours, timer, ours, timer, ours, timer, ours, timer, ours},
			"arm Retry", BackInitWait},
		{"broken ring closes", with(BackEvent{Kind: BackFault}), "Disconnect, show Closing", BackClosing},
		{"a broken ring is not taken again", with(BackEvent{Kind: BackFault}, fe(Connected)), "", BackClosing},
		{"but a new one is", with(BackEvent{Kind: BackFault}, ring(Initialised)), "show InitWait, Connect", BackConnecting},
		{"driver restarted without closing", with(fe(Initialising)), "Disconnect, show InitWait", BackInitWait},
		{"no room: the toolstack sees InitWait", []BackEvent{{Kind: BackRefuse}}, "show InitWait, arm InitWait", BackRefusing},
		{"no room: a fast frontend is not connected", []BackEvent{{Kind: BackRefuse}, ring(Initialised)}, "", BackRefusing},
		{"no room: then the frontend is told", []BackEvent{{Kind: BackRefuse}, timer}, "show Closed", BackRefused},
		{"no room: still none", []BackEvent{{Kind: BackRefuse}, timer, {Kind: BackRefuse}}, "", BackRefused},
		{"no room: there is room now", []BackEvent{{Kind: BackRefuse}, timer, start}, "show InitWait, arm InitWait", BackHold},
		{"no room: detach", []BackEvent{{Kind: BackRefuse}, timer, off}, "show Closed, arm Remove", BackRemoving},
		{"no room is no matter of a device that is served", with(BackEvent{Kind: BackRefuse}), "", BackConnected},
		{"absurd state", with(fe(Unknown)), "", BackConnected},
		{"reconfiguring is not ours", with(fe(Reconfiguring)), "", BackConnected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b Backend
			var got []Action
			for _, ev := range tt.evs {
				got = b.Step(ev)
			}
			if actions(got) != tt.want || b.Phase != tt.end {
				t.Fatalf("got %q in %v, want %q in %v", actions(got), b.Phase, tt.want, tt.end)
			}
		})
	}
}

// TestBackendInvariants walks at random and checks what must hold on every way.
func TestBackendInvariants(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	evs := backEvents()
	for walk := 0; walk < 2000; walk++ {
		var b Backend
		mapped := false
		for step := 0; step < 60; step++ {
			ev := evs[rng.IntN(len(evs))]
			before := b
			acts := b.Step(ev)
			checkBackStep(t, before, b, ev, acts, &mapped)
			if b.Phase == BackConnecting {
				// A driver reports the result at once.
				res := BackEvent{Kind: BackConnectFailed}
				if rng.IntN(3) > 0 {
					res.Kind, mapped = BackConnectOK, true
				}
				before = b
				acts = b.Step(res)
				checkBackStep(t, before, b, res, acts, &mapped)
			}
		}
		// Removal ends in a bounded number of time-outs, whatever came before.
		if b.Phase == BackNew {
			continue
		}
		b.Step(BackEvent{Kind: BackOffline})
		for i := 0; i < 2; i++ {
			b.Step(BackEvent{Kind: BackTimer})
		}
		if b.Phase != BackGone {
			t.Fatalf("removal ends in %s", b.describe())
		}
	}
}

func checkBackStep(t *testing.T, before, after Backend, ev BackEvent, acts []Action, mapped *bool) {
	t.Helper()
	where := fmt.Sprintf("%s, %v: %s", before.describe(), ev, actions(acts))
	for i, a := range acts {
		switch a.Kind {
		case Connect:
			if *mapped {
				t.Fatalf("%s: Connect while mapped", where)
			}
			if i != len(acts)-1 {
				t.Fatalf("%s: actions after Connect, whose result is due first", where)
			}
		case Disconnect:
			if !*mapped {
				t.Fatalf("%s: Disconnect while not mapped", where)
			}
			*mapped = false
		case SetState:
			if (a.State == Closing || a.State == Closed) && !mayClose(before, after, ev) {
				t.Fatalf("%s: a guest would lose its TPM", where)
			}
			if a.State == Closed && *mapped {
				t.Fatalf("%s: Closed while mapped keeps a dead domain alive", where)
			}
		case Forget:
			if *mapped {
				t.Fatalf("%s: forgotten while mapped", where)
			}
		}
	}
}

// mayClose says when a frontend may be shown Closing or Closed: when it began,
// when the device goes, or when it broke the rules.
func mayClose(before, after Backend, ev BackEvent) bool {
	return after.Offline || before.Phase == BackRefusing || ev.Kind == BackFault || ev.Kind == BackConnectFailed && !ev.Blameless && before.failures == maxConnects-1 ||
		ev.Kind == BackFrontend && (ev.Frontend == Closing || ev.Frontend == Closed)
}
