package dom0

import (
	"errors"
	"fmt"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xenstore"
)

// inWaiting is a frontend's and a backend's directory, made as libxl makes them, of a domain that is only being created.
// libxl itself adds a vTPM's frontends when the vTPM runs already, so that it cannot show when the vTPM would have
// answered first.
type inWaiting struct {
	id          abi.DomID // of the backend
	front, back string
	seen        chan error
	at          time.Time // when the backend showed InitWait; valid after seen
}

const inWaitingDevice = 9

// frontendInWaiting makes the directories as soon as the domain with the coming number is introduced to xenstore, and
// follows the backend's state from then on, for at most the limit. It returns when the watches are set.
func frontendInWaiting(id int, limit time.Duration) (*inWaiting, error) {
	w := &inWaiting{id: abi.DomID(id), seen: make(chan error, 1)}
	w.front, w.back = deviceDirs(id, inWaitingDevice)
	ready := make(chan error, 1)
	go func() {
		err := withXenstore(func(c *xenstore.Client, x xenbusFile) error { return w.follow(c, x, limit, ready) })
		select {
		case ready <- err:
		default:
		}
		w.seen <- err
	}()
	return w, <-ready
}

func (w *inWaiting) follow(c *xenstore.Client, x xenbusFile, limit time.Duration, ready chan<- error) error {
	introduced, changed := 0, false
	_, err1 := c.Watch("@introduceDomain", func(string) { introduced++ })
	_, err2 := c.Watch(w.back+"/state", func(string) { changed = true })
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	ready <- nil
	// Every watch fires once for its registration.
	for plugged, end := false, x.Now()+int64(limit); x.Now() < end; {
		if err := c.Dispatch(); err != nil {
			return err
		}
		switch {
		case introduced > 1 && !plugged:
			if err := w.plug(c); err != nil {
				return err
			}
			plugged = true
		case plugged && changed:
			changed = false
			at := time.Now()
			if s, err := c.Read(w.back + "/state"); err == nil && s == "2" {
				w.at = at
				return nil
			}
		case !c.Pending():
			x.Wait(end, true)
		}
	}
	return fmt.Errorf("lab: %s did not show InitWait within %v", w.back, limit)
}

// plug makes both directories.
func (w *inWaiting) plug(c *xenstore.Client) error {
	return c.Transaction(func(tx *xenstore.Tx) error { return plugDom0(tx, w.id, inWaitingDevice, dom0UUID) })
}

// plugDom0 makes the directories of a vTPM device of dom0's, with all that libxl writes. Either side owns its own and
// lets the other read it; those above the backend's stay the toolstack's. What is made in a directory is like it.
func plugDom0(tx *xenstore.Tx, backend abi.DomID, devid int, uuid string) error {
	front, back := deviceDirs(int(backend), devid)
	for _, d := range []struct {
		path  string
		perms []xenstore.Perm
		nodes [][2]string
	}{
		{fmt.Sprintf("/local/domain/%d/backend/vtpm", backend), []xenstore.Perm{{Dom: 0}, {Dom: backend, Read: true}}, nil},
		{fmt.Sprintf("/local/domain/%d/backend/vtpm/0", backend), []xenstore.Perm{{Dom: 0}, {Dom: backend, Read: true}}, nil},
		{front, []xenstore.Perm{{Dom: 0}, {Dom: backend, Read: true}}, [][2]string{
			{"backend", back}, {"backend-id", fmt.Sprint(backend)}, {"handle", fmt.Sprint(devid)}, {"state", "1"}}},
		{back, []xenstore.Perm{{Dom: backend}, {Dom: 0, Read: true}}, [][2]string{
			{"frontend", front}, {"frontend-id", "0"}, {"online", "1"}, {"handle", fmt.Sprint(devid)}, {"uuid", uuid},
			{"resume", "False"}, {"state", "1"}}},
	} {
		err := tx.Mkdir(d.path)
		if err == nil {
			err = tx.SetPerms(d.path, d.perms)
		}
		for _, n := range d.nodes {
			if err == nil {
				err = tx.Write(d.path+"/"+n[0], n[1])
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deviceDirs are the two directories of a vTPM device of dom0's.
func deviceDirs(backend, devid int) (front, back string) {
	return fmt.Sprintf("/local/domain/0/device/vtpm/%d", devid), fmt.Sprintf("/local/domain/%d/backend/vtpm/0/%d", backend, devid)
}

// wait returns when the backend showed InitWait, and takes everything away again.
func (w *inWaiting) wait() (time.Time, error) {
	err := <-w.seen
	rerr := withXenstore(func(c *xenstore.Client, _ xenbusFile) error { return errors.Join(c.Rm(w.back), c.Rm(w.front)) })
	return w.at, errors.Join(err, rerr)
}
