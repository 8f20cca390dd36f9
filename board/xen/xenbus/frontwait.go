package xenbus

import (
	"time"

	"xenvtpm/board/xen/evtchn"
)

// Channels is what a FrontDevice needs of evtchn.Channels.
type Channels interface {
	Now() int64
	Wait(deadline int64)
	TestClear(evtchn.Port) bool
}

// idleSlice bounds one sleep when there is an Idle: what it serves has time
// limits of its own.
const idleSlice = int64(50 * time.Millisecond)

// listen takes note of an event at our port. One that were left pending would
// keep every wait of the domain, also those for others, from sleeping.
func (d *FrontDevice) listen() {
	if p := d.cfg.Driver.Port(); p != 0 && d.cfg.Channels.TestClear(p) {
		d.rang, d.called = true, true
	}
}

// Look forgets the events so far. The driver calls it before each look at its
// pages; after it would lose events.
func (d *FrontDevice) Look() {
	d.listen()
	d.rang = false
}

// Wait is one turn of a driver's waiting: it dispatches watch events, polls,
// runs Idle, and blocks until an event or the deadline. It does not block when
// our port has had an event since the last Look.
func (d *FrontDevice) Wait(deadline int64) {
	if err := d.cfg.Store.Dispatch(); err != nil {
		// xenstore is lost for good, but the rings still work.
		deadline = min(deadline, d.cfg.Channels.Now()+int64(100*time.Millisecond))
	}
	d.Poll()
	if d.cfg.Idle != nil {
		d.cfg.Idle()
		deadline = min(deadline, d.cfg.Channels.Now()+idleSlice)
	}
	if d.rang || d.dirtyOwn || d.dirtyOther || d.cfg.Store.Pending() {
		return
	}
	d.cfg.Channels.Wait(min(deadline, d.Deadline()))
}

// Await waits until up holds, and gives up when the device has failed or at the
// deadline. What has happened before the call is looked at first.
func (d *FrontDevice) Await(deadline int64, up func() bool) bool {
	// A lost xenstore is the main loop's business; the ring works without it.
	_ = d.cfg.Store.Dispatch()
	d.Poll()
	for !up() {
		if d.fe.Phase == FrontFailed || d.cfg.Channels.Now() >= deadline {
			return false
		}
		d.Look()
		d.Wait(deadline)
	}
	return true
}

// Close tells the backend that we go, waits for it to let go, within CloseWait
// for each of two steps, and releases everything.
func (d *FrontDevice) Close() {
	d.apply(FrontEvent{Kind: FrontClose})
	deadline := d.cfg.Channels.Now() + 3*int64(d.cfg.CloseWait)
	for d.fe.Phase != FrontFinished && d.cfg.Channels.Now() < deadline {
		d.Look()
		d.Wait(deadline)
	}
	d.Release()
}

// Release ends the watches and disconnects. The device is of no use afterwards.
func (d *FrontDevice) Release() {
	d.fe.Phase = FrontFinished
	d.leave()
	if err := d.own.Close(); err != nil {
		d.cfg.Logf("xenbus: %s: %v", d.cfg.Class, err)
	}
	d.cfg.Driver.Disconnect()
}
