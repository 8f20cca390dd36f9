package tpmif

import (
	"errors"
	"fmt"

	"xenvtpm/board/xen/shm"
	"xenvtpm/drivers/tpmwire"
)

// Errors of a frontend.
var (
	ErrBusy      = errors.New("tpmif: the last command has not ended")
	ErrCancelled = errors.New("tpmif: the backend dropped the command")
	ErrResponse  = errors.New("tpmif: malformed response")
	ErrPacket    = errors.New("tpmif: malformed command")
)

// Frontend is the frontend's end of a page of ours.
type Frontend struct {
	page *shm.Page
	sent bool
}

// NewFrontend makes the frontend's end of a shared, zeroed page.
func NewFrontend(p *shm.Page) *Frontend { return &Frontend{page: p} }

// Submit writes a command; the caller then notifies the peer. It fails with
// ErrBusy while the backend may still use the page.
func (f *Frontend) Submit(locality uint8, cmd []byte) error {
	if _, err := tpmwire.ParsePacket(cmd); err != nil || len(cmd) > MaxPacket {
		return fmt.Errorf("%w: %d bytes, at most %d: %v", ErrPacket, len(cmd), MaxPacket, err)
	}
	if s := fetch(f.page).state; s != Idle && s != Finish {
		return fmt.Errorf("%w: page is in %v", ErrBusy, s)
	}
	f.page.CopyIn(HeaderSize, cmd)
	f.page.Store32(offLength, uint32(len(cmd)))
	f.page.Store8(offLocality, locality)
	f.page.Store8(offPad, 0)
	f.page.Store8(offExtra, 0)
	f.page.Store8(offState, uint8(Submit))
	f.sent = true
	return nil
}

// Poll looks for the end of the command. done says that it has ended: with a
// response, copied out, or with ErrCancelled or ErrResponse.
func (f *Frontend) Poll() (rsp []byte, done bool, err error) {
	if !f.sent {
		return nil, false, nil
	}
	h := fetch(f.page)
	switch h.state {
	case Idle:
		f.sent = false
		return nil, true, ErrCancelled
	case Finish:
		f.sent = false
		rsp, err = f.take(h)
		return rsp, true, err
	}
	return nil, false, nil
}

// take copies the response out. Our n is 0, whatever the page says by now.
func (f *Frontend) take(h header) ([]byte, error) {
	if h.length < tpmwire.HeaderSize || h.length > MaxPacket {
		return nil, fmt.Errorf("%w: %d bytes", ErrResponse, h.length)
	}
	rsp := make([]byte, h.length)
	f.page.CopyOut(rsp, HeaderSize)
	if _, err := tpmwire.ParsePacket(rsp); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrResponse, err)
	}
	return rsp, nil
}

// Cancel asks the backend to drop the running command; the caller then notifies
// the peer and goes on polling: the command ends in one way or the other. A
// command that has ended is left alone.
func (f *Frontend) Cancel() {
	if f.sent && fetch(f.page).state == Submit {
		f.page.Store8(offState, uint8(Cancel))
	}
}
