package service

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// The rules for whose TPM this is, explored: every order of what a toolstack, two
// guests, helpers of domain 0 and its administrator can do is played against the
// real rules. Beside them a world is kept that knows what the rules cannot see:
// whose memory is whose, and whose measurements are in the PCRs.

// Marks that the PCRs may have besides those of memories and helpers.
const (
	capMark   = -1 // the error value
	adminMark = -2 // what domain 0 extended for itself
)

// An actor is an attachment, and whose memory works behind it.
type actor struct {
	at      Attachment
	mem     int  // of a guest; for a helper, its own mark
	closed  bool // its driver is unbound
	arrived bool // it has sent a command
	kept    bool // nobody can have taken the TPM since its last command
}

// origin is whose mark it is: a guest's, by uuid, or a helper's, for a domain.
type origin struct {
	uuid   byte
	domain uint16
}

// A world is one state of everything.
type world struct {
	g       guests
	live    []actor
	pcr     map[int]origin  // whose measurements are in the PCRs
	known   map[int]bool    // memories that have used the TPM
	saved   map[byte]int    // memories in save files, by uuid; 0: one that had not used the TPM
	current map[byte]bool   // nobody else with that uuid has booted or used the TPM later
	next    map[byte]uint16 // numbers of domains that helpers have come for
	before  bool            // A's save file is from before the vTPM's start
	last    map[[16]byte]uint64
	freed   uint16 // a number that may be used again
	count   int    // of attachments, memories and numbers so far
	path    []string
}

func newWorld(reset Reset, resumed bool) *world {
	w := &world{
		g: newGuests(func(string, ...any) {}), pcr: map[int]origin{}, known: map[int]bool{},
		saved: map[byte]int{}, current: map[byte]bool{}, next: map[byte]uint16{}, last: map[[16]byte]uint64{},
	}
	w.g.reset, w.g.used, w.g.resumed = reset, resumed, resumed
	if resumed {
		w.count, w.known[1], w.pcr[1], w.saved['A'], w.current['A'] = 1, true, origin{uuid: 'A'}, 1, true
		w.before = true
	}
	return w
}

func (w *world) clone() *world {
	c := *w
	c.live, c.path = slices.Clone(w.live), slices.Clone(w.path)
	c.pcr, c.known, c.saved = maps.Clone(w.pcr), maps.Clone(w.known), maps.Clone(w.saved)
	c.current, c.next, c.last = maps.Clone(w.current), maps.Clone(w.next), maps.Clone(w.last)
	c.g.users = make(map[uint64]*user, len(w.g.users))
	for id, u := range w.g.users {
		v := *u
		c.g.users[id] = &v
	}
	c.g.claims, c.g.past, c.g.open = maps.Clone(w.g.claims), maps.Clone(w.g.past), maps.Clone(w.g.open)
	return &c
}

func (w *world) fresh() int { w.count++; return w.count }

// memory is that of a restored guest. A copy of what has not used the TPM is
// another memory than the one that goes on.
func (w *world) memory(name byte) int {
	if m := w.saved[name]; m != 0 {
		return m
	}
	return w.fresh()
}

func uuidOf(name byte) [16]byte { return [16]byte{name} }

// attach makes a device.
func (w *world) attach(a Attachment, mem int) {
	a.ID = uint64(w.fresh())
	a.Previous, w.last[a.UUID] = w.last[a.UUID], a.ID
	w.live = append(w.live, actor{at: a, mem: mem})
	for i := range w.live {
		w.live[i].kept = false
	}
}

// boot makes a domain with new memory. Its number is that for which a helper has
// come, or one that was used before, or a new one.
func (w *world) boot(name byte, said Boot, reuse bool) {
	n := w.next[name]
	switch {
	case n != 0:
		delete(w.next, name)
	case reuse:
		n, w.freed = w.freed, 0
	default:
		n = uint16(w.fresh())
	}
	w.current[name] = false
	w.attach(Attachment{Domain: n, UUID: uuidOf(name), Boot: said}, w.fresh())
}

// help is a helper of domain 0 that measures for the next domain with that uuid,
// and goes or stays.
func (w *world) help(name byte, stays bool) error {
	n := uint16(w.fresh())
	w.next[name] = n
	w.attach(Attachment{For: n, UUID: uuidOf('h')}, w.fresh())
	i := len(w.live) - 1
	err := w.use(i)
	if !stays {
		w.leave(i)
	}
	return err
}

func (w *world) leave(i int) {
	a := w.live[i]
	w.live = slices.Delete(w.live, i, i+1)
	w.g.leave(a.at, a.closed)
	if !a.at.helper() {
		w.freed = a.at.Domain
	}
}

