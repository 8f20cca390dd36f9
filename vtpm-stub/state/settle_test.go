package state

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// unsure is a manager of whose answers some are lost, before or after it has done
// what it was asked. choose says which outcome a request has.
type unsure struct {
	record []byte
	choose func(n int) int
}

var errLost = errors.New("no answer")

// Outcomes of a request to the manager.
const (
	answered  = iota
	lostAfter // done, and no answer
	lostBefore
	outcomes
)

func (k *unsure) Load() ([]byte, error) {
	switch k.choose(2) {
	case 1:
		return nil, errLost
	}
	if k.record == nil {
		return nil, ErrNoRecord
	}
	return bytes.Clone(k.record), nil
}

func (k *unsure) Save(r []byte) error {
	o := k.choose(outcomes)
	if o != lostBefore {
		k.record = bytes.Clone(r)
	}
	if o != answered {
		return errLost
	}
	return nil
}

// TestExploreUncertainty goes through every sequence of lost answers, saves,
// attempts to settle and power cuts of the vTPM, up to a depth: whenever a save
// or a Settle has succeeded, the newest state is what a start finds; whenever one
// has not, the newest or the one before, as the manager's record says; and a start
// that gets its answer is never refused.
func TestExploreUncertainty(t *testing.T) {
	const depth = 10
	runs := 0
	var path []int // choices of this run
	var widths []int
	for {
		at := 0
		e := &explorer{choose: func(n int) int {
			if at == len(path) {
				path, widths = append(path, 0), append(widths, n)
			}
			at++
			return path[at-1]
		}}
		if err := e.run(func() bool { return at >= depth }); err != nil {
			t.Fatalf("choices %v: %v", path[:at], err)
		}
		runs++
		// The next path: the last choice that has another value.
		path, widths = path[:at], widths[:at]
		for len(path) > 0 && path[len(path)-1]+1 >= widths[len(widths)-1] {
			path, widths = path[:len(path)-1], widths[:len(widths)-1]
		}
		if len(path) == 0 {
			break
		}
		path[len(path)-1]++
	}
	t.Logf("%d runs", runs)
	if runs < 5000 {
		t.Fatalf("only %d runs", runs)
	}
}

// explorer is one run: a vTPM that saves states 1, 2, 3, ... and what is known of
// them.
type explorer struct {
	choose func(n int) int

	disk     *simDisk
	keys     *unsure
	store    *Store // nil: not started
	newest   int    // the last state that was given to Save
	durable  int    // the last one that is known to be durable; 0: none
	unknown  bool   // newest may be durable or not
	crashing int64
}

func (e *explorer) run(done func() bool) error {
	e.disk, e.keys = newSim(2*slotAlign), &unsure{choose: e.choose}
	for !done() {
		var err error
		switch {
		case e.store == nil:
			err = e.start()
		case e.unknown:
			err = [](func() error){e.settle, e.save, e.cut}[e.choose(3)]()
		default:
			err = [](func() error){e.save, e.cut}[e.choose(2)]()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func stateOf(i int) []byte { return fmt.Appendf(nil, "state %d", i) }

// start opens the store; what it finds must be what is durable.
func (e *explorer) start() error {
	s, err := Open(Config{Disk: e.disk, Keys: e.keys})
	if errors.Is(err, errLost) {
		return nil // tried again
	}
	if err != nil {
		return err
	}
	got := s.Blob()
	switch {
	case e.unknown && bytes.Equal(got, stateOf(e.newest)):
		e.durable = e.newest
	case e.durable == 0 && s.IsNew():
	case e.durable > 0 && bytes.Equal(got, stateOf(e.durable)):
	default:
		return fmt.Errorf("a start found %q, durable is %d, newest %d, unknown %t", got, e.durable, e.newest, e.unknown)
	}
	e.store, e.unknown = s, false
	return nil
}

func (e *explorer) save() error {
	before := e.newest
	err := e.store.Save(stateOf(e.newest + 1))
	switch {
	case err == nil:
		e.newest++
		e.durable, e.unknown = e.newest, false
	case !errors.Is(err, ErrUncertain):
		return err
	case e.unknown && e.store.pendingIs(before):
		// The earlier one is not settled yet; nothing was begun.
	default:
		if e.unknown {
			e.durable = before
		}
		e.newest++
		e.unknown = true
	}
	return nil
}

// pendingIs reports whether the pending save is that of state i.
func (s *Store) pendingIs(i int) bool {
	if s.pending == nil {
		return false
	}
	image := make([]byte, imageSize(uint64(len(stateOf(i)))))
	if err := s.read(image, int64(s.pending.slot)*s.second); err != nil {
		return false
	}
	blob, err := unseal(image, s.pending.record[hashSize:], uint64(len(stateOf(i))))
	return err == nil && bytes.Equal(blob, stateOf(i))
}

func (e *explorer) settle() error {
	err := e.store.Settle()
	if err == nil {
		e.durable, e.unknown = e.newest, false
	} else if !errors.Is(err, ErrUncertain) {
		return err
	}
	return nil
}

// cut is a power cut of the vTPM.
func (e *explorer) cut() error {
	e.crashing++
	e.disk, e.store = e.disk.crash(e.crashing), nil
	return nil
}

// A record that is neither ours nor the one before is not overwritten.
func TestForeignRecord(t *testing.T) {
	for name, foreign := range map[string]func(k *simKeys, older []byte){
		"older":   func(k *simKeys, older []byte) { k.record = older },
		"another": func(k *simKeys, _ []byte) { k.record = bytes.Repeat([]byte{7}, RecordSize) },
		"none":    func(k *simKeys, _ []byte) { k.record = nil },
	} {
		d, k := saved(t, 2)
		older := bytes.Clone(k.record)
		s := mustOpen(t, d, k)
		if err := s.Save(blobOf(2)); err != nil {
			t.Fatal(err)
		}
		k.fail = "lost"
		if err := s.Save(blobOf(3)); !errors.Is(err, ErrUncertain) {
			t.Fatal(name, err)
		}
		k.fail = ""
		foreign(k, older)
		now, saves := bytes.Clone(k.record), k.saves
		for _, f := range []func() error{s.Settle, func() error { return s.Save(blobOf(4)) }} {
			if err := f(); !errors.Is(err, ErrForeign) || errors.Is(err, ErrUncertain) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if !bytes.Equal(now, k.record) || saves != k.saves {
			t.Errorf("%s: the record was overwritten", name)
		}
	}
}
