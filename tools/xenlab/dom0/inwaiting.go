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
	w := &inWaiting{
		id:    abi.DomID(id),
		front: fmt.Sprintf("/local/domain/0/device/vtpm/%d", inWaitingDevice),
		back:  fmt.Sprintf("/local/domain/%d/backend/vtpm/0/%d", id, inWaitingDevice),
		seen:  make(chan error, 1),
	}
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

// plug makes both directories. Either side owns its own and lets the other read it.
func (w *inWaiting) plug(c *xenstore.Client) error {
	frontPerms := []xenstore.Perm{{Dom: 0}, {Dom: w.id, Read: true}}
	backPerms := []xenstore.Perm{{Dom: w.id}, {Dom: 0, Read: true}}
	return c.Transaction(func(tx *xenstore.Tx) error {
		for _, n := range []struct {
			dir, name, value string
			perms            []xenstore.Perm
		}{
			{w.front, "/backend", w.back, frontPerms},
			{w.front, "/backend-id", fmt.Sprint(w.id), frontPerms},
			{w.front, "/handle", fmt.Sprint(inWaitingDevice), frontPerms},
			{w.front, "/state", "1", frontPerms},
			{w.back, "/frontend", w.front, backPerms},
			{w.back, "/frontend-id", "0", backPerms},
			{w.back, "/online", "1", backPerms},
			{w.back, "/uuid", dom0UUID, backPerms},
			{w.back, "/state", "1", backPerms},
		} {
			err := tx.Write(n.dir+n.name, n.value)
			for _, path := range []string{n.dir, n.dir + n.name} {
				if err == nil {
					err = tx.SetPerms(path, n.perms)
				}
			}
			if err != nil {
				return err
			}
		}
		for _, path := range []string{"backend", "backend/vtpm", "backend/vtpm/0"} {
			if err := tx.SetPerms(fmt.Sprintf("/local/domain/%d/%s", w.id, path), backPerms); err != nil {
				return err
			}
		}
		return nil
	})
}

// wait returns when the backend showed InitWait, and takes everything away again.
func (w *inWaiting) wait() (time.Time, error) {
	err := <-w.seen
	rerr := withXenstore(func(c *xenstore.Client, _ xenbusFile) error { return errors.Join(c.Rm(w.back), c.Rm(w.front)) })
	return w.at, errors.Join(err, rerr)
}
