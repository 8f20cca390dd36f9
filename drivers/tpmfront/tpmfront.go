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

// Open connects. When no backend answers within ConnectWait it returns
// ErrNotConnected and why.
func Open(cfg Config) (*Device, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	d := &Device{cfg: cfg}
	var err error
	d.dev, err = xenbus.NewFrontDevice(xenbus.FrontConfig{
		Store: cfg.Store, Driver: driver{d}, Channels: cfg.Channels, Class: cfg.Class, ID: cfg.ID,
		CloseWait: cfg.CloseWait, Idle: cfg.Idle, Logf: cfg.Logf,
	})
	if err != nil {
		return nil, err
	}
	if err := d.connect(); err != nil {
		d.closed = true
		d.dev.Release()
		return nil, err
	}
	return d, nil
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
	if !d.dev.Await(deadline, d.Connected) {
		return fmt.Errorf("%w: %v, %v", ErrNotConnected, d.dev.Phase(), d.dev.Err())
	}
	return nil
}

// Close tells the backend that we go, waits for it to let go, within CloseWait
// for each of two steps, and frees everything.
func (d *Device) Close() error {
	if d.closed {
		return nil
	}
	if d.busy {
		return ErrBusy
	}
	d.dev.Close()
	d.closed = true
	return nil
}
