//go:build tamago

package xenpvh

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/hypercall"
	"xenvtpm/board/xen/shm"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/boot/pvh"
	"xenvtpm/boot/startinfo"
)

// Platform is what a program on Xen has to work with. One goroutine uses it at
// a time.
type Platform struct {
	Channels evtchn.Channels
	Grants   gnttab.Grants
	Store    *xenstore.Client
	Domain   abi.DomID         // our own
	Start    *startinfo.Info   // as Xen gave it, command line included
	Options  startinfo.Options // the command line, split

	heapLimit int64
}

// New sets the platform up. There is one; a program calls New once.
func New() (*Platform, error) {
	p := new(Platform)
	var err error
	if p.Start, err = startinfo.Parse(pvh.ReadStart, pvh.StartAddr()); err != nil {
		return nil, err
	}
	if p.Options, err = startinfo.ParseCmdline(p.Start.Cmdline); err != nil {
		return nil, err
	}
	p.limitHeap()
	channels := evtchn.New(hypervisor{}, shm.At(sharedInfoAddr))
	p.Channels = channels
	if p.Grants, err = gnttab.New(hypervisor{}, newMemory()); err != nil {
		return nil, err
	}
	if p.Store, err = openStore(channels); err != nil {
		return nil, err
	}
	if p.Domain, err = domainID(p.Store); err != nil {
		return nil, err
	}
	return p, nil
}

// openStore connects to xenstore through the page and port that the toolstack
// has prepared.
func openStore(channels *evtchn.Table) (*xenstore.Client, error) {
	page, rc := hypercall.HVMParam(abi.HVM_PARAM_STORE_PFN)
	if err := abi.HypercallError(rc); err != nil {
		return nil, fmt.Errorf("xenpvh: asking for the xenstore page: %w", err)
	}
	port, rc := hypercall.HVMParam(abi.HVM_PARAM_STORE_EVTCHN)
	if err := abi.HypercallError(rc); err != nil {
		return nil, fmt.Errorf("xenpvh: asking for the xenstore port: %w", err)
	}
	if page == 0 || port == 0 {
		return nil, fmt.Errorf("xenpvh: the toolstack has set up no xenstore (page %#x, port %d)", page, port)
	}
	if err := channels.Adopt(evtchn.Port(port)); err != nil {
		return nil, err
	}
	ring := xenstore.NewRing(mapToolstackPage(page), channels, evtchn.Port(port))
	return xenstore.New(xenstore.Config{Transport: ring, Logf: Logf}), nil
}

// domainID asks xenstore who we are: Xen itself only knows "self".
func domainID(store *xenstore.Client) (abi.DomID, error) {
	s, err := store.Read("domid")
	if err != nil {
		return 0, fmt.Errorf("xenpvh: asking for our domain number: %w", err)
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || abi.DomID(n) >= abi.DOMID_FIRST_RESERVED {
		return 0, fmt.Errorf("xenpvh: %q is no domain number", s)
	}
	return abi.DomID(n), nil
}

// Option returns the value of key=value on the command line (the last one
// wins), "" and false if it is not there.
func (p *Platform) Option(key string) (string, bool) { return p.Options.Get(key) }

// TPMRegisters is the register window of the hardware TPM.
func (p *Platform) TPMRegisters() *Regs { return p.Registers(TPMBase, TPMSize) }

// limitHeap tells the garbage collector how much memory there is. A small
// domain rather collects more often than runs out.
func (p *Platform) limitHeap() {
	p.heapLimit = heapSpace() / 8 * 7
	debug.SetMemoryLimit(p.heapLimit)
	debug.SetGCPercent(50)
}

// Logf writes a line to the console, with the seconds since the host's boot.
func Logf(format string, args ...any) {
	now := time.Duration(systemTime())
	fmt.Fprintf(os.Stdout, "[%5d.%06d] %s\n", now/time.Second, now%time.Second/time.Microsecond,
		fmt.Sprintf(format, args...))
}

// hypervisor implements the Hypercallers of packages evtchn and gnttab.
type hypervisor struct{ hypercall.Ops }
