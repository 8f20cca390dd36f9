package xentest

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xenstore"
)

// libxl's patience (LIBXL_INIT_TIMEOUT, LIBXL_DESTROY_TIMEOUT).
const (
	InitTimeout    = 10 * time.Second
	DestroyTimeout = 10 * time.Second
)

// What can go wrong between libxl and a backend.
var (
	ErrNoBackend  = errors.New("backend did not reach InitWait in time")
	ErrNotClosed  = errors.New("backend did not reach Closed in time")
	ErrVanished   = errors.New("backend directory vanished before Closed was seen")
	ErrNotRemoved = errors.New("backend directory was not removed in time")
)

// A Toolstack plays libxl in domain 0.
type Toolstack struct {
	h *Hypervisor

	// Idle, if set, drives domains that have no goroutine of their own: it runs
	// again and again while the Toolstack waits, with a millisecond in between.
	Idle func()

	// Latency is how long libxl takes to look after something has changed, so
	// that it misses states that pass quickly.
	Latency time.Duration

	devices []Device
}

// Toolstack returns a new toolstack.
func (h *Hypervisor) Toolstack() *Toolstack {
	return &Toolstack{h: h, Latency: 20 * time.Millisecond}
}

// A Device is one split device.
type Device struct {
	Kind     string // "vtpm" or "vbd"
	Frontend abi.DomID
	Backend  abi.DomID
	ID       int
}

// FrontPath is the frontend's directory.
func (d Device) FrontPath() string {
	return fmt.Sprintf("/local/domain/%d/device/%s/%d", d.Frontend, d.Kind, d.ID)
}

// BackPath is the backend's directory.
func (d Device) BackPath() string {
	return fmt.Sprintf("/local/domain/%d/backend/%s/%d/%d", d.Backend, d.Kind, d.Frontend, d.ID)
}

// Plug writes both directories of a device in one transaction, as libxl does
// (xen-vtpm facts 2.2), and does not wait. The maps hold further nodes.
func (ts *Toolstack) Plug(dev Device, back, front map[string]string) {
	be := []xenstore.Perm{{Dom: dev.Backend}, {Dom: dev.Frontend, Read: true}}
	fe := []xenstore.Perm{{Dom: dev.Frontend}, {Dom: dev.Backend, Read: true}}
	ts.h.mu.Lock()
	defer ts.h.mu.Unlock()
	ts.h.store.direct(0, func(v *view) abi.Errno {
		put := func(dir string, perms []xenstore.Perm, lists ...map[string]string) {
			v.mkdir(dir)
			v.setPerms(dir, perms)
			for _, list := range lists {
				for name, value := range list {
					v.write(dir+"/"+name, value)
					v.setPerms(dir+"/"+name, perms)
				}
			}
		}
		put(dev.FrontPath(), fe, map[string]string{
			"backend": dev.BackPath(), "backend-id": strconv.Itoa(int(dev.Backend)), "state": "1",
		}, front)
		put(dev.BackPath(), be, map[string]string{
			"frontend": dev.FrontPath(), "frontend-id": strconv.Itoa(int(dev.Frontend)),
			"online": "1", "state": "1",
		}, back)
		return 0
	})
	ts.devices = append(ts.devices, dev)
}

// PlugVTPM is Plug for a vTPM.
func (ts *Toolstack) PlugVTPM(frontend, backend abi.DomID, devid int, uuid string) Device {
	dev := Device{Kind: "vtpm", Frontend: frontend, Backend: backend, ID: devid}
	handle := strconv.Itoa(devid)
	ts.Plug(dev, map[string]string{"handle": handle, "uuid": uuid, "resume": "False"},
		map[string]string{"handle": handle})
	return dev
}

// AddVTPM is what `xl vtpm-attach` and domain creation do: PlugVTPM, then wait
// until the backend's state is exactly InitWait when libxl looks.
func (ts *Toolstack) AddVTPM(frontend, backend abi.DomID, devid int, uuid string) (Device, error) {
	dev := ts.PlugVTPM(frontend, backend, devid, uuid)
	state := dev.BackPath() + "/state"
	if !ts.await(InitTimeout, func(v View) bool { s, _ := v.Get(state); return s == "2" }) {
		s, _ := ts.h.Get(state)
		return dev, fmt.Errorf("%w (it is %q)", ErrNoBackend, s)
	}
	return dev, nil
}

// AddDisk gives a domain a disk that domain 0 serves. id is the device number
// (51712 for xvda).
func (ts *Toolstack) AddDisk(frontend abi.DomID, id int, disk *Disk, cfg DiskConfig) Device {
	dev := Device{Kind: "vbd", Frontend: frontend, Backend: 0, ID: id}
	mode := "w"
	if cfg.ReadOnly {
		mode = "r"
	}
	ts.Plug(dev, map[string]string{
		"mode": mode, "type": "phy", "dev": "xvda", "device-type": "disk",
		"removable": "0", "bootable": "1", "params": "/dev/loop0", "physical-device": "7:0",
	}, map[string]string{"virtual-device": strconv.Itoa(id), "device-type": "disk"})
	ts.h.Locked(func() {
		b := &blkback{h: ts.h, dev: dev, disk: disk, cfg: cfg}
		ts.h.blk = append(ts.h.blk, b)
		b.state(abi.XenbusStateInitWait)
		b.step()
	})
	return dev
}

