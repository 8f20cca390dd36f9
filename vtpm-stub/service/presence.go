package service

import "fmt"

// A ruling is what a command of an attachment means for the TPM's power.
type ruling uint8

const (
	goesOn   ruling = iota // nothing new
	shares                 // another user beside those who are there
	boots                  // power cycle
	capped                 // power cycle, PCRs 0 to 15 made useless
	restored               // the guest of before, under another number
	refused                // it may not use the TPM
)

// A user is an attachment that has sent a command.
type user struct {
	Attachment
	outdated bool // the TPM was reset for another boot since
}

// A session is who used the TPM with a uuid last.
type session struct {
	domain uint16
	id     uint64 // of the attachment
}

// guests keeps account of whose TPM this is. A guest that boots expects a TPM
// that was reset with it, and a guest that does not boot must not get one: with
// PCRs at their first value it could claim any measurement. The TPM notices
// neither by itself. What decides is the toolstack's word, and what it did with
// the device; never what the guest does with it, except that a guest which did
// not close its device when it was taken away may come back as it was.
type guests struct {
	reset  Reset
	closed func(id uint64) bool              // has that frontend closed? nil: none has
	cycle  func(capped bool) (Engine, error) // off and on
	again  func() (Engine, error)            // the cycle that failed last
	logf   func(f string, a ...any)

	users   map[uint64]*user     // until their attachment ends
	claims  map[uint16]bool      // domains that a helper has come for
	past    map[[16]byte]session // who has used the TPM since it was powered on
	open    map[[16]byte]bool    // whose last device was taken away without having been closed
	used    bool                 // by anybody, since the start
	resumed bool                 // Startup(STATE) at the start, and nobody has come since
	admin   bool                 // domain 0 used the TPM since it was powered on
}

// maxOpen bounds the memory of open; beyond it, everybody counts.
const maxOpen = 256

// rule says what a command of an attachment means, and why.
func (g *guests) rule(a Attachment) (r ruling, why string) {
	u, known := g.users[a.ID]
	switch {
	case g.reset == ResetNever:
		return goesOn, ""
	case known && u.outdated:
		return refused, "the TPM was reset for another domain since"
	case known, a.administrator(), g.present(a.guest()) && (a.helper() || !g.lived(a)):
		return goesOn, ""
	case a.Boot == BootRestore && g.resumes(a):
		return restored, ""
	case a.Boot == BootRestore:
		return capped, "it was restored, and this TPM has nothing of it to resume"
	case a.Boot == BootNew || a.helper():
		return boots, ""
	}
	return g.unannounced(a)
}

// unannounced is a newcomer of whom the toolstack said nothing: with stock xl a
// guest that boots and one that was restored look just the same. Whoever may
// have his memory still gets no PCRs at their first value, neither by a reset
// nor by sharing what was reset for another.
func (g *guests) unannounced(a Attachment) (r ruling, why string) {
	switch {
	case g.reset == ResetAnnounced:
		why = "option reset=announced, and nothing says that it boots"
	case g.reset == ResetGuest && g.mayBeBack(a.UUID):
		why = "its last device was taken away without having been closed (a crash, a destroy or a save), and nothing says that it boots"
	}
	shared := !g.seen(a.UUID) && g.shared()
	switch {
	case why != "" && shared:
		return refused, why + ", and another domain uses the TPM"
	case why != "":
		return capped, why
	case shared:
		return shares, ""
	}
	return boots, ""
}

// present reports whether a domain has the TPM: by a device of its own, or by a
// helper that came before.
func (g *guests) present(domain uint16) bool {
	if g.claims[domain] {
		return true
	}
	for _, u := range g.users {
		if !u.outdated && u.guest() == domain {
			return true
		}
	}
	return false
}

// seen reports whether somebody with that uuid has used the TPM since it was
// powered on.
func (g *guests) seen(uuid [16]byte) bool {
	_, ok := g.past[uuid]
	return ok
}

// lived reports whether the guest has used the TPM since it was powered on, as
// another domain or with a device that is gone.
func (g *guests) lived(a Attachment) bool {
	last := g.past[a.UUID]
	return g.seen(a.UUID) && (last.domain != a.guest() || g.users[last.id] == nil)
}