// command is what the service does for an attachment's command.
func (w *world) command(a Attachment) (served bool) {
	w.g.closed = func(id uint64) bool {
		i := slices.IndexFunc(w.live, func(x actor) bool { return x.at.ID == id })
		return i >= 0 && w.live[i].closed
	}
	w.g.cycle = func(capped bool) (Engine, error) {
		clear(w.pcr)
		if capped {
			w.pcr[capMark] = origin{}
		}
		return nil, nil
	}
	_, refusal, _ := w.g.arrive(a)
	return refusal == ""
}

// use is a command of a device, which extends a PCR, and checks what must be true
// of those that it finds.
func (w *world) use(i int) error {
	a := &w.live[i]
	_, other := w.pcr[a.mem]
	if !w.command(a.at) {
		if a.kept {
			return errors.New("a guest that nobody followed is refused")
		}
		return nil
	}
	first := !a.arrived
	a.arrived = true
	if name := a.at.UUID[0]; w.saved[name] != a.mem {
		w.current[name] = false
	}
	_, there := w.pcr[a.mem]
	_, capped := w.pcr[capMark]
	switch {
	case a.kept && other && !there:
		return errors.New("a guest lost its PCRs while nobody came or went")
	case !a.at.helper() && w.known[a.mem] && !there && !capped:
		return errors.New("a guest whose memory was not lost finds fresh PCRs")
	}
	if first && !w.known[a.mem] {
		if err := w.clean(a); err != nil {
			return err
		}
	}
	w.pcr[a.mem] = origin{a.at.UUID[0], a.at.For}
	w.known[a.mem], a.kept = true, true
	for _, x := range w.live {
		a.kept = a.kept && x.arrived
	}
	return nil
}

// clean checks what somebody with new memory finds in the PCRs: nothing of its
// former lives, and nothing of anybody but its helper unless somebody shares.
// Domain 0 may have extended something since its helper came.
func (w *world) clean(a *actor) error {
	with := false
	for _, x := range w.live {
		u := w.g.users[x.at.ID]
		with = with || u != nil && !u.outdated && x.at.guest() != a.at.guest()
	}
	own := func(from origin) bool { return from.domain != 0 && from.domain == a.at.guest() }
	for _, from := range w.pcr {
		with = with || own(from)
	}
	for mark, from := range w.pcr {
		former := from.uuid == a.at.UUID[0] && from.domain == 0
		if mark != capMark && (!with || former) {
			return fmt.Errorf("who boots finds another's measurement %d of %+v", mark, from)
		}
	}
	return nil
}

// key is the state without the names of what no rule looks into.
func (w *world) key() string {
	ids := map[int]int{}
	id := func(n int) int {
		if n > 0 && ids[n] == 0 {
			ids[n] = len(ids) + 1
		}
		return ids[n]
	}
	var b strings.Builder
	for _, a := range w.live {
		u := w.g.users[a.at.ID]
		_, there := w.pcr[a.mem]
		fmt.Fprintln(&b, a.at.UUID[0], id(int(a.at.Domain)), id(int(a.at.For)), a.at.Boot, id(a.mem), a.closed, a.arrived,
			a.kept, u != nil, u != nil && u.outdated, w.known[a.mem], there, a.at.Previous == w.g.past[a.at.UUID].id, w.g.claims[a.at.guest()])
	}
	for _, name := range []byte("ABh") {
		m := w.saved[name]
		_, there := w.pcr[m]
		_, is := w.saved[name]
		fmt.Fprintln(&b, w.before, is, id(m), w.known[m], w.current[name], there, id(int(w.g.past[uuidOf(name)].domain)), w.g.seen(uuidOf(name)),
			w.g.past[uuidOf(name)].id == w.last[uuidOf(name)], w.g.users[w.g.past[uuidOf(name)].id] != nil, w.last[uuidOf(name)] == 0, w.g.open[uuidOf(name)],
			id(int(w.next[name])), w.g.claims[w.next[name]])
	}
	var marks []string
	for m, from := range w.pcr {
		marks = append(marks, fmt.Sprint(min(m, 0), ids[m], from.uuid, id(int(from.domain))))
	}
	slices.Sort(marks)
	fmt.Fprintln(&b, slices.Compact(marks), id(int(w.freed)), w.g.claims[w.freed], w.g.used, w.g.resumed)
	return b.String()
}

// Limits of the explored world: a guest and its successor or predecessor, and
// somebody else.
const maxLive = 3

var depth = flag.Int("depth", 5, "how many moves TestPresenceExplored looks ahead")

