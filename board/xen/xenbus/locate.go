package xenbus

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"xenvtpm/board/xen/xenstore"
)

// locate finds our device and its backend, or finds that they have moved.
func (d *FrontDevice) locate() error {
	if d.dir != "" {
		path, err := d.cfg.Store.Read(d.dir + "/backend")
		if err == nil && path == d.backend {
			return nil
		}
		if err != nil && !errors.Is(err, xenstore.ErrNotExist) {
			return err
		}
		// The toolstack took the device away, or gave it another backend.
		d.apply(FrontEvent{Kind: FrontBackendGone})
		d.leave()
	}
	ids, err := d.candidates()
	if err != nil {
		return err
	}
	for _, id := range ids {
		found, err := d.take(d.cfg.Class + "/" + id)
		if found || err != nil {
			return err
		}
	}
	return nil
}

// candidates lists the devices of the class, lowest number first.
func (d *FrontDevice) candidates() ([]string, error) {
	if d.cfg.ID != "" {
		return []string{d.cfg.ID}, nil
	}
	names, err := d.cfg.Store.Directory(d.cfg.Class)
	if errors.Is(err, xenstore.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { _, err := ParseUint(n, 1<<32-1); return err != nil })
	slices.SortFunc(names, func(a, b string) int {
		x, _ := strconv.ParseUint(a, 10, 64) // checked above
		y, _ := strconv.ParseUint(b, 10, 64)
		return int(int64(x) - int64(y))
	})
	return names, nil
}

// take makes dir our device if its backend exists.
func (d *FrontDevice) take(dir string) (bool, error) {
	backend, err := d.cfg.Store.Read(dir + "/backend")
	if errors.Is(err, xenstore.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	domain, err := ReadDomID(d.cfg.Store, dir+"/backend-id")
	if err != nil {
		return false, err
	}
	if _, err := ReadState(d.cfg.Store, backend); errors.Is(err, ErrGone) {
		d.err = fmt.Errorf("%s: its backend %s does not exist", dir, backend)
		d.again = d.cfg.Channels.Now() + retryAfter // nothing of ours changes when it appears
		return false, nil
	} else if err != nil {
		return false, err
	}
	d.other, err = d.cfg.Store.Watch(backend+"/state", func(string) { d.dirtyOther = true })
	if err != nil {
		return false, err
	}
	d.dir, d.backend, d.domain, d.dirtyOther = dir, backend, domain, true
	return true, nil
}

func (d *FrontDevice) leave() {
	if d.other != nil {
		if err := d.other.Close(); err != nil {
			d.cfg.Logf("xenbus: %s: %v", d.dir, err)
		}
	}
	d.other, d.dir, d.backend, d.seen = nil, "", "", Unknown
}

// follow reads the backend's state and takes a step.
func (d *FrontDevice) follow() error {
	s, err := ReadState(d.cfg.Store, d.backend)
	if errors.Is(err, ErrGone) {
		d.apply(FrontEvent{Kind: FrontBackendGone})
		d.leave()
		d.again = d.cfg.Channels.Now() + retryAfter
		return nil
	}
	if err != nil {
		return err
	}
	d.seen = s
	d.apply(FrontEvent{Kind: FrontBackend, Backend: s})
	return nil
}
