package manager

import (
	"math"
	"slices"
	"time"

	"xenvtpm/drivers/budget"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Turns: who is served when. In one turn all saves share one commit and are
// answered right after it; then whatever needs no hardware; then at most one
// request that does. So a save waits for the commit and the request that are
// being made when it comes, and for its own commit, however many others there
// are and whatever they ask for. A client has one request at a time, and those
// that wait are served in the order in which they came: nobody has a second
// before all others had one.

// Rates of one client, which is a vTPM's uuid; a client cannot have another one.
var (
	// slowRate is for the hardware TPM's time: units, of which a signature costs
	// signUnits, and random bytes or PCRs one. A quote takes some 0.2 s of a chip.
	slowRate  = budget.Rate{Burst: 64, Every: time.Second / 8}
	signUnits = 8
)

// The rate of saves is for the hardware counter, which wears: saveBurst at once,
// and then so many an hour. A save beyond that waits for a commit that another
// client pays for, or for its next unit. A chip of 100,000 increments lasts eleven
// days of one client that saves without end.
const (
	saveBurst       = 1000
	DefaultSaveRate = 360
)

// saveRate is the rate of each client; false if there is no limit: none is wanted,
// or nothing wears.
func (m *Manager) saveRate() (r budget.Rate, limited bool) {
	if m.c.Clock == nil || m.c.SaveRate == 0 || m.c.RollbackOff || m.degraded != nil {
		return r, false
	}
	return budget.Rate{Burst: saveBurst, Every: time.Hour / time.Duration(m.c.SaveRate)}, true
}

// Job is a request whose answer is sent when there is one.
type Job struct {
	Request
	Respond func(rsp []byte)
	// Gone reports whether nobody waits for the answer any more; the job then
	// ends with Drop, unless it has been begun.
	Gone func() bool
	Drop func()

	units int  // of slowRate
	told  bool // that it waits for its rate
}

// turns is what waits.
type turns struct {
	saves  []*Job // staged in the next turn, or when their rate allows
	prompt []*Job
	slow   []*Job
	rates  map[proto.UUID]*spent
	worked bool // the hardware TPM may have keys loaded
}

// spent is what one client has used of its rates.
type spent struct{ slow, saves budget.Bucket }

// Rester is a hardware TPM that leaves keys loaded for the next request.
type Rester interface{ Rest() }

// Take takes a job in, for the next turns.
func (m *Manager) Take(j *Job) {
	switch units, slow := slowUnits(j); {
	case isSave(j.Frame):
		m.turns.saves = append(m.turns.saves, j)
	case slow:
		j.units = units
		m.turns.slow = append(m.turns.slow, j)
	default:
		m.turns.prompt = append(m.turns.prompt, j)
	}
}

// slowUnits says whether a request takes the hardware TPM, or the disk, for long,
// and what it costs. The administrator pays nothing, but waits for a turn.
func slowUnits(j *Job) (units int, slow bool) {
	r, err := proto.ParseRequest(j.Frame)
	switch {
	case err != nil:
		return 0, false
	case r.Tag == proto.TagMgmt:
		return 0, j.Admin
	case r.Tag == proto.TagVTPM && (r.Ordinal == proto.OrdCertifyKey || r.Ordinal == proto.OrdDeepQuote):
		return signUnits, true
	case r.Tag == proto.TagVTPM && r.Ordinal == proto.OrdHwPCRRead,
		r.Tag == proto.TagRqu && (r.Ordinal == proto.OrdTPMGetRandom || r.Ordinal == proto.OrdTPMPcrRead):
		return 1, true
	}
	return 0, false
}

// Turn serves what may be served now, and reports whether that was anything.
func (m *Manager) Turn() bool {
	t := &m.turns
	for _, list := range []*[]*Job{&t.saves, &t.prompt, &t.slow} {
		*list = slices.DeleteFunc(*list, dropped)
	}
	now := m.now()
	jobs := append(t.dueSaves(m, now), t.prompt...)
	t.prompt = nil
	m.answerJobs(jobs)
	one := t.nextSlow(m, now)
	if one != nil {
		m.answerJobs([]*Job{one})
		t.worked = true
	}
	if t.worked && !t.slowWaits(m.now()) {
		t.worked = false
		if hw, ok := m.c.HW.(Rester); ok {
			hw.Rest()
		}
	}
	t.forget(now)
	return len(jobs) > 0 || one != nil
}

// dropped ends a job that nobody waits for.
func dropped(j *Job) bool {
	gone := j.Gone != nil && j.Gone()
	if gone && j.Drop != nil {
		j.Drop()
	}
	return gone
}

// leave ends what a connection that is gone has asked for. A save of it must not
// be made when another connection has opened the vTPM, and works from what was
// saved before.
func (t *turns) leave(c ClientID) {
	for _, list := range []*[]*Job{&t.saves, &t.prompt, &t.slow} {
		*list = slices.DeleteFunc(*list, func(j *Job) bool {
			if j.Client == c && j.Drop != nil {
				j.Drop()
			}
			return j.Client == c
		})
	}
}

func (m *Manager) answerJobs(jobs []*Job) {
	batch := make([]Request, len(jobs))
	for i, j := range jobs {
		batch[i] = j.Request
	}
	m.answerAll(batch, func(i int, rsp []byte) { jobs[i].Respond(rsp) })
}

// dueSaves takes the saves of the next commit: all of them, if one has its rate.
func (t *turns) dueSaves(m *Manager, now int64) []*Job {
	rate, limited := m.saveRate()
	due := !limited
	for _, j := range t.saves {
		if limited && t.spentBy(j.UUID).saves.Take(rate, now, 1) {
			due = true
		}
	}
	if !due {
		for _, j := range t.saves {
			if !j.told {
				j.told = true
				end := m.console.serving(&j.Request)
				m.event(EventLimited, &j.Request, "saves without end: each waits for a commit of others, or for its rate")
				end()
			}
		}
		return nil
	}
	jobs := t.saves
	t.saves = nil
	return jobs
}

// nextSlow takes the first slow request whose client has its rate.
func (t *turns) nextSlow(m *Manager, now int64) *Job {
	for i, j := range t.slow {
		if m.c.Clock == nil || t.spentBy(j.UUID).slow.Take(slowRate, now, j.units) {
			t.slow = slices.Delete(t.slow, i, i+1)
			return j
		}
	}
	return nil
}

func (t *turns) slowWaits(now int64) bool {
	return slices.ContainsFunc(t.slow, func(j *Job) bool { return t.spentBy(j.UUID).slow.Ready(slowRate, j.units) <= now })
}

func (t *turns) spentBy(u proto.UUID) *spent {
	if t.rates == nil {
		t.rates = map[proto.UUID]*spent{}
	}
	if t.rates[u] == nil {
		t.rates[u] = &spent{}
	}
	return t.rates[u]
}

// maxRates is how many clients' rates are kept before those are looked for that
// have come in again.
const maxRates = 1024

func (t *turns) forget(now int64) {
	if len(t.rates) < maxRates {
		return
	}
	for u, s := range t.rates {
		if s.slow.Full(now) && s.saves.Full(now) {
			delete(t.rates, u)
		}
	}
}

// NextTurn is when a turn has something to do that waits for its rate;
// math.MaxInt64 if nothing waits.
func (m *Manager) NextTurn() int64 {
	at := int64(math.MaxInt64)
	rate, limited := m.saveRate()
	for _, j := range m.turns.saves {
		if !limited {
			return 0
		}
		at = min(at, m.turns.spentBy(j.UUID).saves.Ready(rate, 1))
	}
	for _, j := range m.turns.slow {
		at = min(at, m.turns.spentBy(j.UUID).slow.Ready(slowRate, j.units))
	}
	if len(m.turns.prompt) > 0 {
		at = 0
	}
	return at
}

// now is the monotonic time; without a clock there are no rates.
func (m *Manager) now() int64 {
	if m.c.Clock == nil {
		return 0
	}
	return m.c.Clock()
}
