package evtchn

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/shm"
)

// Hypercaller is the raw hypercalls under a Table. Both return Xen's result:
// negative errno or success.
type Hypercaller interface {
	// EventChannelOp is HYPERVISOR_event_channel_op(cmd, arg).
	EventChannelOp(cmd uint32, arg *[abi.EvtchnBindInterdomainSize]byte) int
	// PollPorts is SCHEDOP_poll on at most abi.SchedPollMaxPorts ports; timeout
	// is absolute system time in ns, 0 for none.
	PollPorts(ports []Port, timeout uint64) int
	// SystemTime is Xen's system time in ns.
	SystemTime() int64
}

// manyPortsSlice bounds one sleep when there are more ports than a poll takes.
// Xen (all versions to 4.22) wakes a vCPU that polls two or more ports at any
// event of the domain, so the ports left out wake it too; only an event that
// arrives between our look and the hypercall can be missed, and this long.
const manyPortsSlice = int64(10e6)

// Table implements Channels on a domain's shared_info page.
type Table struct {
	hv     Hypercaller
	shared *shm.Page

	open  [abi.EvtchnWords]uint64 // ports of ours
	ports []Port                  // the same, in the order of opening
	start int                     // where in ports the next poll's window begins
}

var _ Channels = (*Table)(nil)

// New makes a Table over the mapped shared_info page and masks every port, so
// that no upcall is ever due. Ports that the toolstack made before (console,
// xenstore) are taken in with Adopt.
func New(hv Hypercaller, sharedInfo *shm.Page) *Table {
	for w := range abi.EvtchnWords {
		sharedInfo.Store64(abi.SharedInfoEvtchnMask+8*w, ^uint64(0))
	}
	return &Table{hv: hv, shared: sharedInfo}
}

// Adopt makes a port that exists already one of ours, pending, so that its
// owner looks at the ring once.
func (t *Table) Adopt(p Port) error {
	if p == 0 || p >= abi.EvtchnPorts {
		return fmt.Errorf("%w: %d cannot be adopted", ErrBadPort, p)
	}
	t.add(p)
	t.setPending(p)
	return nil
}

// AllocUnbound implements Channels.
func (t *Table) AllocUnbound(remote abi.DomID) (Port, error) {
	var arg [abi.EvtchnBindInterdomainSize]byte
	le := binary.LittleEndian
	le.PutUint16(arg[abi.EvtchnAllocUnboundDom:], uint16(abi.DOMID_SELF))
	le.PutUint16(arg[abi.EvtchnAllocUnboundRemoteDom:], uint16(remote))
	if err := abi.HypercallError(t.hv.EventChannelOp(abi.EVTCHNOP_alloc_unbound, &arg)); err != nil {
		return 0, fmt.Errorf("evtchn: allocating a port for domain %d: %w", remote, err)
	}
	return t.take(Port(le.Uint32(arg[abi.EvtchnAllocUnboundPort:])), false)
}

// BindInterdomain implements Channels.
func (t *Table) BindInterdomain(remote abi.DomID, remotePort Port) (Port, error) {
	var arg [abi.EvtchnBindInterdomainSize]byte
	le := binary.LittleEndian
	le.PutUint16(arg[abi.EvtchnBindInterdomainRemoteDom:], uint16(remote))
	le.PutUint32(arg[abi.EvtchnBindInterdomainRemotePort:], uint32(remotePort))
	if err := abi.HypercallError(t.hv.EventChannelOp(abi.EVTCHNOP_bind_interdomain, &arg)); err != nil {
		return 0, fmt.Errorf("evtchn: binding port %d of domain %d: %w", remotePort, remote, err)
	}
	return t.take(Port(le.Uint32(arg[abi.EvtchnBindInterdomainLocalPort:])), true)
}

// take registers a port that Xen has just given us. A pending bit left by an
// earlier user of the number is cleared, unless the port starts pending.
func (t *Table) take(p Port, pending bool) (Port, error) {
	if p == 0 || p >= abi.EvtchnPorts {
		t.close(p)
		return 0, fmt.Errorf("%w: Xen gave port %d, beyond the 2-level ABI", ErrBadPort, p)
	}
	if pending {
		t.setPending(p)
	} else {
		t.clear(p)
	}
	t.add(p)
	return p, nil
}

// Close implements Channels.
func (t *Table) Close(p Port) error {
	if !t.has(p) {
		return fmt.Errorf("%w: closing %d", ErrBadPort, p)
	}
	t.remove(p)
	err := t.close(p)
	t.clear(p)
	return err
}

func (t *Table) close(p Port) error {
	if err := t.portOp(abi.EVTCHNOP_close, p); err != nil {
		return fmt.Errorf("evtchn: closing port %d: %w", p, err)
	}
	return nil
}

