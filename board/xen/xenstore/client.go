// Package xenstore is a xenstore client: packets, requests, transactions and
// watches, over the shared ring or any other Transport.
//
// Protocol: Xen's docs/misc/xenstore.txt and io/xs_wire.h. The server is part of
// the toolstack and can do worse than lie, but what it passes on (values, names
// and the rate of watch events) comes from other guests: every length is
// bounded, queues are bounded, and a malformed message is an error. Nothing
// waits longer than the time limit.
//
// Deliberately missing: everything that only a toolstack sends (introduce,
// release, control, quotas), and reconnection.
package xenstore

import (
	"fmt"
	"time"

	"xenvtpm/board/xen/abi"
)

// Transport carries xenstore's byte stream. Send and Receive never block.
type Transport interface {
	// Send queues some or all of p and returns how much.
	Send(p []byte) (int, error)
	// Receive moves bytes that have arrived to p and returns how many.
	Receive(p []byte) (int, error)
	// Wait blocks until Send or Receive may get further, or until the deadline;
	// with all set, until any event of the domain.
	Wait(deadline int64, all bool)
	// Rearm makes the next wait for any event return at once, because there is
	// work left that has arrived already.
	Rearm()
	// Nudge tells the server again to look, in case it missed that.
	Nudge() error
	// Now is monotonic nanoseconds.
	Now() int64
}

// Config is what New needs.
type Config struct {
	Transport Transport

	// Timeout is how long one request may take; 0 means DefaultTimeout.
	Timeout time.Duration
	// Idle, if not nil, runs while a request waits, so that others can be
	// served. It may use the Client, but Dispatch does nothing inside it.
	Idle func()
	// Logf, if not nil, gets one line for each thing that was survived.
	Logf func(format string, args ...any)
}

// DefaultTimeout is ample: xenstored answers in well under a second even on a
// loaded host, and libxl itself gives a device 10 s.
const DefaultTimeout = 10 * time.Second

// nudgeAfter is how long an answer may take before the server is told again
// to look at its ring, and before we look at ours without an event: one event
// that is lost on either way costs this long, not the request.
const nudgeAfter = int64(time.Second)

// maxBacklog bounds what is kept for a server that does not read.
const maxBacklog = 64 << 10

// A Client is a connection to xenstore. One goroutine uses it at a time.
type Client struct {
	cfg    Config
	parser Parser
	err    error // the connection is useless; sticky

	out     []byte // accepted, not yet sent
	lastID  uint32
	waiting map[uint32]*call
	idling  bool

	watches     map[string]*Watch // by token
	lastToken   uint64
	queue       []event
	queued      map[event]bool
	dispatching bool
}

// call is a request that waits for its answer.
type call struct {
	done  bool
	reply Packet
}

// New makes a client. It sends nothing yet.
func New(cfg Config) *Client {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	return &Client{
		cfg:     cfg,
		waiting: make(map[uint32]*call),
		watches: make(map[string]*Watch),
		queued:  make(map[event]bool),
	}
}

// SetIdle replaces Config.Idle, for callers that come to life after the client.
func (c *Client) SetIdle(f func()) { c.cfg.Idle = f }

// request sends one message and waits for its answer. op and path are for
// errors only.
func (c *Client) request(op, path string, typ, tx uint32, payload []byte) ([]byte, error) {
	if c.err != nil {
		return nil, c.err
	}
	if len(payload) > abi.XENSTORE_PAYLOAD_MAX {
		return nil, fmt.Errorf("xenstore: %s %s: %w: %d bytes", op, path, ErrTooLong, len(payload))
	}
	if len(c.out) > maxBacklog {
		return nil, fmt.Errorf("xenstore: %s %s: %w: the server does not read", op, path, ErrTimeout)
	}
	c.lastID++
	id, answer := c.lastID, new(call)
	c.waiting[id] = answer
	defer delete(c.waiting, id) // a late answer finds nobody and is dropped
	c.out = Packet{Type: typ, ReqID: id, TxID: tx, Payload: payload}.Append(c.out)
	err := c.await(answer)
	if c.Pending() {
		c.cfg.Transport.Rearm() // events came with the answer; Dispatch must be called
	}
	if err != nil {
		return nil, fmt.Errorf("xenstore: %s %s: %w", op, path, err)
	}
	switch answer.reply.Type {
	case typ:
		return answer.reply.Payload, nil
	case abi.XS_ERROR:
		return nil, serverError(op, path, answer.reply.Payload)
	}
	return nil, fmt.Errorf("xenstore: %s %s: %w: answer of type %d to a request of type %d", op, path, ErrCorrupt, answer.reply.Type, typ)
}

// await moves bytes until the answer is there or time is up.
func (c *Client) await(answer *call) error {
	now := c.cfg.Transport.Now()
	deadline, nudge := now+int64(c.cfg.Timeout), now+nudgeAfter
	for {
		if err := c.pump(); err != nil {
			return err
		}
		if answer.done {
			return nil
		}
		now = c.cfg.Transport.Now()
		if now >= deadline {
			return ErrTimeout
		}
		if now >= nudge {
			nudge = now + nudgeAfter
			if err := c.cfg.Transport.Nudge(); err != nil {
				return c.fail(err)
			}
		}
		idle := c.idle()
		if answer.done {
			return nil
		}
		c.cfg.Transport.Wait(min(deadline, nudge), idle)
	}
}

// idle serves others for a moment, unless it is they who wait here.
func (c *Client) idle() bool {
	if c.cfg.Idle == nil || c.idling {
		return false
	}
	c.idling = true
	defer func() { c.idling = false }()
	c.cfg.Idle()
	return true
}

// pump sends and receives what it can without blocking.
func (c *Client) pump() error {
	if c.err != nil {
		return c.err
	}
	for len(c.out) > 0 {
		n, err := c.cfg.Transport.Send(c.out)
		if err != nil {
			return c.fail(err)
		}
		if n == 0 {
			break
		}
		c.out = c.out[n:]
	}
	if len(c.out) == 0 {
		c.out = nil
	}
	return c.receive()
}

func (c *Client) receive() error {
	var buf [abi.XenstoreRingSize]byte
	for {
		n, err := c.cfg.Transport.Receive(buf[:])
		if err != nil {
			return c.fail(err)
		}
		if n == 0 {
			return nil
		}
		for b := buf[:n]; len(b) > 0; {
			used, pkt, ok, err := c.parser.Feed(b)
			if err != nil {
				return c.fail(err)
			}
			if ok {
				c.take(pkt)
			}
			b = b[used:]
		}
	}
}

// fail makes an error of the connection permanent.
func (c *Client) fail(err error) error {
	c.err = err
	c.cfg.Logf("xenstore: connection lost: %v", err)
	return err
}

// take routes one packet.
func (c *Client) take(pkt Packet) {
	if pkt.Type == abi.XS_WATCH_EVENT {
		c.enqueue(pkt.Payload)
		return
	}
	if answer, ok := c.waiting[pkt.ReqID]; ok && !answer.done {
		answer.reply, answer.done = pkt, true
		return
	}
	c.cfg.Logf("xenstore: dropping an answer that nobody waits for (type %d, request %d)", pkt.Type, pkt.ReqID)
}
