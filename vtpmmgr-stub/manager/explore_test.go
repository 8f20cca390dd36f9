package manager

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"strings"
	"testing"

	"xenvtpm/vtpm-stub/state"
)

// step is one thing that happens, with what fails meanwhile.
type step struct {
	what  string
	fault fault
}

func (s step) String() string { return fmt.Sprintf("%s (%v)", s.what, s.fault) }

// The steps. Each runs to its end, or to the power cut that is tried after each
// of its writes, flushes and increments.
const (
	startManager = "start the manager"
	stopManager  = "stop the manager"
	startVTPM    = "start the vTPM"
	startBeside  = "start the vTPM, with another's save in the same batch"
	stopVTPM     = "stop the vTPM"
	command      = "a command that changes the vTPM's state"
	otherSave    = "another vTPM saves"
)

// steps lists what can happen in a world.
func (w *world) steps() (out []step) {
	with := func(what string, faults ...[]fault) {
		out = append(out, step{what: what})
		for _, list := range faults {
			for _, f := range list {
				out = append(out, step{what, f})
			}
		}
	}
	if w.mgr == nil {
		with(startManager, counterFaults(2), managerFaults)
		return append(out, w.vtpmSteps(nil)...)
	}
	increments := 1
	if w.mgr.owed {
		increments = 2
	}
	manager := append(counterFaults(increments), managerFaults...)
	if w.mgr.degraded != nil {
		manager = nil // it does not touch any hardware
	}
	with(stopManager)
	with(otherSave, manager)
	return append(out, w.vtpmSteps(manager)...)
}

func (w *world) vtpmSteps(manager []fault) (out []step) {
	what := startVTPM
	switch {
	case w.vt != nil:
		what, out = command, []step{{what: stopVTPM}}
	case w.mgr == nil:
		return nil
	default:
		for _, f := range append([]fault{{}}, manager...) {
			out = append(out, step{startBeside, f})
		}
	}
	for _, f := range append(append([]fault{{}}, vtpmFaults...), manager...) {
		out = append(out, step{what, f})
	}
	return out
}

// counterFaults is how the increments of a step can fail, the first or the
// second: one that is owed, and the step's own.
func counterFaults(increments int) (out []fault) {
	for nth := range increments {
		for _, lost := range []bool{false, true} {
			for _, blind := range []bool{false, true} {
				out = append(out, fault{at: "increment", nth: nth + 1, lost: lost, blind: blind})
			}
		}
	}
	return out
}

// A commit writes and flushes the tree, then the superblock, of which there are
// two copies. A start flushes before that.
var managerFaults = []fault{
	{at: "manager write", nth: 1},
	{at: "manager write", nth: 2}, {at: "manager write", nth: 2, part: 1}, {at: "manager write", nth: 2, part: 2},
	{at: "manager flush", nth: 1}, {at: "manager flush", nth: 2}, {at: "manager flush", nth: 3},
}

// The vTPM writes a slot of two sectors, flushes, and saves; a new one does it
// twice, after a mark.
var vtpmFaults = []fault{
	{at: "vtpm write", nth: 1}, {at: "vtpm write", nth: 1, part: 1}, {at: "vtpm write", nth: 1, part: 2},
	{at: "vtpm flush", nth: 1}, {at: "vtpm flush", nth: 2}, {at: "save sent", nth: 1}, {at: "save answered", nth: 1}, {at: "save answered", nth: 2},
}

// run takes a step, and says what must not be.
func (w *world) run(s step) error {
	w.fault, w.dying = s.fault, false
	clear(w.counts)
	healthy := s.fault == fault{} && (w.mgr == nil || w.mgr.Degraded() == nil)
	var err error
	switch s.what {
	case startManager:
		m, merr := New(w.config())
		w.mgr = m
		if merr != nil && healthy {
			err = fmt.Errorf("the manager does not start: %w", merr)
		}
	case stopManager:
		w.mgr = nil
	case startVTPM, startBeside:
		err = w.start(s.what == startBeside, healthy)
	case stopVTPM:
		w.stopVTPM()
	case command:
		if serr := w.vt.Save(make([]byte, 600)); serr == nil {
			w.seen = w.cur
		} else if healthy && w.mgr != nil {
			err = fmt.Errorf("a command is refused: %w", serr)
		}
	case otherSave:
		r, herr := keys{w: w}.call(w.otherSave())
		if healthy && (herr != nil || r.Result != 0) {
			err = fmt.Errorf("another's save is refused: %v %w", r.Result, herr)
		}
	}
	if w.dying {
		w.stopVTPM()
	}
	return errors.Join(err, w.rollback())
}

