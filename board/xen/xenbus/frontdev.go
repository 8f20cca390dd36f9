package xenbus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/xenstore"
)

// A FrontDriver is what differs between frontends.
type FrontDriver interface {
	// Publish shares pages with the backend's domain, allocates an event
	// channel and returns the nodes that tell the backend of them.
	Publish(backend abi.DomID) (map[string]string, error)
	// Check reads what a connected backend wrote in its directory, and makes
	// the device usable. An error rejects the backend for good.
	Check(r Reader, backendDir string) error
	// Disconnect undoes Publish, if it has been called. The peer may still have
	// pages mapped.
	Disconnect()
	// Port is the event channel of what is published, 0 for nothing.
	Port() evtchn.Port
}

// An EarlyDriver is a FrontDriver that can use its ring before the backend shows Connected.
type EarlyDriver interface {
	// Early is told that the backend has sent an event, so that it has taken the ring, although it shows
	// InitWait: it may have to keep that state readable for the toolstack and yet serve.
	Early(r Reader, backendDir string) error
}

// FrontConfig is what NewFrontDevice needs.
type FrontConfig struct {
	Store        *xenstore.Client
	Driver       FrontDriver
	Channels     Channels
	Class        string        // directory of the devices' class, such as "device/vtpm"
	ID           string        // which device; empty: the first one with a backend
	NeedInitWait bool          // see Frontend
	CloseWait    time.Duration // how long the backend may take for each step of a close
	Idle         func()        // called by Wait; may be nil
	Logf         func(string, ...any)
}

// FrontDevice keeps a frontend's side of xenstore: it finds the device, follows
// the backend's state and runs the Frontend machine. It never blocks longer
// than a xenstore request.
type FrontDevice struct {
	cfg   FrontConfig
	fe    Frontend
	own   *xenstore.Watch
	other *xenstore.Watch

	dir     string // our directory; empty: none found yet
	backend string // the backend's directory
	domain  abi.DomID
	seen    State    // of the backend, when last read
	nodes   []string // published

	dirtyOwn, dirtyOther bool
	timer                int64 // 0: not armed
	again                int64 // when to retry after a failed request; 0: not
	unshown              State // our state, if it could not be written
	polling              bool
	rang                 bool  // an event came since the last Look
	called               bool  // an event came since the last Publish
	mayEarly             bool  // the machine has asked for Early
	err                  error // why the last attempt failed
}

// retryAfter is how long a failed xenstore request rests.
const retryAfter = int64(time.Second)

// NewFrontDevice registers the watch for the class. Poll does the rest.
func NewFrontDevice(cfg FrontConfig) (*FrontDevice, error) {
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	d := &FrontDevice{cfg: cfg, fe: Frontend{NeedInitWait: cfg.NeedInitWait}, dirtyOwn: true}
	var err error
	d.own, err = cfg.Store.Watch(cfg.Class, func(string) { d.dirtyOwn = true })
	if err != nil {
		return nil, fmt.Errorf("xenbus: watching %s: %w", cfg.Class, err)
	}
	return d, nil
}

// Phase is where the device stands.
func (d *FrontDevice) Phase() FrontPhase { return d.fe.Phase }

// Backend is the backend's domain, valid from FrontPublished on.
func (d *FrontDevice) Backend() abi.DomID { return d.domain }

// Err is why the device is not connected, for messages.
func (d *FrontDevice) Err() error {
	switch {
	case d.err != nil:
		return d.err
	case d.dir == "":
		return fmt.Errorf("no device with a backend in %s", d.cfg.Class)
	case d.seen == Closing || d.seen == Closed:
		return fmt.Errorf("%s: the backend in domain %d refuses the device, or is about to go; its log has the reason", d.dir, d.domain)
	}
	return fmt.Errorf("%s: waiting for the backend in domain %d", d.dir, d.domain)
}

// Deadline is when Poll has something to do without an event.
func (d *FrontDevice) Deadline() int64 {
	at := int64(1<<63 - 1)
	for _, t := range []int64{d.timer, d.again} {
		if t > 0 {
			at = min(at, t)
		}
	}
	return at
}

// Poll looks at what has changed. A Poll inside a Poll only takes note of
// events. It may be called at any time: an event that it meets makes the next
// Wait return, unless a Look comes first.
func (d *FrontDevice) Poll() {
	d.listen()
	if d.polling || d.fe.Phase == FrontFinished {
		return
	}
	d.polling = true
	defer func() { d.polling = false }()
	now := d.cfg.Channels.Now()
	if d.again > 0 && now >= d.again {
		d.again, d.dirtyOwn, d.dirtyOther = 0, true, true
		d.show(d.unshown)
	}
	if d.timer > 0 && now >= d.timer {
		d.timer = 0
		d.apply(FrontEvent{Kind: FrontTimer})
	}
	if d.dirtyOwn {
		d.dirtyOwn = false
		d.report("looking for the device", d.locate())
	}
	if d.dirtyOther {
		d.dirtyOther = false
		if d.dir != "" {
			d.report("reading the backend's state", d.follow())
		}
	}
	d.early()
}

