//go:build tamago

package xenpvh

import (
	"fmt"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/hypercall"
	"xenvtpm/board/xen/xenstore"
)

// Reason says how a domain ends, for the toolstack to act on (on_poweroff,
// on_reboot, on_crash).
type Reason uint32

// Reasons for Shutdown.
const (
	PowerOff Reason = abi.SHUTDOWN_poweroff
	Reboot   Reason = abi.SHUTDOWN_reboot
	Crash    Reason = abi.SHUTDOWN_crash
)

func (r Reason) String() string {
	switch r {
	case PowerOff:
		return "power off"
	case Reboot:
		return "reboot"
	case Crash:
		return "crash"
	}
	return fmt.Sprintf("shutdown reason %d", uint32(r))
}

// Shutdown ends the domain at once, after the console's last line has been
// read. Everything else (disks, backends) must have been closed before.
func (p *Platform) Shutdown(r Reason) {
	con.Flush(flushLimit)
	hypercall.Shutdown(uint32(r))
}

// The toolstack's requests: xl shutdown and xl reboot write the node, and wait
// until the guest empties it.
const (
	shutdownNode  = "control/shutdown"
	featurePrefix = "control/feature-"
)

// requests are what the image can do when asked.
var requests = map[string]Reason{"poweroff": PowerOff, "halt": PowerOff, "reboot": Reboot}

// OnShutdown calls f, from the store's Dispatch, when the toolstack asks the
// domain to end. The request has been acknowledged by then; f sees to it that
// Shutdown(r) is called soon. Requests that the image cannot meet (suspend)
// are logged and left unacknowledged, so that the toolstack gives up on them.
func (p *Platform) OnShutdown(f func(r Reason)) error {
	for _, feature := range []string{"poweroff", "reboot"} {
		if err := p.Store.Write(featurePrefix+feature, "1"); err != nil {
			Logf("xenpvh: the toolstack cannot be told of %s: %v", feature, err)
		}
	}
	_, err := p.Store.Watch(shutdownNode, func(string) {
		r, ok, err := acknowledge(p.Store)
		if err != nil {
			Logf("xenpvh: shutdown request: %v", err)
		}
		if ok {
			f(r)
		}
	})
	return err
}

// acknowledge reads the request and empties the node, in one transaction so
// that no request is emptied unread.
func acknowledge(store *xenstore.Client) (r Reason, ok bool, err error) {
	err = store.Transaction(func(tx *xenstore.Tx) error {
		request, err := tx.Read(shutdownNode)
		if err != nil || request == "" {
			return err
		}
		if r, ok = requests[request]; !ok {
			return fmt.Errorf("this domain cannot %q", request)
		}
		return tx.Write(shutdownNode, "")
	})
	return r, ok && err == nil, err
}

// CPUTime is what the domain's processor did since the domain was made.
type CPUTime struct {
	Running  time.Duration // on a physical processor
	Runnable time.Duration // waiting for one
	Blocked  time.Duration // idle
}

// CPUTime asks Xen for the accounts of our processor.
func (p *Platform) CPUTime() (CPUTime, error) {
	times, rc := hypercall.Runstate()
	if err := abi.HypercallError(rc); err != nil {
		return CPUTime{}, fmt.Errorf("xenpvh: asking for CPU time: %w", err)
	}
	return CPUTime{time.Duration(times[0]), time.Duration(times[1]), time.Duration(times[2])}, nil
}
