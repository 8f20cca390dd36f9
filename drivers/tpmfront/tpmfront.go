// Package tpmfront is the frontend of Xen's vTPM device: it sends TPM commands
// to the backend that the toolstack has given this domain, which for a vTPM is
// the manager.
//
// It keeps to protocol 2 of io/tpmif.h (package tpmif). The backend may come up
// late, go away and come back, also as another domain or another device; a
// command that was running then fails with ErrDisconnected and the next one
// waits for the new connection.
//
// Threat model: the backend can refuse, delay or falsify answers, but not harm
// us: every wait has a limit, a response is copied out before it is looked at,
// and a page that a backend keeps is never reused.
package tpmfront

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/xenbus"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/drivers/tpmif"
)

// Errors of Open and Send.
var (
	ErrNotConnected = errors.New("tpmfront: no connection to the TPM's backend")
	ErrDisconnected = errors.New("tpmfront: the backend went away during the command; whether it took effect is not known")
	ErrTimeout      = errors.New("tpmfront: no answer in time; whether the command took effect is not known")
	ErrCancelled    = tpmif.ErrCancelled
	ErrBusy         = errors.New("tpmfront: a command is running")
	ErrClosed       = errors.New("tpmfront: closed")
)

// Config is what Open needs.
type Config struct {
	Store    *xenstore.Client
	Channels evtchn.Channels
	Grants   gnttab.Grants
	Class    string               // default "device/vtpm", relative to our own domain
	ID       string               // the device; default: the first one with a backend
	Locality uint8                // of our commands; the backend decides what it allows
	Idle     func()               // called while we wait; may be nil
	Logf     func(string, ...any) // may be nil

	ConnectWait time.Duration // how long Open and Send wait for a backend; default 30 s
	CommandWait time.Duration // how long a command may take; default 120 s
	CancelWait  time.Duration // how long a cancelled command may still take; default 5 s
	CloseWait   time.Duration // how long the backend may take for each step of Close; default 2 s
}