// early lets the driver use its ring if the backend has called while it shows InitWait.
func (d *FrontDevice) early() {
	w, ok := d.cfg.Driver.(EarlyDriver)
	if !ok || !d.mayEarly || !d.called || d.fe.Phase != FrontPublished {
		return
	}
	d.mayEarly = false
	if err := w.Early(d.cfg.Store, d.backend); err != nil {
		d.cfg.Logf("xenbus: %s: %v", d.dir, err) // Connected comes all the same
	}
	d.rang = true // our owner may wait for just that: let it look before it sleeps
}

func (d *FrontDevice) report(what string, err error) {
	if err == nil {
		return
	}
	d.err = fmt.Errorf("%s: %w", what, err)
	d.cfg.Logf("xenbus: %s: %v", d.cfg.Class, d.err)
	d.again = d.cfg.Channels.Now() + retryAfter
}

// apply takes a step and does what it asks for, including the steps that
// follow from results.
func (d *FrontDevice) apply(ev FrontEvent) {
	for next := &ev; next != nil; {
		before := d.fe.Phase
		acts := d.fe.Step(*next)
		next = nil
		for _, a := range acts {
			if result := d.do(a); result != nil {
				next = result
			}
		}
		if before != d.fe.Phase {
			// A backend that is where we wait for it already sends no event. After
			// a failure, though, time has to pass first.
			d.dirtyOther = d.again == 0
			d.cfg.Logf("xenbus: %s: %v -> %v", d.dir, before, d.fe.Phase)
		}
	}
}

// do carries out one action and returns the event that reports its result.
func (d *FrontDevice) do(a Action) *FrontEvent {
	switch a.Kind {
	case SetState:
		d.show(a.State)
	case SetTimer:
		d.timer = d.cfg.Channels.Now() + int64(d.cfg.CloseWait)
	case Disconnect:
		d.cfg.Driver.Disconnect()
	case Unpublish:
		for _, n := range d.nodes {
			// The directory may be gone; then so are the nodes.
			_ = d.cfg.Store.Rm(d.dir + "/" + n)
		}
		d.nodes = nil
	case Publish:
		if err := d.publish(); err != nil {
			d.report("publishing", err)
			return &FrontEvent{Kind: FrontPublishFailed}
		}
		return &FrontEvent{Kind: FrontPublishOK}
	case Early:
		d.mayEarly = true
	case Check:
		if err := d.cfg.Driver.Check(d.cfg.Store, d.backend); Transient(err) {
			d.report("reading what the backend offers", err)
			return nil
		} else if err != nil {
			d.err = fmt.Errorf("%s: backend in domain %d: %w", d.dir, d.domain, err)
			d.cfg.Logf("xenbus: %v", d.err)
			return &FrontEvent{Kind: FrontReject}
		}
		d.err = nil
		return &FrontEvent{Kind: FrontAccept}
	}
	return nil
}

// show writes our state. What could not be written is tried again later; where
// the directory is gone there is nobody to show it to.
func (d *FrontDevice) show(s State) {
	d.unshown = Unknown
	if s == Unknown || d.dir == "" {
		return
	}
	if err := SwitchState(d.cfg.Store, d.dir, s); err != nil && !errors.Is(err, ErrGone) {
		d.unshown = s
		d.report("showing our state", err)
	}
}

// publish writes what the driver wants the backend to know, all at once.
func (d *FrontDevice) publish() error {
	d.called, d.mayEarly = false, false
	nodes, err := d.cfg.Driver.Publish(d.domain)
	if err != nil {
		return fmt.Errorf("sharing with domain %d: %w", d.domain, err)
	}
	d.nodes = d.nodes[:0]
	for n := range nodes {
		d.nodes = append(d.nodes, n)
	}
	slices.Sort(d.nodes)
	err = d.cfg.Store.Transaction(func(tx *xenstore.Tx) error {
		if _, err := ReadState(tx, d.dir); err != nil {
			return err
		}
		for _, n := range d.nodes {
			if err := tx.Write(d.dir+"/"+n, nodes[n]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		d.cfg.Driver.Disconnect()
		return fmt.Errorf("publishing %s: %w", strings.Join(d.nodes, ", "), err)
	}
	return nil
}
