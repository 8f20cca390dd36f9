package tpmback

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/xenbus"
	"xenvtpm/board/xen/xenstore"
)

// Backend serves all frontends of this domain. One goroutine uses it at a time.
type Backend struct {
	cfg     Config
	watches []*xenstore.Watch
	devices map[Frontend]*device
	order   []*device // round-robin, order of attachment
	next    int       // in order: who is asked first

	attachments uint64          // so far
	named       map[UUID]uint64 // the last attachment with a UUID
	unnamed     uint64          // for those that were forgotten; 0: none were

	rescan  bool
	again   int64 // when to rescan after a failed request; 0: not
	polling bool
	closed  bool
}

// New registers the watches, for our own directory and for the frontends'. Poll
// does the rest.
func New(cfg Config) (*Backend, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	b := &Backend{cfg: cfg, devices: make(map[Frontend]*device), named: make(map[UUID]uint64), rescan: true}
	for path, f := range map[string]func(string){cfg.Dir: b.changed, domainsDir: b.peerChanged} {
		w, err := cfg.Store.Watch(path, f)
		if err != nil {
			return nil, fmt.Errorf("tpmback: watching %s: %w", path, err)
		}
		b.watches = append(b.watches, w)
	}
	return b, nil
}

// changed is the callback of our own directory's watch. It only notes what to look at.
func (b *Backend) changed(path string) {
	rest, ok := strings.CutPrefix(path, b.cfg.Dir+"/")
	if !ok {
		b.rescan = true
		return
	}
	if dom, rest, ok := strings.Cut(rest, "/"); ok {
		handle, _, _ := strings.Cut(rest, "/")
		if fe, err := parseFrontend(dom, handle); err == nil {
			if d := b.devices[fe]; d != nil {
				d.dirtyOwn = true
				return
			}
		}
	}
	b.rescan = true
}

func parseFrontend(dom, handle string) (Frontend, error) {
	id, err := xenbus.ParseUint(dom, uint64(abi.DOMID_FIRST_RESERVED)-1)
	if err != nil {
		return Frontend{}, err
	}
	h, err := xenbus.ParseUint(handle, 1<<32-1)
	return Frontend{abi.DomID(id), uint32(h)}, err
}

// Poll handles what has changed: new and vanishing devices, frontends' states,
// events, time. It blocks for xenstore requests only. A Poll inside a Poll
// (through the Idle of such a request) only takes note of events. Watch events
// must have been dispatched before.
func (b *Backend) Poll() {
	if b.closed {
		return
	}
	// First of all, and always: a port that stays pending keeps every Wait from
	// blocking, and the domain would spin until xenstore has answered.
	for _, d := range b.order {
		d.listen()
	}
	if b.polling {
		return
	}
	b.polling = true
	defer func() { b.polling = false }()
	now := b.cfg.Channels.Now()
	if b.rescan || b.again > 0 && now >= b.again {
		b.scan()
	}
	for _, d := range slices.Clone(b.order) {
		d.poll(now)
	}
}

// Deadline is when Poll has something to do without an event.
func (b *Backend) Deadline() int64 {
	if b.rescan {
		return 0
	}
	at := evtchn.Forever
	if b.again > 0 {
		at = b.again
	}
	for _, d := range b.order {
		at = min(at, d.deadline())
	}
	return at
}

// scan compares the directory with what we know.
func (b *Backend) scan() {
	b.rescan, b.again = false, 0
	found, err := b.list()
	if err != nil {
		b.cfg.Logf("tpmback: looking for devices: %v", err)
		b.again = b.cfg.Channels.Now() + int64(b.cfg.Delays.Retry)
		return
	}
	for _, fe := range found {
		if b.devices[fe] == nil {
			b.add(fe)
		}
	}
	for _, d := range b.order {
		if !slices.Contains(found, d.fe) {
			d.dirtyOwn = true
		}
	}
}

// list reads which devices the toolstack has made. Names that are not numbers
// are not devices.
func (b *Backend) list() ([]Frontend, error) {
	var found []Frontend
	doms, err := b.cfg.Store.Directory(b.cfg.Dir)
	if errors.Is(err, xenstore.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, dom := range doms {
		handles, err := b.cfg.Store.Directory(b.cfg.Dir + "/" + dom)
		if errors.Is(err, xenstore.ErrNotExist) || errors.Is(err, xenstore.ErrPermission) {
			continue // going, or not meant for us
		}
		if err != nil {
			return nil, err
		}
		for _, h := range handles {
			if fe, err := parseFrontend(dom, h); err == nil {
				found = append(found, fe)
			}
		}
	}
	return found, nil
}

func (b *Backend) add(fe Frontend) {
	d := &device{b: b, fe: fe, dir: fmt.Sprintf("%s/%d/%d", b.cfg.Dir, fe.Domain, fe.Handle), dirtyOwn: true}
	b.attach(d)
	b.devices[fe] = d
	b.order = append(b.order, d)
}

func (b *Backend) forget(d *device) {
	delete(b.devices, d.fe)
	if i := slices.Index(b.order, d); i >= 0 {
		b.order = slices.Delete(b.order, i, i+1)
		if b.next > i {
			b.next--
		}
	}
	b.askAgain() // there is room for one more
}

// Len is the number of devices that are known and not refused, connected or not.
func (b *Backend) Len() int {
	n := 0
	for _, d := range b.order {
		if !d.refused {
			n++
		}
	}
	return n
}

// Next returns a request that waits, or nil. Frontends take turns. The caller
// answers every request, at any time and in any order; until then its frontend
// has no other.
func (b *Backend) Next() *Request {
	for range b.order {
		if b.next >= len(b.order) {
			b.next = 0
		}
		d := b.order[b.next]
		b.next++
		if req := d.take(); req != nil {
			return req
		}
	}
	return nil
}

// Close disconnects all frontends. It shows them InitWait: a backend that comes
// back takes them up again, whereas Closing or Closed would make a Linux guest
// drop its TPM for good.
func (b *Backend) Close() {
	if b.closed {
		return
	}
	b.closed = true
	for _, d := range b.order {
		d.stop()
	}
	for _, w := range b.watches {
		if err := w.Close(); err != nil {
			b.cfg.Logf("tpmback: %v", err)
		}
	}
}
