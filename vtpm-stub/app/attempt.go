package app

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"xenvtpm/drivers/blkfront"
	"xenvtpm/drivers/tpmfront"
	"xenvtpm/vtpm-stub/service"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Pauses between attempts to bring the TPM up, or to settle what is held.
const (
	firstPause = int64(250 * time.Millisecond)
	lastPause  = int64(15 * time.Second)
)

// attempt tries again what waits for manager or disk, when it is time, and at
// once when the manager has come back. It reports whether it did anything.
func (a *App) attempt() bool {
	again := a.managerCame()
	if a.phase == serving || a.phase == failed || !again && a.cfg.Channels.Now() < a.nextTry {
		return false
	}
	if again {
		a.pause = firstPause
	}
	if a.phase == holding {
		a.settle()
	} else {
		a.start()
	}
	a.nextTry = a.cfg.Channels.Now() + a.pause
	a.pause = min(2*a.pause, lastPause)
	return true
}

// managerCame reports whether the connection to the manager has come up since the
// last call.
func (a *App) managerCame() bool {
	now := a.mgr != nil && a.mgr.Connected()
	came := now && !a.hadManager
	a.hadManager = now
	return came
}

// happened takes the step that follows from an event; why is for the log.
func (a *App) happened(ev event, why error) {
	next, err := a.phase.step(ev)
	if err != nil {
		a.cfg.Logf("vtpm: %v (%v)", err, why)
		return
	}
	if next == holding && a.phase != holding {
		a.pause, a.nextTry = firstPause, a.cfg.Channels.Now()+firstPause
	}
	a.phase = next
	if next != holding && next != serving {
		a.queue.undo()
	}
	if why != nil {
		a.complain(why)
	}
	a.hear(why)
}

// hear counts how often the manager did not answer in time. Its page then waits
// for the end of an old command, which only a new connection is sure to bring.
func (a *App) hear(why error) {
	if !errors.Is(why, tpmfront.ErrTimeout) {
		a.silent = 0
		return
	}
	if a.silent++; a.silent < silentLimit || a.mgr == nil {
		return
	}
	a.silent = 0
	if err := a.mgr.Close(); err != nil {
		a.cfg.Logf("vtpm: closing the connection to the manager: %v", err)
	}
	a.mgr = nil
}

// silentLimit is how many commands in a row the manager may leave unanswered.
const silentLimit = 2

// maxComplaints bounds the memory of what was logged.
const maxComplaints = 16

// complain logs why there is no service, once for each reason until there is.
func (a *App) complain(why error) {
	text := a.phase.String() + ": " + why.Error()
	if slices.Contains(a.complaints, text) || len(a.complaints) == maxComplaints {
		return
	}
	a.complaints = append(a.complaints, text)
	switch a.phase {
	case failed:
		a.cfg.Logf("service: FAILURE MODE, guests get TPM_RC_FAILURE: %v", why)
	case refused:
		a.cfg.Logf("service: FAILURE MODE, guests get TPM_RC_FAILURE until it passes: %v", why)
	default:
		a.cfg.Logf("vtpm: WAITING, and trying again: %v", why)
	}
}

// start brings the TPM up, or says why not.
func (a *App) start() {
	err := a.optErr
	if err == nil {
		err = a.connect()
	}
	sc := service.StartConfig{
		Options: a.opts, Logf: a.cfg.Logf, OpenError: err, Transient: transient,
		Clock: func() int64 { return a.cfg.Channels.Now() / int64(time.Millisecond) },
	}
	if err == nil {
		sc.Disk = disk{a}
		sc.Manager = &proto.Client{S: manager{a}}
		sc.Entropy = service.NewEntropy(sc.Manager, a.cfg.Logf)
	}
	a.svc = service.Start(sc)
	a.svc.SetClosed(a.back.Closed)
	if why := a.svc.Why(); why != nil {
		a.happened(kindOf(why), why)
		return
	}
	a.happened(up, nil)
	a.complaints = nil
	a.cfg.Logf("vtpm: ready")
}

