package tpmif

import (
	"errors"
	"fmt"

	"xenvtpm/board/xen/shm"
	"xenvtpm/drivers/tpmwire"
)

// ErrLost means that the page reads as ones throughout its header: it was
// unmapped under us, or the peer wants us to believe it.
var ErrLost = errors.New("tpmif: the shared page is gone")

// A Request is one command copied out of the page.
type Request struct {
	Locality uint8
	Command  []byte // at least a header long, and as long as its header says
}

// Outcome says what Poll found.
type Outcome uint8

// Outcomes of Poll.
const (
	Nothing   Outcome = iota // no request
	Ready                    // a good request; it stays open until Respond or Drop
	Refused                  // a bad request has been answered; notify the peer
	Cancelled                // a cancel without a request has been answered; notify the peer
)

// Backend is the backend's end of a page. It holds at most one open request.
type Backend struct {
	page *shm.Page
	buf  [MaxPacket]byte
	open bool
	req  header // of the open request: where its answer goes
	tag  tpmwire.Tag
}

// NewBackend makes the backend's end of a mapped page.
func NewBackend(p *shm.Page) *Backend { return &Backend{page: p} }

// Open reports whether a request waits for Respond or Drop.
func (b *Backend) Open() bool { return b.open }

// Poll looks for a request. A bad one is answered at once with a TPM error in
// the sender's own tag, and why is the error beside Refused. While a request
// is open Poll finds Nothing. The error beside Nothing is ErrLost or nil.
//
// The Request's Command is valid until the next Poll.
func (b *Backend) Poll() (Request, Outcome, error) {
	if b.open {
		return Request{}, Nothing, nil
	}
	h := fetch(b.page)
	switch {
	case h == lost:
		return Request{}, Nothing, ErrLost
	case h.state == Cancel:
		// The command that it was for has finished already.
		b.page.Store8(offState, uint8(Idle))
		return Request{}, Cancelled, nil
	case h.state != Submit:
		return Request{}, Nothing, nil
	}
	b.req = h
	cmd, err := b.take(h)
	if err != nil {
		b.write(tpmwire.ErrorResponse(b.tag, tpmwire.FaultSize))
		return Request{}, Refused, err
	}
	b.open = true
	return Request{Locality: h.locality, Command: cmd}, Ready, nil
}

// take copies the packet out and checks it. It leaves in b.tag what the sender
// seems to speak, also when it fails.
func (b *Backend) take(h header) ([]byte, error) {
	var tag [2]byte
	b.page.CopyOut(tag[:], h.offset())
	b.tag = tpmwire.TagNoSessions
	if h.length >= 2 {
		b.tag = tpmwire.Tag(tag[0])<<8 | tpmwire.Tag(tag[1])
	}
	if h.extra > MaxExtraPages {
		return nil, fmt.Errorf("tpmif: request with %d extra pages, at most %d are served", h.extra, MaxExtraPages)
	}
	if h.length < tpmwire.HeaderSize || int64(h.length) > int64(h.room()) {
		return nil, fmt.Errorf("tpmif: request of %d bytes, %d to %d are possible", h.length, tpmwire.HeaderSize, h.room())
	}
	cmd := b.buf[:h.length]
	b.page.CopyOut(cmd, h.offset())
	wire, err := tpmwire.ParsePacket(cmd)
	b.tag = wire.Tag
	if err != nil {
		return nil, fmt.Errorf("tpmif: %w", err)
	}
	return cmd, nil
}

// CancelWanted reports whether the frontend wants the open request dropped.
func (b *Backend) CancelWanted() bool {
	return b.open && State(b.page.Load8(offState)) == Cancel
}

// ErrNotOpen means that there is no request to answer: it was answered before,
// or its frontend is gone.
var ErrNotOpen = errors.New("tpmif: no open request")

// ErrTooLarge means that a response did not fit behind the request's header.
// The frontend has been answered with a TPM error instead.
var ErrTooLarge = errors.New("tpmif: response does not fit in the page")

// Respond answers the open request; the caller then notifies the peer, also
// beside ErrTooLarge.
func (b *Backend) Respond(rsp []byte) error {
	if !b.open {
		return ErrNotOpen
	}
	b.open = false
	if len(rsp) < tpmwire.HeaderSize || len(rsp) > b.req.room() {
		b.write(tpmwire.ErrorResponse(b.tag, tpmwire.FaultFailure))
		return fmt.Errorf("%w: %d bytes, room for %d", ErrTooLarge, len(rsp), b.req.room())
	}
	b.write(rsp)
	return nil
}

// Drop ends the open request without a response: the page becomes idle, which
// tells the frontend that its command was cancelled. The caller then notifies
// the peer.
func (b *Backend) Drop() error {
	if !b.open {
		return ErrNotOpen
	}
	b.open = false
	b.page.Store8(offState, uint8(Idle))
	return nil
}

// write puts a response where the request was and finishes.
func (b *Backend) write(rsp []byte) {
	b.page.CopyIn(b.req.offset(), rsp)
	b.page.Store32(offLength, uint32(len(rsp)))
	b.page.Store8(offState, uint8(Finish))
	// A frontend that cancelled just now and did not see Finish waits for Idle.
	// When its store came last the response is overruled; when ours came last
	// it reads Finish, which it takes as well.
	if State(b.page.Load8(offState)) == Cancel {
		b.page.Store8(offState, uint8(Idle))
	}
}

// Abandon is for a backend that lets go of the page: a command that stands
// there, taken or not, ends as cancelled. It reports whether there was one; the
// caller then notifies the peer.
func (b *Backend) Abandon() bool {
	b.open = false
	h := fetch(b.page)
	if h == lost || h.state != Submit && h.state != Cancel {
		return false
	}
	b.page.Store8(offState, uint8(Idle))
	return true
}
