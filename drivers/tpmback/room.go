package tpmback

import (
	"errors"
	"fmt"
	"strings"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xenbus"
	"xenvtpm/board/xen/xenstore"
)

// xenstored lets an unprivileged domain own quotaNodes nodes, unless it is told
// otherwise, and the toolstack makes a device's backend directory ours. Its own
// nodes it makes without asking for the limit; ours are refused beyond it.
const (
	quotaNodes = 1000
	// nodesPerDevice is what a device that is served owns: the directory,
	// frontend, online, state and uuid, and feature-protocol-v2.
	nodesPerDevice = 6
)

// spareNodes are those that libxl writes in a backend's directory for a backend
// of vTPMs and that nobody reads: it keeps copies of its own in /libxl.
var spareNodes = []string{"frontend-id", "handle", "resume"}

// domainsDir has all domains' directories. One watch there hears of every
// frontend's state, as xenstored tells us of nodes only that we may read.
const domainsDir = "/local/domain"

// errLimit is why a device over MaxFrontends is refused.
var errLimit = errors.New("the program's limit is reached")

// noRoom reports whether a device cannot be taken in for want of room, in
// xenstore or here.
func noRoom(err error) bool {
	return errors.Is(err, errLimit) || errors.Is(err, abi.ENOSPC) || errors.Is(err, abi.EDQUOT)
}

// refusedAgain is when a refused device is looked at again: xenstored's limit may
// have been raised.
const refusedAgain = int64(20e9)

// peerChanged is the callback of the watch for frontends' states. It only notes
// what to look at.
func (b *Backend) peerChanged(path string) {
	for _, d := range b.order {
		if state := d.front + "/state"; path == state || strings.HasPrefix(state, path+"/") {
			d.dirtyPeer = true
		}
	}
}

// admit refuses a device that is one too many for us.
func (d *device) admit() error {
	if d.b.Len() > d.b.cfg.MaxFrontends || d.refused && d.b.Len() == d.b.cfg.MaxFrontends {
		return fmt.Errorf("%w: %d devices", errLimit, d.b.cfg.MaxFrontends)
	}
	return nil
}

// refuse leaves a device alone until there is room for it.
func (d *device) refuse(why error) {
	if !d.refused {
		d.refused = true
		d.logf("REFUSED, there is no room beside %d others: %v (docs/operations.md, \"How many vTPMs\")", d.b.Len(), why)
	}
	d.again = d.now() + refusedAgain
	d.apply(xenbus.BackEvent{Kind: xenbus.BackRefuse})
}

// askAgain looks at the refused devices again, soon.
func (b *Backend) askAgain() {
	for _, d := range b.order {
		d.dirtyOwn = d.dirtyOwn || d.refused
	}
}

// Room is how many devices there can be.
type Room struct {
	Devices int // with xenstored's default limit
	Nodes   int // that this domain owns, devices aside
}

func (r Room) String() string {
	return fmt.Sprintf("xenstored's default of %d nodes for a domain has room for %d vTPM devices (%d nodes are in use, a device takes %d)",
		quotaNodes, r.Devices, r.Nodes, nodesPerDevice)
}

// Room counts the nodes that this domain owns and what they leave.
func (b *Backend) Room() (Room, error) {
	id, err := xenbus.ReadDomID(b.cfg.Store, "domid")
	if err != nil {
		return Room{}, err
	}
	home := fmt.Sprintf("%s/%d", domainsDir, id)
	n, err := owned(b.cfg.Store, home, home+"/"+b.cfg.Dir, id)
	if err != nil {
		return Room{}, err
	}
	return Room{Devices: min((quotaNodes-n)/nodesPerDevice, b.cfg.MaxFrontends), Nodes: n}, nil
}

// owned counts the nodes of domain id from dir on, those below except aside.
// What vanishes meanwhile, or is not ours to read, does not count.
func owned(c *xenstore.Client, dir, except string, id abi.DomID) (int, error) {
	n := 0
	perms, err := c.GetPerms(dir)
	if err == nil && len(perms) > 0 && perms[0].Dom == id {
		n++
	}
	var names []string
	if err == nil && dir != except {
		names, err = c.Directory(dir)
	}
	if errors.Is(err, xenstore.ErrNotExist) || errors.Is(err, xenstore.ErrPermission) {
		return n, nil
	}
	for _, name := range names {
		if err != nil {
			return n, err
		}
		var more int
		more, err = owned(c, dir+"/"+name, except, id)
		n += more
	}
	return n, err
}