// Notify implements Channels. A peer that has gone leaves the port unbound,
// and Xen drops what is sent there without complaint.
func (t *Table) Notify(p Port) error {
	if !t.has(p) {
		return fmt.Errorf("%w: notifying %d", ErrBadPort, p)
	}
	if err := t.portOp(abi.EVTCHNOP_send, p); err != nil {
		return fmt.Errorf("evtchn: notifying port %d: %w", p, err)
	}
	return nil
}

func (t *Table) portOp(cmd uint32, p Port) error {
	var arg [abi.EvtchnBindInterdomainSize]byte
	binary.LittleEndian.PutUint32(arg[:], uint32(p))
	return abi.HypercallError(t.hv.EventChannelOp(cmd, &arg))
}

// TestClear implements Channels.
func (t *Table) TestClear(p Port) bool { return t.has(p) && t.clear(p) }

// Rearm implements Channels.
func (t *Table) Rearm(p Port) {
	if t.has(p) {
		t.setPending(p)
	}
}

// Pending reports whether any port of ours is pending.
func (t *Table) Pending() bool {
	for w, open := range t.open {
		if open != 0 && t.shared.Load64(abi.SharedInfoEvtchnPending+8*w)&open != 0 {
			return true
		}
	}
	return false
}

// Ports returns the ports of ours. The slice is the Table's own, valid until
// the next call that opens or closes a port.
func (t *Table) Ports() []Port { return t.ports }

// Now implements Channels.
func (t *Table) Now() int64 { return t.hv.SystemTime() }

// Wait implements Channels. It may return early, but not with nothing pending
// for ever: callers loop.
func (t *Table) Wait(deadline int64) {
	for !t.Pending() {
		now := t.Now()
		if now >= deadline {
			return
		}
		ports, until := t.window(now, deadline)
		t.poll(ports, now, until)
	}
}

// poll sleeps until an event or the time until; returning early is met by the
// caller's loop. A poll that Xen refuses, which it should not, must not make that loop
// spin: one that names no port is never refused, and ends at any event.
func (t *Table) poll(ports []Port, now, until int64) {
	if t.hv.PollPorts(ports, timeout(until)) < 0 {
		t.hv.PollPorts(nil, timeout(min(until, now+manyPortsSlice)))
	}
}

// window picks the ports of the next poll and until when it may last.
func (t *Table) window(now, deadline int64) ([]Port, int64) {
	if len(t.ports) <= abi.SchedPollMaxPorts {
		return t.ports, deadline
	}
	if t.start+abi.SchedPollMaxPorts > len(t.ports) {
		t.start = 0
	}
	ports := t.ports[t.start : t.start+abi.SchedPollMaxPorts]
	t.start += abi.SchedPollMaxPorts
	return ports, min(deadline, now+manyPortsSlice)
}

// WaitPort implements Channels.
func (t *Table) WaitPort(p Port, deadline int64) {
	if !t.has(p) {
		return
	}
	w, bit := split(p)
	one := [1]Port{p}
	for t.shared.Load64(abi.SharedInfoEvtchnPending+8*w)&bit == 0 {
		now := t.Now()
		if now >= deadline {
			return
		}
		t.poll(one[:], now, deadline)
	}
}

// timeout is a deadline, which is later than now and so positive, as
// SCHEDOP_poll takes it, where 0 means none.
func timeout(deadline int64) uint64 {
	if deadline == Forever {
		return 0
	}
	return uint64(deadline)
}

func split(p Port) (word int, bit uint64) { return int(p / 64), 1 << (p % 64) }

func (t *Table) has(p Port) bool {
	if p >= abi.EvtchnPorts {
		return false
	}
	w, bit := split(p)
	return t.open[w]&bit != 0
}

func (t *Table) add(p Port) {
	if t.has(p) {
		return
	}
	w, bit := split(p)
	t.open[w] |= bit
	t.ports = append(t.ports, p)
}

func (t *Table) remove(p Port) {
	w, bit := split(p)
	t.open[w] &^= bit
	for i, q := range t.ports {
		if q == p {
			t.ports = append(t.ports[:i], t.ports[i+1:]...)
			break
		}
	}
}

func (t *Table) clear(p Port) bool {
	w, bit := split(p)
	return t.shared.And64(abi.SharedInfoEvtchnPending+8*w, ^bit)&bit != 0
}

func (t *Table) setPending(p Port) {
	w, bit := split(p)
	t.shared.Or64(abi.SharedInfoEvtchnPending+8*w, bit)
}

// Len is the number of open ports.
func (t *Table) Len() int {
	n := 0
	for _, w := range t.open {
		n += bits.OnesCount64(w)
	}
	return n
}