// resumes reports whether the TPM is as a restored guest left it: the last domain
// with its uuid has used the TPM, and no other since its power was on. One that
// came and went without a command would otherwise inherit what it never measured.
func (g *guests) resumes(a Attachment) bool {
	if g.resumed {
		return a.Previous == 0
	}
	return g.seen(a.UUID) && g.past[a.UUID].id == a.Previous
}

// shared reports whether a user is still attached.
func (g *guests) shared() bool {
	for _, u := range g.users {
		if !u.outdated {
			return true
		}
	}
	return false
}

// mayBeBack reports whether a guest's memory may have outlived its last device.
func (g *guests) mayBeBack(uuid [16]byte) bool {
	if g.open[uuid] || len(g.open) >= maxOpen {
		return true
	}
	for _, u := range g.users {
		if !u.outdated && !u.helper() && u.UUID == uuid && (g.closed == nil || !g.closed(u.ID)) {
			return true
		}
	}
	return false
}

// arrive is called before a command. It power-cycles the TPM where that is due;
// the engine is then the one to use from now on, else nil. refusal says why the
// attachment is not served; "" when it is.
func (g *guests) arrive(a Attachment) (e Engine, refusal string, err error) {
	r, why := g.rule(a)
	if r == refused {
		return nil, why, nil
	}
	first := !g.used
	e, err = g.obey(a, r, why, first)
	g.note(a, r)
	return e, "", err
}

// obey does to the TPM what a ruling wants.
func (g *guests) obey(a Attachment, r ruling, why string, first bool) (Engine, error) {
	switch {
	case r == restored:
		g.logf("service: domain %d goes on where it was saved: PCRs are kept", a.guest())
	case r == boots && !first:
		g.logf("service: domain %d took over the TPM: power cycle", a.guest())
	case r == capped:
		g.logf("service: domain %d took over the TPM: power cycle, and PCRs 0 to 15 are capped with an error value: %s", a.guest(), why)
	default:
		return nil, nil
	}
	if r == restored || g.cycle == nil {
		return nil, nil
	}
	if g.admin && !a.helper() {
		g.logf("service: what domain 0 measured before is gone; who measures for a guest needs for-domain")
	}
	e, err := g.cycle(r == capped)
	if err != nil {
		g.again = func() (Engine, error) { return g.cycle(r == capped) }
		return nil, fmt.Errorf("power cycle for domain %d: %w", a.guest(), err)
	}
	return e, nil
}

// note keeps account of a ruling.
func (g *guests) note(a Attachment, r ruling) {
	g.used = true
	if g.reset == ResetNever {
		return
	}
	if a.administrator() {
		g.admin = true
		return
	}
	g.resumed = false
	if r == boots || r == capped {
		g.past, g.claims, g.admin = make(map[[16]byte]session), make(map[uint16]bool), false
	}
	for _, u := range g.users {
		// After a reset nobody else may use it: his memory was not lost with it.
		u.outdated = u.outdated || r == boots || r == capped || r == restored && u.UUID == a.UUID
	}
	if g.users[a.ID] == nil {
		g.users[a.ID] = &user{Attachment: a}
		if !a.helper() {
			delete(g.open, a.UUID)
		}
	}
	g.past[a.UUID] = session{a.guest(), a.ID}
	if a.helper() {
		g.claims[a.guest()] = true
	}
}

// leave is called when an attachment has ended. A helper's end leaves what it
// did for its domain; the end of a domain's own device is the domain's end.
func (g *guests) leave(a Attachment, closed bool) {
	u := g.users[a.ID]
	delete(g.users, a.ID)
	if a.helper() || a.administrator() {
		return
	}
	delete(g.claims, a.guest())
	if u != nil && !closed && len(g.open) < maxOpen {
		g.open[a.UUID] = true
	}
}

func newGuests(logf func(string, ...any)) guests {
	return guests{
		logf: logf, users: make(map[uint64]*user), claims: make(map[uint16]bool),
		past: make(map[[16]byte]session), open: make(map[[16]byte]bool),
	}
}
