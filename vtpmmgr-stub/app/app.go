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
	// meanwhile.
	OpenTPM func(idle func(), sleep func(time.Duration)) (TPM, error)

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
	a := &App{c: c}
	var err error
	a.back, err = tpmback.New(tpmback.Config{Store: c.Store, Channels: c.Channels, Grants: c.Grants,
		MaxFrontends: MaxFrontends, Logf: c.Logf, Delays: c.Delays,
		Disconnected: func(f tpmback.Frontend, _ tpmback.UUID) { a.gone = append(a.gone, f) }})
	if err != nil {
		return nil, fmt.Errorf("taking in vTPM domains: %w", err)
	}
	c.Store.SetIdle(a.back.Poll)
	mc := manager.Config{PCRs: c.Options.PCRs, RollbackOff: c.Options.RollbackOff, Forget: c.Options.Forget, Authority: c.Options.Authority, Adopt: c.Options.Adopt,
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
	a.mgr, err = manager.New(mc)
	if err != nil {
		c.Logf("the manager is up but refuses to serve keys")
	}
	return a, nil
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

// openTPM opens a TPM 2.0, or else a TPM 1.2.
func (a *App) openTPM() (hardware, error) {
	t, err := a.c.OpenTPM(a.idle, a.sleep)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", hwtpm.ErrNoTPM, err)
	}
	c := hwtpm.Config{OwnerAuth: a.c.Options.OwnerAuth, Index: a.c.Options.NVIndex, Primary: a.c.Options.Primary,
		Sleep: a.sleep, Logf: a.c.Logf}
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
		ID: a.c.Options.Disk, Idle: a.idle, Logf: a.c.Logf, Depth: 8}) // the first start reads all of a blank disk
}

// Stop makes Run return after the batch that is being served.
func (a *App) Stop() { a.stop = true }

// Manager is the manager, for status.
func (a *App) Manager() *manager.Manager { return a.mgr }

// Run serves until Stop, or until xenstore is gone.
func (a *App) Run() {
	for !a.stop {
		a.idle()
		if !a.serve() && !a.stop && !a.c.Store.Pending() {
			a.c.Channels.Wait(a.deadline())
		}
	}
	a.close()
}

func (a *App) deadline() int64 {
	at := a.back.Deadline()
	if a.disk != nil {
		at = min(at, a.disk.Deadline())
	}
	return at
}

// maxBatch bounds the memory of one batch: so many frames of one page each.
const maxBatch = 128

// serve answers what waits, at most one request of each frontend, and reports
// whether there was anything.
func (a *App) serve() bool {
	for _, f := range a.gone {
		a.mgr.Disconnected(clientID(f))
	}
	a.gone = a.gone[:0]
	var waiting []*tpmback.Request
	var batch []manager.Request
	for len(batch) < maxBatch {
		req := a.back.Next()
		if req == nil {
			break
		}
		waiting = append(waiting, req)
		batch = append(batch, manager.Request{Client: clientID(req.Frontend), UUID: proto.UUID(req.UUID),
			Admin: a.isAdmin(req), Frame: req.Command})
	}
	if len(batch) == 0 {
		return false
	}
	for i, rsp := range a.mgr.Handle(batch) {
		if err := waiting[i].Respond(rsp); err != nil {
			a.c.Logf("frontend %v: answer not delivered: %v", waiting[i].Frontend, err)
		}
	}
	return true
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