// moves plays everything that can happen in a world; each gets a copy of it.
func (w *world) moves(play func(name string, do func(*world) error)) {
	for _, name := range []byte("AB") {
		w.arrivals(name, play)
	}
	for i, a := range w.live {
		w.doings(i, a, play)
	}
	play("domain 0 extends", func(w *world) error {
		w.command(Attachment{ID: 1 << 40})
		w.pcr[adminMark] = origin{}
		return nil
	})
}

func (w *world) arrivals(name byte, play func(string, func(*world) error)) {
	if len(w.live) >= maxLive {
		return
	}
	does := func(what string, f func(*world)) {
		play(fmt.Sprintf("%s %c", what, name), func(w *world) error { f(w); return nil })
	}
	does("boot", func(w *world) { w.boot(name, BootUnsaid, false) })
	if w.freed != 0 && w.next[name] == 0 {
		does("boot, old number,", func(w *world) { w.boot(name, BootUnsaid, true) })
	}
	if name == 'A' {
		does("boot=new", func(w *world) { w.boot(name, BootNew, false) })
		for _, stays := range []bool{false, true} {
			play(fmt.Sprintf("helper for %c, stays %t", name, stays), func(w *world) error { return w.help(name, stays) })
		}
	}
	if _, ok := w.saved[name]; !ok {
		return
	}
	// ResetAlways is for those who save nobody; ResetGuest is fooled by an old file,
	// and by one from before the vTPM's start.
	if w.g.reset == ResetAnnounced || w.g.reset == ResetGuest && w.current[name] && !w.before {
		does("restore", func(w *world) {
			w.attach(Attachment{Domain: uint16(w.fresh()), UUID: uuidOf(name)}, w.memory(name))
		})
	}
	other := slices.ContainsFunc(w.live, func(a actor) bool { return a.at.UUID == uuidOf(name) && a.mem != w.saved[name] })
	if w.current[name] && !other { // else the toolstack's word is not true
		does("boot=restore", func(w *world) {
			w.attach(Attachment{Domain: uint16(w.fresh()), UUID: uuidOf(name), Boot: BootRestore}, w.memory(name))
		})
	}
}

func (w *world) doings(i int, a actor, play func(string, func(*world) error)) {
	title := fmt.Sprintf("%c%d", a.at.UUID[0], a.at.guest())
	if !a.closed {
		play(title+" uses", func(w *world) error { return w.use(i) })
	}
	play(title+" ends", func(w *world) error { w.leave(i); return nil })
	if a.at.helper() {
		return
	}
	play(title+" unbinds or binds", func(w *world) error { w.live[i].closed = !a.closed; return nil })
	if a.closed && w.g.reset == ResetGuest {
		return // that is what fools it
	}
	save := func(w *world) {
		w.saved[a.at.UUID[0]], w.current[a.at.UUID[0]] = 0, w.last[a.at.UUID] == a.at.ID
		w.before = w.before && !(a.arrived && a.at.UUID[0] == 'A')
		if w.known[a.mem] {
			w.saved[a.at.UUID[0]] = a.mem
		}
	}
	play(title+" is saved", func(w *world) error { save(w); w.leave(i); return nil })
	if w.g.reset == ResetAnnounced {
		play(title+" is saved and goes on", func(w *world) error {
			save(w)
			w.current[a.at.UUID[0]] = false
			return nil
		})
	}
}

// explore plays everything up to a number of moves and returns how many states
// there are.
func explore(t *testing.T, start *world, depth int) int {
	t.Helper()
	seen, front := map[string]bool{start.key(): true}, []*world{start}
	for range depth {
		var next []*world
		for _, w := range front {
			w.moves(func(name string, do func(*world) error) {
				c := w.clone()
				c.path = append(c.path, name)
				if err := do(c); err != nil {
					t.Fatalf("%v after:\n\t%s", err, strings.Join(c.path, "\n\t"))
				}
				if k := c.key(); !seen[k] {
					seen[k] = true
					next = append(next, c)
				}
			})
		}
		front = next
	}
	return len(seen)
}

// No order of events gives a guest that boots another's measurements, one whose
// memory was kept fresh PCRs, or one that runs other PCRs.
func TestPresenceExplored(t *testing.T) {
	for _, reset := range []Reset{ResetGuest, ResetAnnounced, ResetAlways} {
		for _, resumed := range []bool{false, true} {
			n := explore(t, newWorld(reset, resumed), *depth)
			t.Logf("reset %d, resumed %t: %d states within %d moves", reset, resumed, n, *depth)
		}
	}
}
