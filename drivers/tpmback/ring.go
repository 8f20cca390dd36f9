package tpmback

import (
	"errors"
	"fmt"

	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/xenbus"
	"xenvtpm/drivers/tpmif"
)

// ring is a connected frontend's page and event channel.
type ring struct {
	page   *gnttab.Mapping
	port   evtchn.Port
	tpm    *tpmif.Backend
	kicked bool // there may be a request
}

// ErrDisconnected means that the frontend that sent a request is gone; nobody
// waits for the answer.
var ErrDisconnected = errors.New("tpmback: the frontend is gone")

// connect maps the page and binds the event channel that the frontend
// published, and says how it went.
func (d *device) connect() xenbus.BackEvent {
	nodes, err := d.readRing()
	if err == nil {
		err = d.same()
	}
	if err == nil {
		d.tried = nodes
		err = d.claims()
	}
	if err == nil {
		err = d.join(nodes)
	}
	if err != nil {
		d.logf("cannot connect: %v", err)
		ours := xenbus.Transient(err) || errors.Is(err, gnttab.ErrFull) || errors.Is(err, errRenewed)
		return xenbus.BackEvent{Kind: xenbus.BackConnectFailed, Blameless: ours}
	}
	d.logf("connected, uuid %v, page %d, port %d", d.uuid, nodes.ref, d.ring.port)
	// A frontend of ours sends its first command on this, while we still show
	// InitWait to the toolstack.
	d.notify(d.ring)
	if f := d.b.cfg.Connected; f != nil {
		f(d.fe, d.uuid)
	}
	return xenbus.BackEvent{Kind: xenbus.BackConnectOK}
}

func (d *device) join(nodes ringNodes) error {
	v2, err := xenbus.ReadFlag(d.b.cfg.Store, d.front+"/"+tpmif.NodeProtocol2)
	if err != nil {
		return err
	}
	if !v2 {
		return fmt.Errorf("the frontend does not speak protocol 2 (%s)", tpmif.NodeProtocol2)
	}
	m, err := d.b.cfg.Grants.Map(d.fe.Domain, gnttab.Ref(nodes.ref), true)
	if err != nil {
		return err
	}
	port, err := d.b.cfg.Channels.BindInterdomain(d.fe.Domain, evtchn.Port(nodes.port))
	if err != nil {
		if uerr := d.b.cfg.Grants.Unmap(m); uerr != nil {
			d.logf("%v", uerr)
		}
		return err
	}
	// A request may have come before the bind: its event is lost, so look once.
	d.ring = &ring{page: m, port: port, tpm: tpmif.NewBackend(m.Page), kicked: true}
	return nil
}

// disconnect lets go of the page and the channel. A command that is in the page
// ends as cancelled, so that the frontend does not wait for its full time.
func (d *device) disconnect() {
	r := d.ring
	if r == nil {
		return
	}
	d.ring = nil
	if r.tpm.Abandon() {
		d.notify(r)
	}
	if err := d.b.cfg.Grants.Unmap(r.page); err != nil {
		d.logf("%v", err)
	}
	if err := d.b.cfg.Channels.Close(r.port); err != nil {
		d.logf("%v", err)
	}
	d.logf("disconnected")
	if f := d.b.cfg.Disconnected; f != nil {
		f(d.fe, d.uuid)
	}
}

func (d *device) notify(r *ring) {
	if err := d.b.cfg.Channels.Notify(r.port); err != nil {
		d.logf("%v", err)
	}
}

// take returns the request in the page, if there is one. Bad requests are
// answered here.
func (d *device) take() *Request {
	r := d.ring
	if r == nil {
		return nil
	}
	d.listen()
	if !r.kicked || r.tpm.Open() {
		return nil
	}
	r.kicked = false
	req, outcome, err := r.tpm.Poll()
	switch outcome {
	case tpmif.Ready:
		return &Request{Frontend: d.fe, UUID: d.uuid, Attachment: d.at, Locality: req.Locality, Command: req.Command, dev: d, ring: r}
	case tpmif.Refused:
		d.logf("refused a request: %v", err)
		d.notify(r)
	case tpmif.Cancelled:
		d.notify(r)
	default:
		if err != nil {
			d.logf("%v", err)
			d.apply(xenbus.BackEvent{Kind: xenbus.BackFault})
		}
	}
	return nil
}

// A Request is one TPM command of one frontend.
type Request struct {
	Frontend Frontend
	UUID     UUID   // from our own directory, where only the toolstack writes
	Locality uint8  // as the frontend claims
	Command  []byte // a whole packet, valid until Respond or Drop

	Attachment Attachment // what the frontend's device is

	dev  *device
	ring *ring
}

// live reports whether the frontend still waits for this request.
func (r *Request) live() bool { return r.dev.ring == r.ring }

// Cancelled reports whether the command may be given up: the frontend has
// asked for that, or is gone.
func (r *Request) Cancelled() bool { return !r.live() || r.ring.tpm.CancelWanted() }

// Respond sends the response. One that does not fit, or is none, is replaced by
// a TPM error in the request's own dialect, and is an error here. After a
// disconnect the error is ErrDisconnected; nothing has to be undone.
func (r *Request) Respond(rsp []byte) error {
	return r.end(func() error { return r.ring.tpm.Respond(rsp) })
}

// Drop ends a request without a response; the frontend sees its command
// cancelled.
func (r *Request) Drop() error {
	return r.end(func() error { return r.ring.tpm.Drop() })
}

func (r *Request) end(f func() error) error {
	if !r.live() {
		return fmt.Errorf("%w: %v", ErrDisconnected, r.Frontend)
	}
	err := f()
	if !errors.Is(err, tpmif.ErrNotOpen) {
		r.ring.kicked = true // a cancel, or the next request, may be there already
		r.dev.notify(r.ring)
	}
	return err
}