func (c *Config) fill() error {
	if c.Store == nil || c.Channels == nil || c.Grants == nil {
		return fmt.Errorf("tpmfront: bad Config: Store, Channels and Grants are needed")
	}
	if c.Class == "" {
		c.Class = "device/vtpm"
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{
		{&c.ConnectWait, 30 * time.Second},
		{&c.CommandWait, 120 * time.Second},
		{&c.CancelWait, 5 * time.Second},
		{&c.CloseWait, 2 * time.Second},
	} {
		if *d.at <= 0 {
			*d.at = d.def
		}
	}
	return nil
}

// Device is a connection to a backend, present or hoped for. One goroutine uses
// it at a time; Poll and Cancel may be called from Idle.
type Device struct {
	cfg  Config
	dev  *xenbus.FrontDevice
	link *link // nil: nothing shared

	busy   bool
	cancel bool
	closed bool
}

// link is what is shared with one backend.
type link struct {
	ref  gnttab.Ref
	port evtchn.Port
	tpm  *tpmif.Frontend
	up   bool
}

// Open connects. When no backend answers within ConnectWait it returns
// ErrNotConnected and why.
func Open(cfg Config) (*Device, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	d := &Device{cfg: cfg}
	var err error
	d.dev, err = xenbus.NewFrontDevice(xenbus.FrontConfig{
		Store: cfg.Store, Driver: driver{d}, Clock: cfg.Channels, Class: cfg.Class, ID: cfg.ID,
		CloseWait: cfg.CloseWait, Idle: cfg.Idle, Logf: cfg.Logf,
	})
	if err != nil {
		return nil, err
	}
	if err := d.connect(); err != nil {
		d.shut()
		return nil, err
	}
	return d, nil
}

// driver is the Device as its FrontDevice sees it.
type driver struct{ d *Device }

// Publish implements xenbus.FrontDriver.
func (w driver) Publish(backend abi.DomID) (map[string]string, error) {
	ref, page, err := w.d.cfg.Grants.Share(backend, true)
	if err != nil {
		return nil, err
	}
	port, err := w.d.cfg.Channels.AllocUnbound(backend)
	if err != nil {
		w.d.unshare(ref)
		return nil, err
	}
	w.d.link = &link{ref: ref, port: port, tpm: tpmif.NewFrontend(page)}
	return map[string]string{
		tpmif.NodeRingRef:      strconv.FormatUint(uint64(ref), 10),
		tpmif.NodeEventChannel: strconv.FormatUint(uint64(port), 10),
		tpmif.NodeProtocol2:    "1",
	}, nil
}

// Check implements xenbus.FrontDriver.
func (w driver) Check(r xenbus.Reader, backendDir string) error {
	v2, err := xenbus.ReadFlag(r, backendDir+"/"+tpmif.NodeProtocol2)
	if err != nil {
		return err
	}
	if !v2 {
		return fmt.Errorf("it does not speak protocol 2 (%s)", tpmif.NodeProtocol2)
	}
	w.d.link.up = true
	return nil
}

// Disconnect implements xenbus.FrontDriver.
func (w driver) Disconnect() {
	l := w.d.link
	w.d.link = nil
	if l == nil {
		return
	}
	if err := w.d.cfg.Channels.Close(l.port); err != nil {
		w.d.cfg.Logf("tpmfront: %v", err)
	}
	w.d.unshare(l.ref)
}

func (d *Device) unshare(ref gnttab.Ref) {
	err := d.cfg.Grants.Unshare(ref)
	if err != nil && !errors.Is(err, gnttab.ErrInUse) { // in use: in quarantine, as it should be
		d.cfg.Logf("tpmfront: %v", err)
	}
}

// Poll follows the backend's comings and goings. Call it from the main loop,
// so that a detach is answered also when no command is running. It does not
// block longer than xenstore requests.
func (d *Device) Poll() {
	if !d.closed {
		d.dev.Poll()
	}
}

// Deadline is when Poll has something to do without an event.
func (d *Device) Deadline() int64 { return d.dev.Deadline() }

// Connected reports whether a command could be sent now.
func (d *Device) Connected() bool { return d.link != nil && d.link.up }

// Backend is the backend's domain while Connected.
func (d *Device) Backend() abi.DomID { return d.dev.Backend() }

// connect waits for a connection.
func (d *Device) connect() error {
	deadline := d.cfg.Channels.Now() + int64(d.cfg.ConnectWait)
	// What has happened since the last call is not worth a failed command. A
	// lost xenstore is the main loop's business; the ring works without it.
	_ = d.cfg.Store.Dispatch()
	d.dev.Poll()
	for !d.Connected() {
		if d.dev.Phase() == xenbus.FrontFailed || d.cfg.Channels.Now() >= deadline {
			return fmt.Errorf("%w: %v, %v", ErrNotConnected, d.dev.Phase(), d.dev.Err())
		}
		d.clear()
		d.dev.Wait(deadline)
	}
	return nil
}

// clear forgets an event that has no command.
func (d *Device) clear() {
	if d.link != nil {
		d.cfg.Channels.TestClear(d.link.port)
	}
}

// Send sends one command and returns its response. It waits for a connection,
// then for the answer. It does not repeat a command whose fate is unknown.
func (d *Device) Send(cmd []byte) ([]byte, error) {
	switch {
	case d.closed:
		return nil, ErrClosed
	case d.busy:
		return nil, ErrBusy
	}
	d.busy, d.cancel = true, false
	defer func() { d.busy = false }()
	if err := d.connect(); err != nil {
		return nil, err
	}
	if err := d.submit(cmd); err != nil {
		return nil, err
	}
	return d.receive(d.link)
}

// submit puts the command in the page, if need be after the end of an earlier
// one that was given up.
func (d *Device) submit(cmd []byte) error {
	l := d.link
	deadline := d.cfg.Channels.Now() + int64(d.cfg.CancelWait)
	for {
		d.cfg.Channels.TestClear(l.port)
		err := l.tpm.Submit(d.cfg.Locality, cmd)
		if err == nil {
			return d.cfg.Channels.Notify(l.port)
		}
		if !errors.Is(err, tpmif.ErrBusy) {
			return err
		}
		if d.cfg.Channels.Now() >= deadline {
			return fmt.Errorf("%w: the command before this one has not ended: %v", ErrTimeout, err)
		}
		d.dev.Wait(deadline)
		if d.link != l {
			return ErrDisconnected
		}
	}
}

// receive waits for the answer, passes a cancel on, and cancels when the time
// is up.
func (d *Device) receive(l *link) ([]byte, error) {
	deadline := d.cfg.Channels.Now() + int64(d.cfg.CommandWait)
	cancelled, late := false, false
	for {
		d.cfg.Channels.TestClear(l.port)
		rsp, done, err := l.tpm.Poll()
		switch {
		case done && late && errors.Is(err, ErrCancelled):
			return nil, ErrTimeout
		case done:
			return rsp, err
		case d.link != l:
			return nil, ErrDisconnected
		}
		now := d.cfg.Channels.Now()
		if now >= deadline && cancelled {
			return nil, ErrTimeout
		}
		late = late || now >= deadline
		if !cancelled && (late || d.cancel) {
			cancelled = true
			deadline = now + int64(d.cfg.CancelWait)
			l.tpm.Cancel()
			if err := d.cfg.Channels.Notify(l.port); err != nil {
				return nil, err
			}
			continue
		}
		d.dev.Wait(deadline)
	}
}

// Cancel asks the backend to end the running command early. Call it from Idle.
func (d *Device) Cancel() { d.cancel = true }

// Close tells the backend that we go, waits for it to let go, within CloseWait
// for each of two steps, and frees everything.
func (d *Device) Close() error {
	if d.closed {
		return nil
	}
	if d.busy {
		return ErrBusy
	}
	d.dev.StartClose()
	deadline := d.cfg.Channels.Now() + 3*int64(d.cfg.CloseWait)
	for d.dev.Phase() != xenbus.FrontFinished && d.cfg.Channels.Now() < deadline {
		d.clear()
		d.dev.Wait(deadline)
	}
	d.shut()
	return nil
}

func (d *Device) shut() {
	d.closed = true
	d.dev.Release()
	driver{d}.Disconnect()
}
