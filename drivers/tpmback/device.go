package tpmback

import (
	"errors"

	"xenvtpm/board/xen/xenbus"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/drivers/budget"
)

// device is one frontend's device.
type device struct {
	b     *Backend
	fe    Frontend
	dir   string // ours
	front string // the frontend's, once it is known
	uuid  UUID
	at    Attachment

	follows bool // the frontend's state counts
	refused bool // there is no room for it

	machine   xenbus.Backend
	closed    bool // the frontend closed before the toolstack wanted it
	misled    bool // claims that cannot be understood were logged
	dirtyOwn  bool
	dirtyPeer bool
	timer     int64 // 0: not armed
	again     int64 // when to retry a failed request; 0: not
	unshown   xenbus.State

	tried ringNodes // of the last attempt to connect
	ring  *ring     // nil: not connected
	lines budget.Lines
}

// Delays without a field of their own.
const readRetry = int64(1e9)

func (d *device) now() int64 { return d.b.cfg.Channels.Now() }

func (d *device) deadline() int64 {
	if d.dirtyOwn || d.dirtyPeer && d.follows {
		return 0
	}
	at := d.linesDue()
	for _, t := range []int64{d.timer, d.again} {
		if t > 0 {
			at = min(at, t)
		}
	}
	return at
}

// poll looks at everything that may have changed.
func (d *device) poll(now int64) {
	d.lines.Report(d.b.cfg.Logf, now, d.who())
	if d.again > 0 && now >= d.again {
		d.again, d.dirtyOwn, d.dirtyPeer = 0, true, true
		d.show(d.unshown)
	}
	if d.dirtyOwn {
		d.dirtyOwn = false
		d.retry("our directory", d.readOwn())
	}
	if d.dirtyPeer && d.follows {
		d.dirtyPeer = false
		d.retry("the frontend's state", d.readPeer())
	}
	if d.timer > 0 && now >= d.timer {
		d.timer = 0
		d.apply(xenbus.BackEvent{Kind: xenbus.BackTimer})
	}
}

// listen takes note of an event, for the next look at the page.
func (d *device) listen() {
	if d.ring != nil && d.b.cfg.Channels.TestClear(d.ring.port) {
		d.ring.kicked = true
	}
}

// retry looks again later when a xenstore request failed.
func (d *device) retry(what string, err error) {
	if err != nil {
		d.logf("%s: %v", what, err)
		d.again = d.now() + readRetry
	}
}

// apply takes a step and does what it asks for, including the step that
// follows from the result of a connect.
func (d *device) apply(ev xenbus.BackEvent) {
	for more := true; more; {
		before := d.machine.Phase
		acts := d.machine.Step(ev)
		if before != d.machine.Phase {
			d.logf("%v -> %v (%v)", before, d.machine.Phase, ev.Kind)
		}
		more = false
		for _, a := range acts {
			if a.Kind == xenbus.Connect {
				ev, more = d.connect(), true
				continue
			}
			d.do(a)
		}
	}
}

func (d *device) do(a xenbus.Action) {
	switch a.Kind {
	case xenbus.SetState:
		d.show(a.State)
	case xenbus.SetTimer:
		d.timer = d.now() + d.delay(a.Timer)
	case xenbus.Disconnect:
		d.disconnect()
	case xenbus.Remove:
		if err := d.remove(); err != nil {
			d.logf("removing our directory: %v", err)
		}
	case xenbus.Forget:
		d.unfollow()
		d.b.forget(d)
		d.detach()
	}
}

func (d *device) delay(t xenbus.Timer) int64 {
	dl := d.b.cfg.Delays
	switch t {
	case xenbus.TimerInitWait:
		return int64(dl.InitWait)
	case xenbus.TimerClosed:
		return int64(dl.Closed)
	case xenbus.TimerGrace:
		return int64(dl.Grace)
	case xenbus.TimerRemove:
		return int64(dl.Remove)
	}
	return int64(dl.Retry)
}

// show writes our state. What could not be written is tried again later.
func (d *device) show(s xenbus.State) {
	d.unshown = xenbus.Unknown
	if s == xenbus.Unknown {
		return
	}
	err := xenbus.SwitchState(d.b.cfg.Store, d.dir, s)
	switch {
	case errors.Is(err, xenbus.ErrGone):
		d.dirtyOwn = true
	case err != nil:
		d.unshown = s
		d.retry("showing our state", err)
	}
}

// remove deletes our directory, unless the toolstack has made it anew.
func (d *device) remove() error {
	err := d.b.cfg.Store.Transaction(func(tx *xenstore.Tx) error {
		s, err := xenbus.ReadState(tx, d.dir)
		if err != nil {
			return err
		}
		if s == xenbus.Initialising {
			return errRevived
		}
		return tx.Rm(d.dir)
	})
	switch {
	case errors.Is(err, errRevived):
		d.b.rescan = true
	case errors.Is(err, xenbus.ErrGone), errors.Is(err, xenstore.ErrNotExist):
	default:
		return err
	}
	return nil
}

var errRevived = errors.New("the toolstack attached the device again")

// stop is Close for one device.
func (d *device) stop() {
	phase := d.machine.Phase
	d.disconnect()
	d.unfollow()
	if phase == xenbus.BackConnected || phase == xenbus.BackConnecting {
		d.show(xenbus.InitWait)
	}
}
