// Package app is the vTPM domain's program without its metal: it connects the
// manager and the disk, brings the TPM up, and runs the event loop that serves
// the guests. It runs on a Xen domain as well as on the fake one of
// board/xen/xentest.
package app

import (
	"errors"
	"fmt"
	"time"

	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/boot/startinfo"
	"xenvtpm/drivers/blkfront"
	"xenvtpm/drivers/budget"
	"xenvtpm/drivers/tpmback"
	"xenvtpm/drivers/tpmfront"
	"xenvtpm/vtpm-stub/service"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Config is the domain that the program runs in.
type Config struct {
	Store    *xenstore.Client
	Channels evtchn.Channels
	Grants   gnttab.Grants
	Options  startinfo.Options    // the command line
	Logf     func(string, ...any) // may be nil
	// Report, if set, gives a line about memory and CPU time; it is logged when
	// the program ends and, with loglevel=debug, every 1000 commands.
	Report func() string
	// ConnectWait is how long one attempt to connect the manager or the disk
	// takes; 0 means 30 s.
	ConnectWait time.Duration
}

// App is the program.
type App struct {
	cfg  Config
	opts service.Options
	back *tpmback.Backend
	mgr  *tpmfront.Device
	disk *blkfront.Disk
	svc  *service.Service // nil: not yet
	stop bool
	lost error // xenstore is gone

	phase      phase
	nextTry    int64 // when to try again, in starting, refused and holding
	pause      int64 // the next pause between attempts
	hadManager bool  // the manager was connected when we last looked
	silent     int   // commands in a row that the manager has not answered
	complaints []string
	queue      queue

	breath int64 // when breathe last looked at the handshakes

	provision int64 // when to see to certificates; evtchn.Forever: no more
	tries     int   // of that

	optErr     error
	driverLogf func(string, ...any) // nil with loglevel=error

	lines   budget.Console[tpmback.Frontend]
	serving *tpmback.Frontend // whose command is being served
	quiet   int64             // until when there are no lines to name that were left out
}

// logf writes a line to the console; one that comes of a guest's command is within
// that guest's budget.
func (a *App) logf(format string, args ...any) {
	if a.serving == nil {
		a.lines.Logf(format, args...)
		return
	}
	a.lines.Printf(*a.serving, format, args...)
}

// reportLines names the lines that were left out, where there is room again.
func (a *App) reportLines() {
	at, lost := a.lines.Report()
	if a.quiet = evtchn.Forever; lost {
		a.quiet = at
	}
}

// managerWait is how long the manager may take for an answer before we look
// whether it is still there.
const managerWait = 60 * time.Second

// reportEvery is how many commands lie between two reports.
const reportEvery = 1000

// New makes the program and starts serving the handshakes of guests, so that
// the toolstack need not wait for the manager. Its only errors are those of
// xenstore.
func New(cfg Config) (*App, error) {
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	if cfg.ConnectWait <= 0 {
		cfg.ConnectWait = 30 * time.Second
	}
	a := &App{cfg: cfg, pause: firstPause}
	console := cfg.Logf
	a.lines = budget.Console[tpmback.Frontend]{Logf: console, Now: cfg.Channels.Now,
		Who: func(f tpmback.Frontend) string { return fmt.Sprintf("vtpm: guest %v", f) }}
	a.cfg.Logf = a.logf
	a.opts, a.optErr = service.ParseOptions(cfg.Options)
	var backLogf func(string, ...any) // its lines have budgets of their own
	if !a.opts.Quiet {
		a.driverLogf, backLogf = a.logf, console
	}
	var err error
	a.back, err = tpmback.New(tpmback.Config{
		Store: cfg.Store, Channels: cfg.Channels, Grants: cfg.Grants, Logf: backLogf,
		Detached: a.detached,
	})
	if err != nil {
		return nil, err
	}
	cfg.Store.SetIdle(a.back.Poll)
	return a, nil
}

// Stop makes Run return soon.
func (a *App) Stop() { a.stop = true }

// Run brings up the TPM and serves until Stop. Its only error is a lost
// connection to xenstore. What manager or disk cannot do now is tried again; what
// they refuse for good leaves the TPM in failure mode.
func (a *App) Run() error {
	for !a.stop && a.lost == nil {
		// What waited inside may have taken in events of others: look again before
		// sleeping.
		if a.attempt() || a.serve() || a.certify() || a.stop || a.lost != nil {
			continue
		}
		if !a.cfg.Store.Pending() {
			a.cfg.Channels.Wait(a.deadline())
		}
	}
	a.close()
	return a.lost
}

// greet asks who the manager is, for the log, and whether it answers. Xen's own
// does not know the question.
func (a *App) greet(c *proto.Client) error {
	h, err := c.Hello()
	var refused proto.Result
	switch {
	case err == nil:
		a.cfg.Logf("vtpm: manager %v, protocol %d, flags %#x", h.Manager, h.Version, h.Flags)
	case errors.As(err, &refused):
		a.cfg.Logf("vtpm: a manager without this project's extensions (%v)", err)
	default:
		return fmt.Errorf("greeting the manager: %w", err)
	}
	return nil
}

// idle runs while something else waits: handshakes go on, commands do not, but
// none waits for longer than a guest may.
func (a *App) idle() {
	if err := a.cfg.Store.Dispatch(); err != nil {
		a.lost = err
		return
	}
	a.back.Poll()
	if a.mgr != nil {
		a.mgr.Poll()
	}
	if a.disk != nil {
		a.disk.Poll()
	}
	if a.phase == starting || a.phase == holding {
		now := a.cfg.Channels.Now()
		a.queue.take(a.back, now)
		a.queue.expire(now, a.answer)
	}
}

// Retries of what the manager could not do for the certificates.
const (
	provisionAgain = int64(time.Minute)
	provisionTries = 5
)

// certify sees to the certificates of the endorsement keys, when nobody waits
// for an answer: after the start, and a few times more if the manager could not
// help. It reports whether it did anything.
func (a *App) certify() bool {
	now := a.cfg.Channels.Now()
	if !a.canCertify() || a.provision > now {
		return false
	}
	a.breath = now
	again := a.svc.Provision(func() bool { a.breathe(); return a.stop || a.lost != nil })
	a.tries++
	a.provision = evtchn.Forever
	if again && a.tries < provisionTries {
		a.provision = a.cfg.Channels.Now() + provisionAgain<<(a.tries-1)
	}
	if a.svc.Held() {
		a.happened(unknown, nil)
	}
	return true
}

// canCertify reports whether there is a TPM, and a manager to ask.
func (a *App) canCertify() bool { return a.phase == serving && a.mgr != nil && a.mgr.Connected() }

// breathEvery is how long a command may compute before handshakes are looked
// at.
const breathEvery = int64(100 * time.Millisecond)

// breathe lets handshakes go on during a long computation, such as an RSA key
// on a slow machine: the toolstack waits ten seconds and no longer.
func (a *App) breathe() {
	if now := a.cfg.Channels.Now(); now-a.breath >= breathEvery {
		a.idle()
		a.breath = a.cfg.Channels.Now()
	}
}

// serve does one round: events, then at most one command, so that a busy guest
// cannot keep the handshakes of others waiting. It reports whether there was a
// command.
func (a *App) serve() bool {
	a.idle()
	a.reportLines()
	if a.phase == starting || a.phase == holding {
		return false
	}
	a.queue.expire(a.cfg.Channels.Now(), a.answer)
	w := a.queue.next()
	if w == nil {
		req := a.back.Next()
		if req == nil {
			return false
		}
		w = &waiter{req: req, since: a.cfg.Channels.Now()}
	}
	a.execute(w)
	if a.opts.Debug && a.svc.Count()%reportEvery == 0 {
		a.report()
	}
	return true
}

// execute has a command executed and answers it, or lets it wait.
func (a *App) execute(w *waiter) {
	a.breath = a.cfg.Channels.Now()
	req, had := w.req, a.svc.Why() == nil
	a.serving = &req.Frontend
	defer func() { a.serving = nil }()
	rsp := a.svc.Handle(&service.Request{
		From: req.Frontend.String(), Attachment: attachment(req.Attachment), Locality: req.Locality,
		Command: req.Command,
		Cancelled: func() bool {
			a.breathe()
			return req.Cancelled()
		},
	})
	switch why := a.svc.Why(); {
	case rsp == nil:
		w.done = true
		a.queue.back(w)
		a.happened(unknown, nil)
		return
	case had && why != nil:
		a.happened(kindOf(why), why)
	}
	a.answer(req, rsp)
}

func (a *App) answer(req *tpmback.Request, rsp []byte) {
	if err := req.Respond(rsp); err != nil && !errors.Is(err, tpmback.ErrDisconnected) {
		a.cfg.Logf("vtpm: answering %v: %v", req.Frontend, err)
	}
}

// attachment is a device as the service knows it.
func attachment(a tpmback.Attachment) service.Attachment {
	out := service.Attachment{ID: a.ID, Previous: a.Previous, Domain: uint16(a.Frontend.Domain), For: uint16(a.For), UUID: a.UUID}
	switch a.Boot {
	case tpmback.BootNew:
		out.Boot = service.BootNew
	case tpmback.BootRestore:
		out.Boot = service.BootRestore
	}
	return out
}

// detached passes on that an attachment has ended. Before the start no command
// was served, so there is nobody who would have to know.
func (a *App) detached(at tpmback.Attachment, closed bool) {
	if a.svc != nil {
		a.svc.Detached(attachment(at), closed)
	}
}

// deadline is when somebody has something to do without an event.
func (a *App) deadline() int64 {
	d := min(a.queue.deadline(a.back.Deadline()), a.quiet)
	switch {
	case a.canCertify():
		d = min(d, a.provision)
	case a.phase != serving && a.phase != failed:
		d = min(d, a.nextTry)
	}
	if a.mgr != nil {
		d = min(d, a.mgr.Deadline())
	}
	if a.disk != nil {
		d = min(d, a.disk.Deadline())
	}
	return d
}

// close lets go of everything. The state needs no saving: no command was
// answered before its changes were durable.
func (a *App) close() {
	a.back.Close()
	if a.disk != nil {
		if err := a.disk.Close(); err != nil {
			a.cfg.Logf("vtpm: closing the disk: %v", err)
		}
	}
	if a.mgr != nil {
		if err := a.mgr.Close(); err != nil {
			a.cfg.Logf("vtpm: closing the connection to the manager: %v", err)
		}
	}
	a.report()
}

func (a *App) report() {
	if a.cfg.Report != nil && a.svc != nil {
		a.cfg.Logf("vtpm: %d commands; %s", a.svc.Count(), a.cfg.Report())
	}
}