// connect opens what is not open of manager and disk, and greets the manager.
func (a *App) connect() error {
	if err := a.connectManager(); err != nil {
		return err
	}
	return a.connectDisk()
}

func (a *App) connectManager() (err error) {
	if a.mgr == nil {
		a.mgr, err = tpmfront.Open(tpmfront.Config{
			Store: a.cfg.Store, Channels: a.cfg.Channels, Grants: a.cfg.Grants,
			Idle: a.idle, Logf: a.driverLogf, ConnectWait: a.cfg.ConnectWait, CommandWait: managerWait,
		})
		if err != nil {
			a.mgr = nil
			return fmt.Errorf("connecting the manager (is it running, and named in this domain's vtpm= line?): %w", err)
		}
	}
	return a.greet(&proto.Client{S: a.mgr})
}

// connectDisk opens the disk, anew if the last connection was of no use.
func (a *App) connectDisk() (err error) {
	if a.disk == nil {
		a.disk, err = blkfront.Open(blkfront.Config{
			Store: a.cfg.Store, Channels: a.cfg.Channels, Grants: a.cfg.Grants,
			Idle: a.idle, Logf: a.driverLogf, ConnectWait: a.cfg.ConnectWait,
		})
		if err != nil {
			a.disk = nil
			return fmt.Errorf("connecting the disk: %w", err)
		}
	}
	if a.disk.ReadOnly() {
		return fmt.Errorf("%w; use access=w", blkfront.ErrReadOnly)
	}
	return nil
}

// settle makes durable what is held, and answers the command that made the
// change.
func (a *App) settle() {
	if err := a.ready(); err != nil {
		a.happened(kindOf(err), err)
		return
	}
	if err := a.svc.Settle(); err != nil {
		a.happened(kindOf(err), err)
		return
	}
	a.happened(settled, nil)
	a.complaints = nil
	w := a.queue.executed()
	if w == nil {
		return
	}
	if rsp := a.svc.Kept(); rsp != nil {
		a.answer(w.req, rsp)
		return
	}
	w.done = false // it waited for a power cycle
	a.queue.back(w)
}

// ready reports whether there is somebody to settle with: a manager that is
// connected, and a disk, which is opened again if it broke.
func (a *App) ready() error {
	if a.mgr == nil {
		if err := a.connectManager(); err != nil {
			return err
		}
	}
	if !a.mgr.Connected() {
		return tpmfront.ErrNotConnected
	}
	if a.disk != nil && a.disk.Broken() {
		if err := a.disk.Close(); err != nil {
			return err
		}
		a.disk = nil
	}
	return a.connectDisk()
}

// manager is the connection to the manager as the service uses it. While the TPM
// serves it does not wait for one: what cannot be saved is held, without the
// program standing still.
type manager struct{ a *App }

// Send implements proto.Sender.
func (m manager) Send(cmd []byte) ([]byte, error) {
	if m.a.mgr == nil || m.a.phase == serving && !m.a.mgr.Connected() {
		return nil, tpmfront.ErrNotConnected
	}
	return m.a.mgr.Send(cmd)
}

// disk is the disk as the service uses it, whichever connection that is.
type disk struct{ a *App }

func (d disk) open() (*blkfront.Disk, error) {
	if d.a.disk == nil {
		return nil, blkfront.ErrNotConnected
	}
	return d.a.disk, nil
}

// ReadAt implements state.Disk.
func (d disk) ReadAt(p []byte, off int64) (int, error) {
	b, err := d.open()
	if err != nil {
		return 0, err
	}
	return b.ReadAt(p, off)
}

// WriteAt implements state.Disk.
func (d disk) WriteAt(p []byte, off int64) (int, error) {
	b, err := d.open()
	if err != nil {
		return 0, err
	}
	return b.WriteAt(p, off)
}

// Flush implements state.Disk.
func (d disk) Flush() error {
	b, err := d.open()
	if err != nil {
		return err
	}
	return b.Flush()
}

// Size implements state.Disk.
func (d disk) Size() int64 {
	if d.a.disk == nil {
		return 0
	}
	return d.a.disk.Size()
}
