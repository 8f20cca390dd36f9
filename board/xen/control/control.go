// Package control takes the toolstack's requests to end the domain: xl shutdown
// and xl reboot write control/shutdown in the domain's own xenstore directory
// and wait until the guest empties it (Xen's docs/misc/xenstore-paths,
// ~/control/shutdown).
package control

import (
	"errors"
	"fmt"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xenstore"
)

// Reason says how a domain ends, for the toolstack to act on (on_poweroff,
// on_reboot, on_crash).
type Reason uint32

// Reasons.
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

const (
	shutdownNode  = "control/shutdown"
	featurePrefix = "control/feature-"
)

// requests are what an image can do when asked.
var requests = map[string]Reason{"poweroff": PowerOff, "halt": PowerOff, "reboot": Reboot}

// OnShutdown calls f, from the store's Dispatch, when the toolstack asks the
// domain to end. The request has been acknowledged by then. Requests that an
// image cannot meet (suspend) are logged and left unacknowledged, so that the
// toolstack gives up on them.
func OnShutdown(store *xenstore.Client, logf func(string, ...any), f func(Reason)) error {
	for _, feature := range []string{"poweroff", "reboot"} {
		if err := store.Write(featurePrefix+feature, "1"); err != nil {
			logf("control: the toolstack cannot be told of %s: %v", feature, err)
		}
	}
	_, err := store.Watch(shutdownNode, func(string) {
		r, ok, err := acknowledge(store)
		if err != nil {
			logf("control: shutdown request: %v", err)
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
		ok = false
		request, err := tx.Read(shutdownNode)
		if errors.Is(err, xenstore.ErrNotExist) || err == nil && request == "" {
			return nil
		}
		if err != nil {
			return err
		}
		if r, ok = requests[request]; !ok {
			return fmt.Errorf("this domain cannot %.20q", request)
		}
		return tx.Write(shutdownNode, "")
	})
	return r, ok && err == nil, err
}
