package drivertest

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/shm"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/tpmif"
)

// LinuxFront behaves towards a backend as Linux 6.1's xen-tpmfront and xenbus
// client do, including what they do at shutdown. It is driven by one goroutine,
// the domain's.
type LinuxFront struct {
	Dom *xentest.Domain
	Dev xentest.Device

	Page  *shm.Page // of the ring, for those who want to misuse it
	Ref   gnttab.Ref
	Port  evtchn.Port
	State int  // what the kernel thinks its state is
	Gone  bool // the device was unregistered: no /dev/tpm0 any more

	tpm      *tpmif.Frontend
	watch    *xenstore.Watch
	changed  bool
	shutting bool // system_state > SYSTEM_RUNNING
	down     bool // the completion that shutdown waits for
}

// What a command can end in.
var (
	ErrTimedOut  = errors.New("drivertest: ETIME")
	ErrNoDevice  = errors.New("drivertest: ENODEV")
	ErrCancelled = tpmif.ErrCancelled
)

// Probe sets the ring up and publishes it; it does not wait for the backend.
func (f *LinuxFront) Probe() error {
	f.Gone, f.State = false, 1
	if err := f.Publish(); err != nil {
		return err
	}
	var err error
	f.watch, err = f.Dom.Store.Watch(f.Dev.BackPath()+"/state", func(string) { f.changed = true })
	return err
}

// Publish shares a new page and shows Initialised, as probe and resume do.
func (f *LinuxFront) Publish() error {
	if err := f.Share(); err != nil {
		return err
	}
	return f.Show(3)
}

