// Package app is the manager's main loop: it joins the vTPM backend, the disk
// and the hardware TPM to package manager. It is pure, so that the whole manager
// runs on the fake hypervisor in tests; vtpmmgr-stub's main gives it the real
// parts.
package app

import (
	"errors"
	"fmt"
	"io"
	"time"

	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/drivers/blkfront"
	"xenvtpm/drivers/budget"
	"xenvtpm/drivers/tpmback"
	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/manager"
	"xenvtpm/vtpmmgr-stub/proto"
)

// TPM is a transport to the hardware TPM; tis's Device is one.
type TPM interface {
	Send(cmd []byte) ([]byte, error)
}

// Config is what the manager runs on.
type Config struct {
	Store    *xenstore.Client
	Channels evtchn.Channels
	Grants   gnttab.Grants
	Options  Options
	Rand     io.Reader
	Now      func() time.Time
	Logf     func(format string, args ...any)

	// OpenTPM finds the hardware TPM. It may take long, and calls idle and sleep
	// meanwhile. Lines go to logf.
	OpenTPM func(idle func(), sleep func(time.Duration), logf func(string, ...any)) (TPM, error)

	Delays tpmback.Delays // tests only; zero = as libxl needs them
}

// MaxFrontends is how many vTPM domains may be attached at once. Each costs a
// mapped page and an event channel.
const MaxFrontends = 512

// App is the running manager.
type App struct {
	c    Config
	back *tpmback.Backend
	disk *blkfront.Disk
	hw   hardware
	mgr  *manager.Manager
	gone []tpmback.Frontend
	stop bool

	lines budget.Console[tpmback.Frontend]
	quiet int64 // until when nobody has a line to name
}

// hardware is a TPM of either family.
type hardware interface {
	manager.Hardware
	Close() error
}

// New attaches to the toolstack's devices first, so that domain creation does
// not run into libxl's limit of ten seconds, then opens disk and hardware TPM
// and starts the manager. It fails only where nothing could be answered at all;
// a manager without disk or TPM is degraded, and says so to its clients.
func New(c Config) (*App, error) {
	a := &App{c: c, quiet: evtchn.Forever}
	a.lines = budget.Console[tpmback.Frontend]{Logf: c.Logf, Now: c.Channels.Now, Who: func(f tpmback.Frontend) string { return "frontend " + f.String() }}
	var err error
	a.back, err = tpmback.New(tpmback.Config{Store: c.Store, Channels: c.Channels, Grants: c.Grants,
		MaxFrontends: MaxFrontends, Logf: c.Logf, Delays: c.Delays,
		Disconnected: func(f tpmback.Frontend, _ tpmback.UUID) { a.gone = append(a.gone, f) }})
	if err != nil {
		return nil, fmt.Errorf("taking in vTPM domains: %w", err)
	}
	c.Store.SetIdle(a.back.Poll)
	mc := manager.Config{Clock: c.Channels.Now, SaveRate: c.Options.SaveRate, PCRs: c.Options.PCRs, RollbackOff: c.Options.RollbackOff, Forget: c.Options.Forget, Authority: c.Options.Authority, Adopt: c.Options.Adopt,
		Rand: c.Rand, Now: c.Now, Logf: c.Logf}
	if hw, err := a.openTPM(); err != nil {
		mc.HWErr = err
	} else {
		a.hw, mc.HW = hw, hw
		if _, mc.TPM12 = hw.(*hwtpm.TPM12); mc.TPM12 {
			mc.PCRs.Alg = proto.AlgSHA1
		}
	}
	if disk, err := a.openDisk(); err != nil {
		mc.DiskErr = err
	} else {
		a.disk, mc.Disk = disk, disk
	}
	a.sayRoom()
	a.mgr, err = manager.New(mc)
	if err != nil {
		c.Logf("the manager is up but refuses to serve keys")
	}
	return a, nil
}

// sayRoom says for how many vTPMs there is room: when the disk is there, as its nodes
// count too.
func (a *App) sayRoom() {
	r, err := a.back.Room()
	if err != nil {
		a.c.Logf("counting this domain's nodes in xenstore: %v", err)
		return
	}
	a.c.Logf("%v; this program takes %d", r, MaxFrontends)
}

// idle goes on with the handshakes of all frontends while something else waits.
func (a *App) idle() {
	if err := a.c.Store.Dispatch(); err != nil {
		a.stop = true
	}
	a.back.Poll()
	if a.disk != nil {
		a.disk.Poll()
	}
}

// sleep waits for d, idling.
func (a *App) sleep(d time.Duration) {
	until := a.c.Channels.Now() + int64(d)
	for a.c.Channels.Now() < until {
		a.idle()
		a.c.Channels.Wait(until)
	}
}