// start starts the vTPM, whose guest then sees what was loaded.
func (w *world) start(beside, healthy bool) error {
	w.client++
	w.cur, w.sent = 0, 0
	loaded := 0
	vt, err := state.Open(state.Config{Disk: w.vdisk, Keys: keys{w, beside, &loaded}, Rand: w.x.rand})
	for _, lost := range []error{state.ErrMismatch, state.ErrNotBlank, state.ErrRecord, state.ErrNewer, state.ErrShrunk, state.ErrDiskSize} {
		if errors.Is(err, lost) {
			return fmt.Errorf("the TPM is lost: %w", err)
		}
	}
	if err == nil && vt.IsNew() {
		if w.seen > 0 {
			return errors.New("a new TPM in the place of an old one")
		}
		w.vt = vt
		if err = vt.Save(make([]byte, 600)); err == nil {
			w.seen = w.cur
		}
		if healthy && err != nil {
			return fmt.Errorf("a new TPM cannot be saved: %w", err)
		}
		return nil
	}
	if err != nil {
		w.mgr.Disconnected(ClientID{Domain: w.client})
		if healthy {
			return fmt.Errorf("the vTPM does not start: %w", err)
		}
		return nil
	}
	if w.cur == 0 {
		w.cur = loaded
	}
	if w.vt = vt; loaded < w.seen {
		return fmt.Errorf("record %d was loaded, and %d had been seen", loaded, w.seen)
	}
	w.seen = w.cur
	return nil
}

func (w *world) stopVTPM() {
	if w.vt = nil; w.mgr != nil {
		w.mgr.Disconnected(ClientID{Domain: w.client})
	}
}

// node is a world that was reached: from a world whose domains are off, by a path.
type node struct {
	base   *world
	path   []step
	past   map[stolen]bool // at its end
	parent *node
	how    string
}

func (n *node) story() string {
	var lines []string
	for ; n.parent != nil; n = n.parent {
		lines = append([]string{n.how}, lines...)
	}
	return strings.Join(lines, "\n")
}

// world makes a node's world anew.
func (n *node) world(t *testing.T) *world {
	w := n.base.persist()
	w.arm()
	w.again = true
	for _, s := range n.path {
		if err := w.run(s); err != nil {
			t.Fatalf("%v\n%s", err, n.story())
		}
	}
	w.again, w.past = false, maps.Clone(n.past)
	return w
}

// TestExplore explores every sequence of saves, loads, commits, increments,
// restarts of the vTPM and of the manager, power cuts and failing hardware, until
// nothing new is found. In each world: what a guest has seen is never lost and
// never becomes older, no copy of the manager's disk that a thief may have kept
// brings it back, and what has no fault works again.
func TestExplore(t *testing.T) {
	if raceDetector {
		t.Skip("nothing runs at the same time; make unit runs this without the race detector")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	_, first := newExploration(t.Fatal)
	e := &explorer{t: t, known: map[string]bool{}}
	e.found(first, &node{base: first})
	for i := 0; i < len(e.queue); i++ {
		e.expand(e.queue[i])
		e.queue[i] = nil
	}
	t.Logf("%d states, %d steps, %d power cuts", len(e.known), e.steps, e.cuts)
	if len(e.known) < 500 {
		t.Error("too few states: the test no longer tests")
	}
}

type explorer struct {
	t           *testing.T
	known       map[string]bool
	queue       []*node
	steps, cuts int
}

// found takes in a node, unless a world like it is known.
func (e *explorer) found(w *world, n *node) {
	key := w.key()
	if e.known[key] {
		return
	}
	e.known[key] = true
	n.past = maps.Clone(w.past)
	if w.mgr == nil && w.vt == nil {
		n.base, n.path = w.persist(), nil
	}
	e.queue = append(e.queue, n)
}

func (e *explorer) expand(n *node) {
	w := n.world(e.t)
	e.cut(w, n, step{what: "nothing"}, 0)
	for _, s := range w.steps() {
		w := n.world(e.t)
		events := 0
		w.event = func() {
			events++
			e.cut(w, n, s, events)
		}
		e.steps++
		next := &node{base: n.base, path: append(n.path[:len(n.path):len(n.path)], s), parent: n, how: s.String()}
		if err := w.run(s); err != nil {
			e.t.Fatalf("%v\n%s", err, next.story())
		}
		w.event = nil
		e.found(w, next)
	}
}

// cut finds all worlds that a power cut in the middle of a step can leave.
func (e *explorer) cut(w *world, n *node, s step, event int) {
	for i, mdisk := range w.mdisk.cuts(isTree) {
		for j, vdisk := range w.vdisk.cuts(func(int64) bool { return false }) {
			e.cuts++
			c := &world{x: w.x, mdisk: mdisk, vdisk: vdisk, hw: w.hw.restart(), last: w.last, seen: w.seen, past: maps.Clone(w.past)}
			if key := c.key(); !e.known[key] {
				e.found(c, &node{parent: n, how: fmt.Sprintf("%v, power cut after its event %d, keeping %b and %b", s, event, i, j)})
			}
		}
	}
}
