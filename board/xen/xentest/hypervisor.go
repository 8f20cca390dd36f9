// Package xentest is a fake Xen for tests: any number of domains in one
// process, with event channels, grant tables and xenstore that behave as the
// real ones do where drivers can tell, a block backend, and somebody who plays
// libxl.
//
// The domains run the project's real bookkeeping (evtchn.Table, gnttab.Table,
// xenstore.Client over its ring); only the hypercalls end here. Each domain is
// used from one goroutine at a time; several domains may share one.
//
// Faithful where it matters: a bind marks the local port pending, a send to an
// unbound port is dropped, 4096 ports, 128 in one poll; version 1 grant entries
// with Xen's status bits, a page that is still mapped keeps its destroyed owner
// as a zombie; xenstore permissions, quotas, transactions that conflict,
// watches with their first event. Deliberately missing: several vCPUs, virtual
// interrupts, grant copy, everything about memory but pages.
package xentest

import (
	"math"
	"runtime"
	"sync"
	"testing"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/shm"
	"xenvtpm/board/xen/xenstore"
)

// A Hypervisor is one fake host. Its test's goroutine is a participant of its
// clock, see Go.
type Hypervisor struct {
	tb testing.TB
	mu sync.Mutex

	// StoreFault, if set, sees every xenstore request of a domain and may
	// answer in the server's place; nil means no fault. Set it while no domain
	// runs, or with Locked. It runs with the lock held.
	StoreFault func(dom abi.DomID, req xenstore.Packet) *StoreFault

	now      int64
	running  int
	others   int // participants started with Go
	external int
	waiters  map[*waiter]bool
	timers   []timer

	domains map[abi.DomID]*Domain
	gone    []*Domain // destroyed; zombies while somebody maps their pages
	store   *store
	blk     []*blkback
}

// New makes a host with domain 0 in it.
func New(tb testing.TB) *Hypervisor {
	h := &Hypervisor{
		tb: tb, now: 1e9, running: 1,
		waiters: make(map[*waiter]bool),
		domains: make(map[abi.DomID]*Domain),
	}
	h.store = newStore(h)
	h.NewDomain(0)
	return h
}

// Locked runs f while nothing else happens in this world.
func (h *Hypervisor) Locked(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.changed()
}

// A Domain is one guest. The exported fields are what its code uses.
type Domain struct {
	ID       abi.DomID
	Channels *evtchn.Table
	Grants   *gnttab.Table
	Store    *xenstore.Client

	// Pages of the domain, for tests that want to look or to be hostile.
	SharedInfo, StorePage *shm.Page
	StorePort             evtchn.Port

	h       *Hypervisor
	dead    bool
	paused  bool // for ever: about to be destroyed
	threads int  // started with Run, not yet ended

	ports map[evtchn.Port]*channel
	memory
	grantTable
	conn *storeConn
}

// NewDomain creates a domain and its /local/domain nodes, as libxl does.
func (h *Hypervisor) NewDomain(id abi.DomID) *Domain {
	d := &Domain{
		ID: id, h: h, SharedInfo: shm.New(), StorePage: shm.New(),
		ports:  make(map[evtchn.Port]*channel),
		memory: newMemory(),
	}
	h.mu.Lock()
	if h.domains[id] != nil {
		h.mu.Unlock()
		h.tb.Fatalf("xentest: domain %d exists", id)
	}
	h.domains[id] = d
	d.conn = newStoreConn(h.store, d)
	d.StorePort = d.freePort()
	d.ports[d.StorePort] = &channel{service: d.conn.service}
	h.store.introduce(id)
	h.mu.Unlock()

	d.Channels = evtchn.New(hypercalls{d}, d.SharedInfo)
	if err := d.Channels.Adopt(d.StorePort); err != nil {
		h.tb.Fatalf("xentest: %v", err)
	}
	var err error
	if d.Grants, err = gnttab.New(hypercalls{d}, guestMemory{d}); err != nil {
		h.tb.Fatalf("xentest: %v", err)
	}
	d.Store = xenstore.New(xenstore.Config{
		Transport: xenstore.NewRing(d.StorePage, d.Channels, d.StorePort),
		Logf:      h.tb.Logf,
	})
	return d
}

// Domain finds a living domain.
func (h *Hypervisor) Domain(id abi.DomID) *Domain {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.domains[id]
}

// Run runs f as the domain's only thread. Whoever destroys the domain waits
// until f has ended, which it does at its next hypercall.
func (d *Domain) Run(f func()) {
	d.h.mu.Lock()
	d.threads++
	d.h.mu.Unlock()
	d.h.Go(func() {
		defer func() {
			d.h.mu.Lock()
			d.threads--
			d.h.mu.Unlock()
		}()
		f()
	})
}

// Dead reports whether the domain was destroyed.
func (d *Domain) Dead() bool {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	return d.dead
}

// enter begins a hypercall; the caller has deferred leave. A destroyed domain
// does not come back from it, or, where a test drives it by hand, gets an error.
func (d *Domain) enter() bool {
	d.h.mu.Lock()
	d.stopIfPaused()
	return !d.dead
}

func (d *Domain) leave() { d.h.mu.Unlock() }

// stopIfPaused ends the domain's thread if the domain has come to its end. The
// lock is held; the hypercall's deferred leave unlocks.
func (d *Domain) stopIfPaused() {
	if d.paused && d.threads > 0 {
		runtime.Goexit()
	}
}

// pause stops the domain's thread, for good, and waits until it has stopped:
// what is destroyed has done nothing more, and never will.
func (h *Hypervisor) pause(d *Domain) {
	d.paused = true
	if d.threads == 0 {
		return
	}
	for w := range h.waiters {
		if w.domain == d {
			h.release(w)
		}
	}
	h.waitCond("the end of a destroyed domain", math.MaxInt64, func() bool { return d.threads == 0 })
}

// Destroy kills a domain at once, as xc_domain_destroy does: ports close, its
// mappings of others' pages end, xenstored forgets it and @releaseDomain fires.
// Its xenstore nodes stay; removing them is libxl's business.
func (h *Hypervisor) Destroy(d *Domain) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pause(d)
	if d.dead {
		return // before, or by somebody else meanwhile
	}
	d.dead = true
	delete(h.domains, d.ID)
	for p := range d.ports {
		d.closePort(p)
	}
	for handle := range d.maps {
		d.unmap(handle)
	}
	h.gone = append(h.gone, d)
	d.conn.close()
	for w := range h.waiters {
		if w.domain == d {
			h.release(w)
		}
	}
	h.store.fireSpecial("@releaseDomain")
	h.storeChanged()
}

// storeChanged lets the host's own backends and whoever waits look again.
func (h *Hypervisor) storeChanged() {
	for _, b := range h.blk {
		b.step()
	}
	h.changed()
}

// Zombies lists destroyed domains that cannot go because others still map
// pages of theirs. A driver that leaves one behind has a bug.
func (h *Hypervisor) Zombies() []abi.DomID {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []abi.DomID
	for _, d := range h.gone {
		if len(d.pins) > 0 {
			list = append(list, d.ID)
		}
	}
	return list
}
