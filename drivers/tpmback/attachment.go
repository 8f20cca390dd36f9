package tpmback

import (
	"errors"
	"fmt"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xenbus"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/drivers/tpmif"
)

// An Attachment is a device from the moment when the toolstack made our
// directory of it to the moment when that went. Everything in it is what the
// toolstack wrote: a domain's number is used again, a guest's driver comes and
// goes as the guest likes, and neither makes another attachment or the same one.
type Attachment struct {
	ID       uint64 // 1, 2, ... within this Backend; never the same again
	Frontend Frontend
	UUID     UUID

	// Previous is the attachment before this one with the same UUID, 0 when there
	// was none.
	Previous uint64
	// For is the domain that a helper works for (node for-domain), such as a
	// program in domain 0 that measures a guest's kernel. 0: the frontend's own.
	For abi.DomID
	// Boot says what the toolstack knows of the domain's start (node boot).
	Boot Boot
}

// Boot is what the toolstack says about the start of a domain.
type Boot uint8

// Values of Boot.
const (
	BootUnsaid  Boot = iota // nothing: stock xl
	BootNew                 // "new": it boots
	BootRestore             // "restore": it goes on with the memory that was saved
)

// parseBoot reads the node boot.
func parseBoot(text string) (Boot, error) {
	switch text {
	case "new":
		return BootNew, nil
	case "restore":
		return BootRestore, nil
	}
	return BootUnsaid, fmt.Errorf("%w: %s is %.40q, not new or restore", xenbus.ErrBadNode, tpmif.NodeBoot, text)
}

// maxNamed bounds the memory of which attachment had a UUID last. Beyond it all
// of them are taken for followers of one that nobody can have seen.
const maxNamed = 1024

// name gives an attachment its UUID, and its place in the order of those with
// the same.
func (b *Backend) name(at *Attachment, u UUID) {
	at.UUID = u
	last, ok := b.named[u]
	switch {
	case ok && last == at.ID:
		return // named before
	case ok:
		at.Previous = last
	default:
		at.Previous = b.unnamed
	}
	if len(b.named) >= maxNamed {
		clear(b.named)
		b.attachments++
		b.unnamed = b.attachments
	}
	b.named[u] = at.ID
}

// attach begins an attachment.
func (b *Backend) attach(d *device) {
	b.attachments++
	d.at = Attachment{ID: b.attachments, Frontend: d.fe}
	d.closed, d.misled = false, false
}

// detach ends a device's attachment.
func (d *device) detach() {
	if f := d.b.cfg.Detached; f != nil {
		f(d.at, d.closed)
	}
}

// claims reads what the toolstack may have written beside the nodes that every
// device has. It may do so until the frontend's ring is connected: xl create -p,
// the nodes, xl unpause. A node that cannot be understood is an error, for it
// would be a restriction that is not there; the operator is told of it once,
// whatever else the log has to say.
func (d *device) claims() error {
	err := d.readClaims()
	if errors.Is(err, xenbus.ErrBadNode) && !d.misled {
		d.misled = true
		d.b.cfg.Logf("tpmback: frontend %v is not served: %v", d.fe, err)
	}
	return err
}

func (d *device) readClaims() error {
	d.at.For, d.at.Boot = 0, BootUnsaid
	text, err := d.b.cfg.Store.Read(d.dir + "/" + tpmif.NodeForDomain)
	switch {
	case errors.Is(err, xenstore.ErrNotExist):
	case err != nil:
		return err
	default:
		id, err := xenbus.ParseUint(text, uint64(abi.DOMID_FIRST_RESERVED)-1)
		if err != nil || id == 0 {
			return fmt.Errorf("%w: %s is %.40q, not a guest's number", xenbus.ErrBadNode, tpmif.NodeForDomain, text)
		}
		d.at.For = abi.DomID(id)
	}
	text, err = d.b.cfg.Store.Read(d.dir + "/" + tpmif.NodeBoot)
	if errors.Is(err, xenstore.ErrNotExist) {
		return nil
	}
	if err == nil {
		d.at.Boot, err = parseBoot(text)
	}
	return err
}

// renewed reports whether our directory is another than the one that we took in:
// the toolstack removed it and made it again before we looked. Its state is then
// the first one, unless we have written over that meanwhile; what we wrote when
// we took it in is missing in any case.
func (d *device) renewed(state xenbus.State) (bool, error) {
	if state == xenbus.Initialising {
		return true, nil
	}
	_, err := d.b.cfg.Store.Read(d.dir + "/" + tpmif.NodeProtocol2)
	if errors.Is(err, xenstore.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// errRenewed means that a ring is another attachment's than the one that we know.
var errRenewed = errors.New("the toolstack has made the device anew")

// same reports by an error that our directory is another than the one that we
// took in. What the frontend has published is then for the new one.
func (d *device) same() error {
	renewed, err := d.renewed(xenbus.Unknown)
	if err == nil && renewed {
		d.dirtyOwn = true
		return errRenewed
	}
	return err
}

// noteClosed keeps account of whether the frontend has closed its device without
// being asked to. libxl asks by online=0 and Closing in our directory, which the
// frontend may have seen before we do; so look whether it has asked already.
func (d *device) noteClosed(s xenbus.State) {
	if d.machine.Offline {
		return
	}
	closed := s == xenbus.Closing || s == xenbus.Closed
	if closed && !d.closed {
		online, err := d.b.cfg.Store.Read(d.dir + "/online")
		closed = err == nil && online != "0"
	}
	d.closed = closed
}

// Closed reports whether the frontend of an attachment had closed its device by
// itself when last seen.
func (b *Backend) Closed(id uint64) bool {
	for _, d := range b.order {
		if d.at.ID == id {
			return d.closed
		}
	}
	return false
}