// await looks at a condition as libxl does: a moment after each change.
func (ts *Toolstack) await(limit time.Duration, cond func(View) bool) bool {
	end := ts.h.Now() + int64(limit)
	var gen uint64 // of the store that look has seen
	look := func() (ok bool) {
		ts.h.Locked(func() { gen, ok = ts.h.store.gen, cond(View{ts.h}) })
		return ok
	}
	if ts.Idle != nil {
		for next := ts.h.Now(); ; {
			ts.Idle()
			if now := ts.h.Now(); now >= next { // libxl is slower than the domains
				if look() {
					return true
				}
				next = now + int64(ts.Latency)
			}
			if ts.h.Now() >= end {
				return false
			}
			ts.h.Sleep(time.Millisecond)
		}
	}
	for {
		if look() {
			return true
		}
		left := end - ts.h.Now()
		if left <= 0 {
			return false
		}
		ts.h.WaitUntil(time.Duration(left), func(v View) bool { return v.h.store.gen != gen })
		ts.h.Sleep(ts.Latency)
	}
}

// Detach is what `xl vtpm-detach` does: ask the backend to close, wait for
// Closed, wait until the backend domain has removed its directory, then remove
// what is libxl's. The error says which limit was met; the device is gone
// anyhow.
func (ts *Toolstack) Detach(dev Device) error { return ts.detach(dev, false) }

func (ts *Toolstack) detach(dev Device, force bool) error {
	back := dev.BackPath()
	exists := false
	ts.h.Locked(func() {
		_, exists = View{ts.h}.Get(back + "/state")
		if !exists {
			return
		}
		ts.h.store.direct(0, func(v *view) abi.Errno {
			if force {
				v.rm(dev.FrontPath())
			}
			if n := v.tree[back+"/state"]; n.value != "6" {
				v.write(back+"/online", "0")
				return v.write(back+"/state", "5")
			}
			return v.write(back+"/online", "0")
		})
	})
	var err error
	if exists {
		err = ts.awaitClose(dev)
	}
	ts.cleanup(dev.FrontPath())
	ts.cleanup(back)
	ts.forget(dev)
	return err
}

// cleanup removes a directory and those above it that are empty then, up to
// "device" or "backend", as libxl__xs_path_cleanup does.
func (ts *Toolstack) cleanup(path string) {
	ts.h.Locked(func() {
		ts.h.store.direct(0, func(v *view) abi.Errno {
			v.rm(path)
			for p := parent(path); leaf(p) != "device" && leaf(p) != "backend"; p = parent(p) {
				if n := v.tree[p]; n == nil || len(n.children) > 0 {
					break
				}
				v.rm(p)
			}
			return 0
		})
	})
}

func (ts *Toolstack) awaitClose(dev Device) error {
	back := dev.BackPath()
	vanished := false
	ok := ts.await(DestroyTimeout, func(v View) bool {
		s, there := v.Get(back + "/state")
		vanished = !there
		return vanished || s == "6"
	})
	switch {
	case !ok:
		s, _ := ts.h.Get(back + "/state")
		return fmt.Errorf("%w (it is %q)", ErrNotClosed, s)
	case vanished:
		return ErrVanished
	case dev.Backend == 0:
		return nil // libxl removes its own domain's directories itself
	}
	if !ts.await(DestroyTimeout, func(v View) bool { _, there := v.Get(back + "/state"); return !there }) {
		return ErrNotRemoved
	}
	return nil
}

func (ts *Toolstack) forget(dev Device) {
	for i, d := range ts.devices {
		if d == dev {
			ts.devices = append(ts.devices[:i], ts.devices[i+1:]...)
			return
		}
	}
}

// Shutdown writes control/shutdown, as `xl shutdown` does.
func (ts *Toolstack) Shutdown(d *Domain, reason string) {
	ts.h.Set(fmt.Sprintf("/local/domain/%d/control/shutdown", d.ID), reason)
}

// Destroy is what `xl destroy` does, and what xl does after a domain has shut
// down: pause it, remove its devices by force, destroy it, remove its nodes.
// The error is the first one that a device of its own met.
func (ts *Toolstack) Destroy(d *Domain) error {
	ts.h.Locked(func() { ts.h.pause(d) })
	var first error
	for _, dev := range append([]Device(nil), ts.devices...) {
		if dev.Frontend != d.ID {
			continue
		}
		if err := ts.detach(dev, true); err != nil && first == nil {
			first = fmt.Errorf("%s %d: %w", dev.Kind, dev.ID, err)
		}
	}
	ts.h.Destroy(d)
	ts.h.Remove(fmt.Sprintf("/local/domain/%d", d.ID))
	return first
}