// Share shares a new page and writes all nodes but the state.
func (f *LinuxFront) Share() error {
	var err error
	if f.Ref, f.Page, err = f.Dom.Grants.Share(f.Dev.Backend, true); err != nil {
		return err
	}
	f.tpm = tpmif.NewFrontend(f.Page)
	if f.Port, err = f.Dom.Channels.AllocUnbound(f.Dev.Backend); err != nil {
		return err
	}
	return f.Dom.Store.Transaction(func(tx *xenstore.Tx) error {
		for _, n := range [][2]string{
			{"ring-ref", strconv.Itoa(int(f.Ref))}, {"event-channel", strconv.Itoa(int(f.Port))},
			{"feature-protocol-v2", "1"},
		} {
			if err := tx.Write(f.Dev.FrontPath()+"/"+n[0], n[1]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Resume tears the ring down and sets it up again, without passing through
// Closed.
func (f *LinuxFront) Resume() error {
	f.free()
	return f.Publish()
}

// Show writes our state.
func (f *LinuxFront) Show(s int) error {
	f.State = s
	return f.Dom.Store.Write(f.Dev.FrontPath()+"/state", strconv.Itoa(s))
}

func (f *LinuxFront) free() {
	if f.tpm == nil {
		return
	}
	f.tpm = nil
	_ = f.Dom.Grants.Unshare(f.Ref) // in use: the kernel defers it too
	_ = f.Dom.Channels.Close(f.Port)
}

// Turn handles what has arrived, and reports whether there was something.
func (f *LinuxFront) Turn() error {
	if err := f.Dom.Store.Dispatch(); err != nil {
		return err
	}
	if !f.changed {
		return nil
	}
	f.changed = false
	text, err := f.Dom.Store.Read(f.Dev.BackPath() + "/state")
	if err != nil {
		return nil // xenbus_read_driver_state: Unknown
	}
	s, _ := strconv.Atoi(text) // a backend's own number
	return f.otherend(s)
}

// otherend is xenbus_otherend_changed and the driver's backend_changed.
func (f *LinuxFront) otherend(s int) error {
	if f.shutting {
		// Every state but Closing is ignored from here on.
		if s == 5 && !f.down {
			f.down = true
			return f.Show(6)
		}
		return nil
	}
	switch {
	case f.Gone:
	case (s == 3 || s == 4) && f.State != 4:
		v2, err := f.Dom.Store.Read(f.Dev.BackPath() + "/feature-protocol-v2")
		if err != nil || v2 != "1" {
			return fmt.Errorf("drivertest: vTPM protocol 2 required: %v", err)
		}
		return f.Show(4)
	case s == 5 || s == 6:
		f.unregister()
		return f.Show(6)
	}
	return nil
}

func (f *LinuxFront) unregister() {
	f.Gone = true
	if f.watch != nil {
		_ = f.watch.Close() // the node may be gone
	}
	f.free()
}

// Removed is what follows when the toolstack has removed the device's directory:
// the driver lets go of its ring. A port of a ring that is left behind would stay
// pending for ever.
func (f *LinuxFront) Removed() { f.unregister() }

// Unbind is what writing to the driver's unbind file does.
func (f *LinuxFront) Unbind() error {
	f.unregister()
	return f.Show(6)
}

// Run lets the domain live for d.
func (f *LinuxFront) Run(d time.Duration) error {
	return f.until(d, func() bool { return false })
}

// until lets the domain live until cond or for d, polling every 5 ms as the
// kernel does.
func (f *LinuxFront) until(d time.Duration, cond func() bool) error {
	end := f.Dom.Channels.Now() + int64(d)
	for {
		if f.tpm != nil {
			f.Dom.Channels.TestClear(f.Port)
		}
		if err := f.Turn(); err != nil {
			return err
		}
		now := f.Dom.Channels.Now()
		if cond() || now >= end {
			return nil
		}
		f.Dom.Channels.Wait(min(end, now+int64(5*time.Millisecond)))
	}
}

// Connect waits until the driver is Connected.
func (f *LinuxFront) Connect(d time.Duration) error {
	if err := f.until(d, func() bool { return f.State == 4 || f.Gone }); err != nil {
		return err
	}
	if f.State != 4 {
		return fmt.Errorf("drivertest: not connected after %v, state %d", d, f.State)
	}
	return nil
}

// Command is one write and read of /dev/tpm0: it submits, waits up to d, and
// cancels when the time is up.
func (f *LinuxFront) Command(cmd []byte, d time.Duration) ([]byte, error) {
	if f.Gone || f.tpm == nil {
		return nil, ErrNoDevice
	}
	if err := f.tpm.Submit(0, cmd); err != nil {
		return nil, err
	}
	_ = f.Dom.Channels.Notify(f.Port)
	var rsp []byte
	var done bool
	var result error
	err := f.until(d, func() bool {
		if f.tpm == nil {
			done, result = true, ErrNoDevice
			return true
		}
		rsp, done, result = f.tpm.Poll()
		return done
	})
	if err != nil || done {
		return rsp, errors.Join(err, result)
	}
	f.tpm.Cancel()
	_ = f.Dom.Channels.Notify(f.Port)
	return nil, ErrTimedOut
}

// Shutdown is xenbus_dev_shutdown: it shows Closing and waits up to five
// seconds. It reports whether that ended in "timeout closing device".
func (f *LinuxFront) Shutdown() (stalled bool, err error) {
	f.shutting = true
	if f.State != 4 {
		return false, nil
	}
	if err := f.Show(5); err != nil {
		return false, err
	}
	err = f.until(5*time.Second, func() bool { return f.down })
	return !f.down, err
}

// Kexec is xenbus_reset_frontend, what a kernel does with the devices of the
// one before it: three states, each answered by the backend within 5 s.
func (f *LinuxFront) Kexec() error {
	f.unregister()
	for _, step := range [][2]int{{5, 5}, {6, 6}, {1, 2}} {
		if err := f.Show(step[0]); err != nil {
			return err
		}
		seen := func() bool {
			text, err := f.Dom.Store.Read(f.Dev.BackPath() + "/state")
			return err == nil && text == strconv.Itoa(step[1])
		}
		if err := f.until(5*time.Second, seen); err != nil {
			return err
		}
		if !seen() {
			return fmt.Errorf("drivertest: backend did not answer state %d with %d", step[0], step[1])
		}
	}
	return nil
}
