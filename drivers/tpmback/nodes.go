package tpmback

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"xenvtpm/board/xen/xenbus"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/drivers/tpmif"
)

// ringNodes is what a frontend publishes.
type ringNodes struct {
	set  bool
	ref  uint32
	port uint32
}

// readOwn looks at what the toolstack has written.
func (d *device) readOwn() error {
	store := d.b.cfg.Store
	state, err := xenbus.ReadState(store, d.dir)
	if errors.Is(err, xenbus.ErrGone) {
		d.apply(xenbus.BackEvent{Kind: xenbus.BackDirGone})
		return nil
	}
	if err != nil {
		return err
	}
	online, err := store.Read(d.dir + "/online")
	if err != nil && !errors.Is(err, xenstore.ErrNotExist) {
		return err
	}
	renewed := false
	if d.machine.Phase != xenbus.BackNew && !d.refused && online != "0" {
		if renewed, err = d.renewed(state); err != nil {
			return err
		}
	}
	switch {
	case online == "0" && d.machine.Phase == xenbus.BackRemoving && state == xenbus.Closing:
		d.apply(xenbus.BackEvent{Kind: xenbus.BackAskedAgain})
	case online == "0":
		d.apply(xenbus.BackEvent{Kind: xenbus.BackOffline})
	case d.machine.Phase == xenbus.BackNew || d.machine.Phase == xenbus.BackRefused:
		return d.start()
	case renewed:
		return d.restart()
	}
	return nil
}

// restart takes in a device that was made anew in the same place, before we had
// noticed the removal. It begins with the end of the old one's connection.
func (d *device) restart() error {
	d.unfollow()
	d.disconnect()
	d.detach()
	d.b.attach(d)
	d.tried = ringNodes{}
	err := d.identify()
	if noRoom(err) {
		d.machine = xenbus.Backend{}
		d.refuse(err)
		return nil
	}
	if err != nil {
		return err
	}
	d.apply(xenbus.BackEvent{Kind: xenbus.BackReset})
	d.dirtyPeer = true
	return nil
}

// start takes a new device in, if there is room for it.
func (d *device) start() error {
	err := d.admit()
	if err == nil {
		err = d.identify()
	}
	if noRoom(err) {
		d.refuse(err)
		return nil
	}
	if err != nil {
		return err
	}
	d.refused = false
	d.apply(xenbus.BackEvent{Kind: xenbus.BackStart})
	d.dirtyPeer = true
	return nil
}

// identify reads who the frontend is and what it is called, says that we speak
// protocol 2, and follows the frontend's state from now on.
func (d *device) identify() error {
	store := d.b.cfg.Store
	id, err := xenbus.ReadDomID(store, d.dir+"/frontend-id")
	if errors.Is(err, xenstore.ErrNotExist) {
		id, err = d.fe.Domain, nil // an earlier attempt has removed it
	}
	if err != nil {
		return err
	}
	front, err := store.Read(d.dir + "/frontend")
	if err != nil {
		return err
	}
	home := fmt.Sprintf("%s/%d/", domainsDir, d.fe.Domain)
	if id != d.fe.Domain || !strings.HasPrefix(front, home) || xenstore.CheckPath(front) != nil {
		return fmt.Errorf("%w: frontend %.80q, frontend-id %d", xenbus.ErrBadNode, front, id)
	}
	text, err := store.Read(d.dir + "/uuid")
	if err != nil {
		return err
	}
	if d.uuid, err = ParseUUID(text); err != nil {
		return err
	}
	d.b.name(&d.at, d.uuid)
	if err = d.trim(); err == nil {
		err = store.Transaction(d.announce)
	}
	if err != nil {
		return err
	}
	d.front, d.follows = front, true
	return nil
}

// trim removes what nobody reads. It does so before there is anything to write:
// a device that has to be refused is not to take room that others need.
func (d *device) trim() error {
	for _, name := range spareNodes {
		if err := d.b.cfg.Store.Rm(d.dir + "/" + name); err != nil && !errors.Is(err, xenstore.ErrNotExist) {
			return err
		}
	}
	return nil
}

// announce says that we speak protocol 2.
func (d *device) announce(tx *xenstore.Tx) error {
	if _, err := xenbus.ReadState(tx, d.dir); err != nil {
		return err
	}
	return tx.Write(d.dir+"/"+tpmif.NodeProtocol2, "1")
}

// ParseUUID reads a uuid in the usual form of 36 characters.
func ParseUUID(text string) (UUID, error) {
	var u UUID
	bad := fmt.Errorf("%w: uuid %.40q", xenbus.ErrBadNode, text)
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return u, bad
	}
	digits := text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	if _, err := hex.Decode(u[:], []byte(digits)); err != nil {
		return UUID{}, bad
	}
	return u, nil
}

// unfollow forgets the frontend's state.
func (d *device) unfollow() { d.follows, d.dirtyPeer = false, false }

// readPeer looks at the frontend's state, and at its ring when it has one.
func (d *device) readPeer() error {
	s, err := xenbus.ReadState(d.b.cfg.Store, d.front)
	if errors.Is(err, xenbus.ErrGone) {
		d.apply(xenbus.BackEvent{Kind: xenbus.BackFrontendGone})
		return nil
	}
	if err != nil {
		return err
	}
	d.noteClosed(s)
	ev := xenbus.BackEvent{Kind: xenbus.BackFrontend, Frontend: s}
	if s == xenbus.Initialised || s == xenbus.Connected {
		nodes, err := d.readRing()
		ev.NewRing = err != nil && !d.tried.set || err == nil && nodes != d.tried
	}
	d.apply(ev)
	return nil
}

// readRing reads what the frontend has published. An error is the frontend's
// fault, or xenstore's; both are tried again.
func (d *device) readRing() (ringNodes, error) {
	store := d.b.cfg.Store
	ref, err := xenbus.ReadUint(store, d.front+"/"+tpmif.NodeRingRef, 1<<32-1)
	if err != nil {
		return ringNodes{}, err
	}
	port, err := xenbus.ReadUint(store, d.front+"/"+tpmif.NodeEventChannel, 1<<32-1)
	if err != nil {
		return ringNodes{}, err
	}
	return ringNodes{true, uint32(ref), uint32(port)}, nil
}
