package xenstore

import (
	"bytes"
	"errors"
	"strconv"

	"xenvtpm/board/xen/abi"
)

// maxQueued bounds the events that wait for Dispatch. When it is reached,
// further events only mark their watch, which then fires once for its own path.
const maxQueued = 256

// A Watch is a registered watch.
type Watch struct {
	c      *Client
	path   string
	token  string
	f      func(path string)
	closed bool
	missed bool // events were dropped: fire once for path
}

type event struct{ token, path string }

// Watch calls f from Dispatch, once soon (the server fires every new watch)
// and then whenever path or a node below it changes. f gets the node that
// changed, in the form (absolute or relative) of path. When events come faster
// than they are dispatched, f is called with path itself: look at everything.
func (c *Client) Watch(path string, f func(path string)) (*Watch, error) {
	if err := checkWatchPath(path); err != nil {
		return nil, err
	}
	c.lastToken++
	w := &Watch{c: c, path: path, token: strconv.FormatUint(c.lastToken, 36), f: f}
	c.watches[w.token] = w // before the request: the first event may beat the answer
	if _, err := c.request("watch", path, abi.XS_WATCH, 0, pathAndToken(w)); err != nil {
		w.closed = true
		delete(c.watches, w.token)
		return nil, err
	}
	return w, nil
}

// Path is the path that the watch was registered with.
func (w *Watch) Path() string { return w.path }

// Close ends the watch. Its callback does not run again, even for events that
// had arrived and even if an error is returned.
func (w *Watch) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	delete(w.c.watches, w.token)
	_, err := w.c.request("unwatch", w.path, abi.XS_UNWATCH, 0, pathAndToken(w))
	if errors.Is(err, ErrNotExist) {
		return nil // the server dropped it already
	}
	return err
}

func pathAndToken(w *Watch) []byte { return []byte(w.path + "\x00" + w.token + "\x00") }

// enqueue keeps an event for Dispatch. Two equal events that both wait are
// one: the callback looks at the store as it is when it runs.
func (c *Client) enqueue(payload []byte) {
	path, rest, ok := bytes.Cut(payload, []byte{0})
	token, _, ok2 := bytes.Cut(rest, []byte{0})
	if !ok || !ok2 {
		c.cfg.Logf("xenstore: dropping a malformed watch event of %d bytes", len(payload))
		return
	}
	e := event{token: string(token), path: string(path)}
	w := c.watches[e.token]
	if w == nil || c.queued[e] {
		return // an event of a watch that was closed, or one that waits already
	}
	if len(c.queue) >= maxQueued {
		w.missed = true
		return
	}
	c.queue = append(c.queue, e)
	c.queued[e] = true
}

// Dispatch reads what has arrived and runs the callbacks of the watch events.
// It does not block for new ones. Callbacks run only here, never inside
// another call; they may use the Client, but a Dispatch inside a callback or
// inside Idle does nothing. Events that arrive while callbacks run are kept for
// the next Dispatch, and Transport.Rearm sees to it that it comes soon.
//
// The only error is a lost connection, which is permanent.
func (c *Client) Dispatch() error {
	if c.dispatching || c.idling {
		return c.err
	}
	if err := c.pump(); err != nil {
		return err
	}
	c.dispatching = true
	defer func() { c.dispatching = false }()
	batch := c.queue
	c.queue = nil
	missed := c.takeMissed()
	for _, e := range batch {
		delete(c.queued, e) // from here on it may be queued again
		if w := c.watches[e.token]; w != nil {
			w.f(e.path)
		}
	}
	for _, w := range missed {
		if !w.closed {
			w.f(w.path)
		}
	}
	if c.Pending() {
		c.cfg.Transport.Rearm()
	}
	return c.err
}

func (c *Client) takeMissed() []*Watch {
	var list []*Watch
	for _, w := range c.watches {
		if w.missed {
			w.missed = false
			list = append(list, w)
			c.cfg.Logf("xenstore: too many events, watch on %s fires as a whole", w.path)
		}
	}
	return list
}

// Pending reports whether events wait for Dispatch.
func (c *Client) Pending() bool {
	if len(c.queue) > 0 {
		return true
	}
	for _, w := range c.watches {
		if w.missed {
			return true
		}
	}
	return false
}
