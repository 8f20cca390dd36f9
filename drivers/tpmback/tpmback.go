// Package tpmback is the backend of Xen's vTPM device: it takes in the
// frontends that the toolstack attaches to this domain, carries their TPM
// commands out of their shared pages and the answers back.
//
// It keeps to protocol 2 of io/tpmif.h (package tpmif) and to what libxl and
// Linux's and mini-os's frontends expect of a backend's states (package
// xenbus). In particular: InitWait stays readable for libxl; Closing stays
// until the frontend is Closed, because a Linux guest that shuts down waits
// for exactly that state; a frontend that republishes its ring is reconnected;
// removal is what libxl asks for by online=0, and its own directory goes last;
// a vTPM that stops shows neither Closing nor Closed, because its guests would
// drop their TPM for good. A device for which there is no room is shown Closed,
// and taken in when there is.
//
// xenstored limits what a domain owns and watches, and a manager has many
// frontends: each costs six nodes (see Room), and two watches serve all of them.
//
// Threat model: a frontend owns its page, its events, its directory and its
// timing. A bad request gets a TPM error, a bad peer is disconnected, and
// neither delays the others: service is round-robin with one command in flight
// for each frontend. Our own directory is written by the toolstack and trusted.
package tpmback

import (
	"fmt"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/xenstore"
)

// Frontend names a frontend: its domain and its device's number there.
type Frontend struct {
	Domain abi.DomID
	Handle uint32
}

func (f Frontend) String() string { return fmt.Sprintf("%d/%d", f.Domain, f.Handle) }

// UUID is what the toolstack wrote for a device.
type UUID [16]byte

func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// Delays are how long a state stays readable or a peer is waited for. Zero
// fields mean the defaults.
type Delays struct {
	// InitWait of a new device: libxl wants to read exactly that state after
	// its watch fires, also on a busy host. A frontend that is faster than
	// libxl is served meanwhile, but not shown Connected. Default 1 s.
	InitWait time.Duration
	// Closed before InitWait, when a frontend has closed and may come back:
	// Linux's kexec path wants to read both. Default 500 ms.
	Closed time.Duration
	// Grace is what a frontend gets to close when its device is being removed;
	// libxl itself waits 10 s. Default 3 s.
	Grace time.Duration
	// Remove is from Closed to the removal of our directory, which libxl reads
	// once more in between, and for whose removal it then waits 10 s. Default
	// 2 s: one was enough on an idle host.
	Remove time.Duration
	// Retry is between attempts to connect a ring. Default 1 s.
	Retry time.Duration
}

// Config is what New needs.
type Config struct {
	Store        *xenstore.Client
	Channels     evtchn.Channels
	Grants       gnttab.Grants
	Dir          string               // default "backend/vtpm", relative to our own domain
	MaxFrontends int                  // more are refused; default 64
	Delays       Delays               // zero fields: defaults
	Logf         func(string, ...any) // may be nil

	// Connected and Disconnected, if set, are told of frontends whose ring comes
	// and goes. They run inside Poll and must not call the Backend.
	Connected    func(Frontend, UUID)
	Disconnected func(Frontend, UUID)
	// Detached, if set, is told of attachments that have ended: the toolstack's
	// directory is gone, or another is in its place. closed says that the frontend
	// had closed the device by itself before the toolstack asked for it, as a
	// kernel does that shuts down in order. It runs inside Poll and must not call
	// the Backend.
	Detached func(a Attachment, closed bool)
}

func (c *Config) fill() error {
	if c.Store == nil || c.Channels == nil || c.Grants == nil {
		return fmt.Errorf("tpmback: bad Config: Store, Channels and Grants are needed")
	}
	if c.Dir == "" {
		c.Dir = "backend/vtpm"
	}
	if c.MaxFrontends <= 0 {
		c.MaxFrontends = 64
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{
		{&c.Delays.InitWait, time.Second},
		{&c.Delays.Closed, 500 * time.Millisecond},
		{&c.Delays.Grace, 3 * time.Second},
		{&c.Delays.Remove, 2 * time.Second},
		{&c.Delays.Retry, time.Second},
	} {
		if *d.at <= 0 {
			*d.at = d.def
		}
	}
	return nil
}
