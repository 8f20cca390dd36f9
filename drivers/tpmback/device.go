package tpmback

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/xenbus"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/drivers/tpmif"
)

// device is one frontend's device.
type device struct {
	b     *Backend
	fe    Frontend
	dir   string // ours
	front string // the frontend's, once it is known
	uuid  UUID
	watch *xenstore.Watch // of the frontend's state

	machine   xenbus.Backend
	dirtyOwn  bool
	dirtyPeer bool
	timer     int64 // 0: not armed
	again     int64 // when to retry a failed request; 0: not
	unshown   xenbus.State

	tried ringNodes // of the last attempt to connect
	ring  *ring     // nil: not connected
}

// ringNodes is what a frontend publishes.
type ringNodes struct {
	set  bool
	ref  uint32
	port uint32
}

// Delays without a field of their own.
const readRetry = int64(1e9)

func (d *device) logf(format string, args ...any) {
	d.b.cfg.Logf("tpmback: frontend %v: %s", d.fe, fmt.Sprintf(format, args...))
}

func (d *device) now() int64 { return d.b.cfg.Channels.Now() }

func (d *device) deadline() int64 {
	if d.dirtyOwn || d.dirtyPeer && d.watch != nil {
		return 0
	}
	at := evtchn.Forever
	for _, t := range []int64{d.timer, d.again} {
		if t > 0 {
			at = min(at, t)
		}
	}
	return at
}

// poll looks at everything that may have changed.
func (d *device) poll(now int64) {
	if d.again > 0 && now >= d.again {
		d.again, d.dirtyOwn, d.dirtyPeer = 0, true, true
		d.show(d.unshown)
	}
	if d.ring != nil && d.b.cfg.Channels.TestClear(d.ring.port) {
		d.ring.kicked = true
	}
	if d.dirtyOwn {
		d.dirtyOwn = false
		d.retry("our directory", d.readOwn())
	}
	if d.dirtyPeer && d.watch != nil {
		d.dirtyPeer = false
		d.retry("the frontend's state", d.readPeer())
	}
	if d.timer > 0 && now >= d.timer {
		d.timer = 0
		d.apply(xenbus.BackEvent{Kind: xenbus.BackTimer})
	}
}

// retry looks again later when a xenstore request failed.
func (d *device) retry(what string, err error) {
	if err != nil {
		d.logf("%s: %v", what, err)
		d.again = d.now() + readRetry
	}
}

// readOwn looks at what the toolstack has written.
func (d *device) readOwn() error {
	store := d.b.cfg.Store
	state, err := xenbus.ReadState(store, d.dir)
	if errors.Is(err, xenbus.ErrGone) {
		d.apply(xenbus.BackEvent{Kind: xenbus.BackDirGone})
		return nil
	}
	if err != nil {
		return err
	}
	online, err := store.Read(d.dir + "/online")
	switch {
	case err != nil && !errors.Is(err, xenstore.ErrNotExist):
		return err
	case online == "0":
		d.apply(xenbus.BackEvent{Kind: xenbus.BackOffline})
	case d.machine.Phase == xenbus.BackNew:
		return d.start()
	case state == xenbus.Initialising:
		// Made anew in the same place, before we had noticed the removal.
		d.unwatch()
		if err := d.identify(); err != nil {
			return err
		}
		d.apply(xenbus.BackEvent{Kind: xenbus.BackReset})
		d.dirtyPeer = true
	}
	return nil
}

// start takes a new device in.
func (d *device) start() error {
	if err := d.identify(); err != nil {
		return err
	}
	d.apply(xenbus.BackEvent{Kind: xenbus.BackStart})
	d.dirtyPeer = true
	return nil
}

// identify reads who the frontend is and what it is called, says that we speak
// protocol 2, and follows the frontend's state from now on.
func (d *device) identify() error {
	store := d.b.cfg.Store
	id, err := xenbus.ReadDomID(store, d.dir+"/frontend-id")
	if err != nil {
		return err
	}
	front, err := store.Read(d.dir + "/frontend")
	if err != nil {
		return err
	}
	home := fmt.Sprintf("/local/domain/%d/", d.fe.Domain)
	if id != d.fe.Domain || !strings.HasPrefix(front, home) || xenstore.CheckPath(front) != nil {
		return fmt.Errorf("%w: frontend %.80q, frontend-id %d", xenbus.ErrBadNode, front, id)
	}
	text, err := store.Read(d.dir + "/uuid")
	if err != nil {
		return err
	}
	if d.uuid, err = ParseUUID(text); err != nil {
		return err
	}
	err = store.Transaction(func(tx *xenstore.Tx) error {
		if _, err := xenbus.ReadState(tx, d.dir); err != nil {
			return err
		}
		return tx.Write(d.dir+"/"+tpmif.NodeProtocol2, "1")
	})
	if err != nil {
		return err
	}
	d.front = front
	d.watch, err = store.Watch(front+"/state", func(string) { d.dirtyPeer = true })
	return err
}

// ParseUUID reads a uuid in the usual form of 36 characters.
func ParseUUID(text string) (UUID, error) {
	var u UUID
	bad := fmt.Errorf("%w: uuid %.40q", xenbus.ErrBadNode, text)
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return u, bad
	}
	digits := text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	if _, err := hex.Decode(u[:], []byte(digits)); err != nil {
		return UUID{}, bad
	}
	return u, nil
}

func (d *device) unwatch() {
	if d.watch == nil {
		return
	}
	if err := d.watch.Close(); err != nil {
		d.logf("%v", err)
	}
	d.watch, d.dirtyPeer = nil, false
}

// readPeer looks at the frontend's state, and at its ring when it has one.
func (d *device) readPeer() error {
	s, err := xenbus.ReadState(d.b.cfg.Store, d.front)
	if errors.Is(err, xenbus.ErrGone) {
		d.apply(xenbus.BackEvent{Kind: xenbus.BackFrontendGone})
		return nil
	}
	if err != nil {
		return err
	}
	ev := xenbus.BackEvent{Kind: xenbus.BackFrontend, Frontend: s}
	if s == xenbus.Initialised || s == xenbus.Connected {
		nodes, err := d.readRing()
		ev.NewRing = err != nil && !d.tried.set || err == nil && nodes != d.tried
	}
	d.apply(ev)
	return nil
}

// readRing reads what the frontend has published. An error is the frontend's
// fault, or xenstore's; both are tried again.
func (d *device) readRing() (ringNodes, error) {
	store := d.b.cfg.Store
	ref, err := xenbus.ReadUint(store, d.front+"/"+tpmif.NodeRingRef, 1<<32-1)
	if err != nil {
		return ringNodes{}, err
	}
	port, err := xenbus.ReadUint(store, d.front+"/"+tpmif.NodeEventChannel, 1<<32-1)
	if err != nil {
		return ringNodes{}, err
	}
	return ringNodes{true, uint32(ref), uint32(port)}, nil
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
		d.unwatch()
		d.b.forget(d)
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
	d.unwatch()
	if phase == xenbus.BackConnected || phase == xenbus.BackConnecting {
		d.show(xenbus.InitWait)
	}
}
