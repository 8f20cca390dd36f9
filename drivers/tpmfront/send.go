package tpmfront

import (
	"errors"
	"fmt"

	"xenvtpm/drivers/tpmif"
)

// Send sends one command and returns its response. It waits for a connection,
// then for the answer. It does not repeat a command whose fate is unknown.
func (d *Device) Send(cmd []byte) ([]byte, error) {
	switch {
	case d.closed:
		return nil, ErrClosed
	case d.busy:
		return nil, ErrBusy
	}
	d.busy, d.cancel = true, false
	defer func() { d.busy = false }()
	if err := d.connect(); err != nil {
		return nil, err
	}
	if err := d.submit(cmd); err != nil {
		return nil, err
	}
	return d.receive(d.link)
}

// submit puts the command in the page, if need be after the end of an earlier
// one that was given up.
func (d *Device) submit(cmd []byte) error {
	l := d.link
	deadline := d.cfg.Channels.Now() + int64(d.cfg.CancelWait)
	for {
		d.dev.Look()
		err := l.tpm.Submit(d.cfg.Locality, cmd)
		if err == nil {
			return d.cfg.Channels.Notify(l.port)
		}
		if !errors.Is(err, tpmif.ErrBusy) {
			return err
		}
		if d.cfg.Channels.Now() >= deadline {
			return fmt.Errorf("%w: the command before this one has not ended: %v", ErrTimeout, err)
		}
		d.dev.Wait(deadline)
		if d.link != l {
			return ErrDisconnected
		}
	}
}

// receive waits for the answer, passes a cancel on, and cancels when the time
// is up.
func (d *Device) receive(l *link) ([]byte, error) {
	deadline := d.cfg.Channels.Now() + int64(d.cfg.CommandWait)
	cancelled, late := false, false
	for {
		d.dev.Look()
		rsp, done, err := l.tpm.Poll()
		switch {
		case done && late && errors.Is(err, ErrCancelled):
			return nil, ErrTimeout
		case done:
			return rsp, err
		case d.link != l:
			return nil, ErrDisconnected
		}
		now := d.cfg.Channels.Now()
		if now >= deadline && cancelled {
			return nil, ErrTimeout
		}
		late = late || now >= deadline
		if !cancelled && (late || d.cancel) {
			cancelled = true
			deadline = now + int64(d.cfg.CancelWait)
			l.tpm.Cancel()
			if err := d.cfg.Channels.Notify(l.port); err != nil {
				return nil, err
			}
			continue
		}
		d.dev.Wait(deadline)
	}
}

// Cancel asks the backend to end the running command early. Call it from Idle.
func (d *Device) Cancel() { d.cancel = true }
