package xentest

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
)

// channel is one port of a domain: unbound (peer nil), bound to a peer's port,
// or to a service of the fake host.
type channel struct {
	remote  abi.DomID // who may bind, while unbound
	peer    *Domain
	port    evtchn.Port // at the peer
	service func()      // gets what is sent here; runs with the lock held
	handler func()      // gets what arrives here, instead of a pending bit
}

// hypercalls are a domain's, as evtchn.Hypercaller and gnttab.Hypercaller.
type hypercalls struct{ d *Domain }

var _ evtchn.Hypercaller = hypercalls{}

// SystemTime is no hypercall in truth, but a loop that only looks at the clock
// must end with its domain, too.
func (hc hypercalls) SystemTime() int64 {
	d := hc.d
	defer d.leave()
	d.enter()
	d.h.advance(costNow)
	return d.h.now
}

func (hc hypercalls) EventChannelOp(cmd uint32, arg *[abi.EvtchnBindInterdomainSize]byte) int {
	d := hc.d
	defer d.leave()
	if !d.enter() {
		return -int(abi.ESRCH)
	}
	le := binary.LittleEndian
	switch cmd {
	case abi.EVTCHNOP_alloc_unbound:
		if abi.DomID(le.Uint16(arg[abi.EvtchnAllocUnboundDom:])) != abi.DOMID_SELF {
			return -int(abi.EPERM)
		}
		p := d.freePort()
		if p == 0 {
			return -int(abi.ENOSPC)
		}
		d.ports[p] = &channel{remote: abi.DomID(le.Uint16(arg[abi.EvtchnAllocUnboundRemoteDom:]))}
		le.PutUint32(arg[abi.EvtchnAllocUnboundPort:], uint32(p))
		return 0
	case abi.EVTCHNOP_bind_interdomain:
		p, rc := d.bind(abi.DomID(le.Uint16(arg[abi.EvtchnBindInterdomainRemoteDom:])),
			evtchn.Port(le.Uint32(arg[abi.EvtchnBindInterdomainRemotePort:])))
		le.PutUint32(arg[abi.EvtchnBindInterdomainLocalPort:], uint32(p))
		return rc
	}
	port := evtchn.Port(le.Uint32(arg[:]))
	if d.ports[port] == nil {
		return -int(abi.EINVAL)
	}
	switch cmd {
	case abi.EVTCHNOP_close:
		d.closePort(port)
	case abi.EVTCHNOP_send:
		d.send(port)
	default:
		return -int(abi.ENOSYS)
	}
	return 0
}

func (d *Domain) freePort() evtchn.Port {
	for p := evtchn.Port(1); p < abi.EvtchnPorts; p++ {
		if d.ports[p] == nil {
			return p
		}
	}
	return 0
}

func (d *Domain) bind(remote abi.DomID, remotePort evtchn.Port) (evtchn.Port, int) {
	r := d.h.domains[remote]
	if r == nil {
		return 0, -int(abi.ESRCH)
	}
	rc := r.ports[remotePort]
	if rc == nil || rc.peer != nil || rc.service != nil || rc.remote != d.ID {
		return 0, -int(abi.EINVAL)
	}
	p := d.freePort()
	if p == 0 {
		return 0, -int(abi.ENOSPC)
	}
	d.ports[p] = &channel{peer: r, port: remotePort}
	rc.peer, rc.port = d, p
	d.setPending(p) // an event sent before the bind must not be lost
	return p, 0
}

// closePort frees a port; the other end becomes unbound, and is not told.
func (d *Domain) closePort(p evtchn.Port) {
	c := d.ports[p]
	delete(d.ports, p)
	if c.peer == nil {
		return
	}
	if other := c.peer.ports[c.port]; other != nil && other.peer == d && other.port == p {
		other.peer, other.port, other.remote = nil, 0, d.ID
	}
}

func (d *Domain) send(p evtchn.Port) {
	switch c := d.ports[p]; {
	case c.service != nil:
		c.service()
	case c.peer != nil:
		if other := c.peer.ports[c.port]; other != nil && other.handler != nil {
			other.handler()
		} else {
			c.peer.setPending(c.port)
		}
	}
}

// setPending marks a port of d and wakes a poll that it concerns. Xen wakes a
// poll of several ports at any event of the domain.
func (d *Domain) setPending(p evtchn.Port) {
	d.SharedInfo.Or64(abi.SharedInfoEvtchnPending+8*int(p/64), 1<<(p%64))
	for w := range d.h.waiters {
		if w.domain == d && (len(w.ports) > 1 || w.ports[uint32(p)]) {
			d.h.release(w)
		}
	}
}

func (d *Domain) isPending(p evtchn.Port) bool {
	return d.SharedInfo.Load64(abi.SharedInfoEvtchnPending+8*int(p/64))&(1<<(p%64)) != 0
}

// PollPorts is SCHEDOP_poll.
func (hc hypercalls) PollPorts(ports []evtchn.Port, timeout uint64) int {
	d := hc.d
	defer d.leave()
	alive := d.enter()
	h := d.h
	h.advance(costPoll)
	if !alive {
		if timeout == 0 {
			runtime.Goexit() // nothing would ever end this wait
		}
		h.advance(max(int64(timeout)-h.now, 0))
		return -int(abi.ESRCH)
	}
	if len(ports) > abi.SchedPollMaxPorts {
		return -int(abi.EINVAL)
	}
	w := &waiter{
		what:   fmt.Sprintf("domain %d polls %d ports", d.ID, len(ports)),
		domain: d, deadline: math.MaxInt64, ports: make(map[uint32]bool),
	}
	if timeout != 0 {
		w.deadline = int64(timeout)
	}
	for _, p := range ports {
		if p >= abi.EvtchnPorts || d.ports[p] == nil {
			return -int(abi.EINVAL)
		}
		if d.isPending(p) {
			return 0
		}
		w.ports[uint32(p)] = true
	}
	if w.deadline <= h.now {
		return 0
	}
	h.wait(w)
	d.stopIfPaused()
	return 0
}

// Fire marks a port of d pending without anybody having sent anything: a
// spurious event.
func (d *Domain) Fire(p evtchn.Port) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	d.setPending(p)
}

// OpenPorts is the number of ports that the domain has open, xenstore's not
// counted. A driver that leaks one has a bug.
func (d *Domain) OpenPorts() int {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	return len(d.ports) - 1
}