// hwLogf is the log of what lies below the manager: a line that comes of a
// client's request is within that client's budget.
func (a *App) hwLogf(format string, args ...any) {
	if a.mgr == nil {
		a.c.Logf(format, args...)
		return
	}
	a.mgr.Logf(format, args...)
}

// openTPM opens a TPM 2.0, or else a TPM 1.2.
func (a *App) openTPM() (hardware, error) {
	t, err := a.c.OpenTPM(a.idle, a.sleep, a.hwLogf)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", hwtpm.ErrNoTPM, err)
	}
	c := hwtpm.Config{OwnerAuth: a.c.Options.OwnerAuth, Index: a.c.Options.NVIndex, Primary: a.c.Options.Primary,
		Sleep: a.sleep, Logf: a.hwLogf}
	tpm, err := hwtpm.Open(t, c)
	if err == nil {
		return tpm, nil
	}
	if !errors.Is(err, hwtpm.ErrWrongFamily) {
		return nil, err
	}
	a.c.Logf("hardware TPM is a TPM 1.2: SHA-1 PCRs, no approved policies, no attestation")
	c.OwnerAuth = a.c.Options.OwnerAuth12()
	tpm12, err := hwtpm.Open12(t, c)
	if err != nil {
		return nil, err
	}
	return tpm12, nil
}

func (a *App) openDisk() (*blkfront.Disk, error) {
	return blkfront.Open(blkfront.Config{Store: a.c.Store, Channels: a.c.Channels, Grants: a.c.Grants,
		ID: a.c.Options.Disk, Idle: a.idle, Logf: a.hwLogf, Depth: 8}) // the first start reads all of a blank disk
}

// Stop makes Run return after the batch that is being served.
func (a *App) Stop() { a.stop = true }

// Manager is the manager, for status.
func (a *App) Manager() *manager.Manager { return a.mgr }

// Run serves until Stop, or until xenstore is gone.
func (a *App) Run() {
	for !a.stop {
		a.idle()
		a.quiet = a.reportLines()
		if !a.serve() && !a.stop && !a.c.Store.Pending() {
			a.c.Channels.Wait(a.deadline())
		}
	}
	a.close()
}

func (a *App) deadline() int64 {
	at := min(a.back.Deadline(), a.mgr.NextTurn(), a.quiet)
	if a.disk != nil {
		at = min(at, a.disk.Deadline())
	}
	return at
}

// serve takes in what has come, at most one request of each frontend, and gives
// the manager a turn. It reports whether there was anything.
func (a *App) serve() bool {
	for _, f := range a.gone {
		a.mgr.Disconnected(clientID(f))
	}
	a.gone = a.gone[:0]
	for req := a.back.Next(); req != nil; req = a.back.Next() {
		a.mgr.Take(a.job(req))
	}
	return a.mgr.Turn()
}

// job is a frontend's request to the manager.
func (a *App) job(req *tpmback.Request) *manager.Job {
	tell := func(what string, err error) {
		if err != nil && !errors.Is(err, tpmback.ErrDisconnected) {
			a.lines.Printf(req.Frontend, "frontend %v: %s: %v", req.Frontend, what, err)
		}
	}
	return &manager.Job{
		Request: manager.Request{Client: clientID(req.Frontend), UUID: proto.UUID(req.UUID),
			Admin: a.isAdmin(req), Frame: req.Command},
		Respond: func(rsp []byte) { tell("answer not delivered", req.Respond(rsp)) },
		Gone:    req.Cancelled,
		Drop:    func() { tell("request not ended", req.Drop()) },
	}
}

// isAdmin: identity is what the toolstack wrote, domain 0's being its number.
func (a *App) isAdmin(req *tpmback.Request) bool {
	if a.c.Options.Admin == (proto.UUID{}) {
		return req.Frontend.Domain == 0
	}
	return proto.UUID(req.UUID) == a.c.Options.Admin
}

func clientID(f tpmback.Frontend) manager.ClientID {
	return manager.ClientID{Domain: uint16(f.Domain), Handle: f.Handle}
}

// reportLines names the lines that were left out, and says when to look again.
func (a *App) reportLines() int64 {
	at := a.mgr.ReportLines()
	if own, ok := a.lines.Report(); ok {
		at = min(at, own)
	}
	return at
}

// close lets go of everything. There is nothing to save: what was answered is
// durable.
func (a *App) close() {
	a.back.Close()
	if a.hw != nil {
		_ = a.hw.Close() // logged where it fails; the next start flushes
	}
	if a.disk != nil {
		if err := a.disk.Close(); err != nil {
			a.c.Logf("closing the disk: %v", err)
		}
	}
}
