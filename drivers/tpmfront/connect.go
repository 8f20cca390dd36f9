package tpmfront

import (
	"errors"
	"fmt"
	"strconv"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/xenbus"
	"xenvtpm/drivers/tpmif"
)

// link is what is shared with one backend.
type link struct {
	ref  gnttab.Ref
	port evtchn.Port
	tpm  *tpmif.Frontend
	up   bool
}

// driver is the Device as its FrontDevice sees it.
type driver struct{ d *Device }

// Publish implements xenbus.FrontDriver.
func (w driver) Publish(backend abi.DomID) (map[string]string, error) {
	ref, page, err := w.d.cfg.Grants.Share(backend, true)
	if err != nil {
		return nil, err
	}
	port, err := w.d.cfg.Channels.AllocUnbound(backend)
	if err != nil {
		w.d.unshare(ref)
		return nil, err
	}
	w.d.link = &link{ref: ref, port: port, tpm: tpmif.NewFrontend(page)}
	return map[string]string{
		tpmif.NodeRingRef:      strconv.FormatUint(uint64(ref), 10),
		tpmif.NodeEventChannel: strconv.FormatUint(uint64(port), 10),
		tpmif.NodeProtocol2:    "1",
	}, nil
}

// Check implements xenbus.FrontDriver.
func (w driver) Check(r xenbus.Reader, backendDir string) error {
	v2, err := xenbus.ReadFlag(r, backendDir+"/"+tpmif.NodeProtocol2)
	if err != nil {
		return err
	}
	if !v2 {
		return fmt.Errorf("it does not speak protocol 2 (%s)", tpmif.NodeProtocol2)
	}
	w.d.link.up = true
	return nil
}

// Early implements xenbus.EarlyDriver.
func (w driver) Early(r xenbus.Reader, backendDir string) error { return w.Check(r, backendDir) }

// Port implements xenbus.FrontDriver.
func (w driver) Port() evtchn.Port {
	if w.d.link == nil {
		return 0
	}
	return w.d.link.port
}

// Disconnect implements xenbus.FrontDriver.
func (w driver) Disconnect() {
	l := w.d.link
	w.d.link = nil
	if l == nil {
		return
	}
	if err := w.d.cfg.Channels.Close(l.port); err != nil {
		w.d.cfg.Logf("tpmfront: %v", err)
	}
	w.d.unshare(l.ref)
}

func (d *Device) unshare(ref gnttab.Ref) {
	err := d.cfg.Grants.Unshare(ref)
	if err != nil && !errors.Is(err, gnttab.ErrInUse) { // in use: in quarantine, as it should be
		d.cfg.Logf("tpmfront: %v", err)
	}
}
