//go:build tamago

// Evtchn tests event channels against themselves: a domain may bind to a port
// of its own.
package main

import (
	"errors"
	"fmt"
	"time"

	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
)

func main() { selftest.Run("evtchn", test) }

// pair is two ends of a channel from us to us.
type pair struct{ a, b evtchn.Port }

func open(p *xenpvh.Platform) (pair, error) {
	a, err := p.Channels.AllocUnbound(p.Domain)
	if err != nil {
		return pair{}, err
	}
	b, err := p.Channels.BindInterdomain(p.Domain, a)
	if err != nil {
		return pair{}, err
	}
	p.Channels.TestClear(b) // starts pending
	return pair{a, b}, nil
}

func test(p *xenpvh.Platform) error {
	first, err := open(p)
	if err != nil {
		return err
	}
	return errors.Join(
		delivery(p.Channels, first),
		timeouts(p.Channels),
		many(p, 200),
		closed(p.Channels, first),
	)
}

// delivery sends both ways and expects each event once, at its port.
func delivery(ch evtchn.Channels, c pair) error {
	for _, d := range []struct{ from, to evtchn.Port }{{c.a, c.b}, {c.b, c.a}} {
		if ch.TestClear(d.to) {
			return fmt.Errorf("port %d is pending before anything was sent", d.to)
		}
		if err := ch.Notify(d.from); err != nil {
			return err
		}
		ch.WaitPort(d.to, ch.Now()+1e9)
		if !ch.TestClear(d.to) {
			return fmt.Errorf("an event from port %d did not arrive at %d", d.from, d.to)
		}
		if ch.TestClear(d.to) || ch.TestClear(d.from) {
			return errors.New("one event was seen twice")
		}
	}
	return nil
}

// timeouts expects Wait to last as long as it is told, and not to burn time.
func timeouts(ch evtchn.Channels) error {
	start := ch.Now()
	const wait = int64(200 * time.Millisecond)
	ch.Wait(start + wait)
	took := ch.Now() - start
	fmt.Printf("Wait of %d us took %d us\n", wait/1e3, took/1e3)
	if took < wait || took > 5*wait {
		return fmt.Errorf("Wait of %d ns took %d ns", wait, took)
	}
	return nil
}

// many opens more ports than one SCHEDOP_poll takes and expects Wait to see an
// event at each of them, well before its deadline.
func many(p *xenpvh.Platform, n int) error {
	var all []pair
	for range n {
		c, err := open(p)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	ch := p.Channels
	start := ch.Now()
	for i, c := range all {
		if err := ch.Notify(c.a); err != nil {
			return err
		}
		ch.Wait(ch.Now() + 1e9)
		if !ch.TestClear(c.b) {
			return fmt.Errorf("channel %d of %d: the event was missed", i, n)
		}
	}
	fmt.Printf("%d events over %d ports in %d us\n", n, 2*n, (ch.Now()-start)/1e3)
	for _, c := range all {
		if err := errors.Join(ch.Close(c.b), ch.Close(c.a)); err != nil {
			return err
		}
	}
	return nil
}

func closed(ch evtchn.Channels, c pair) error {
	if err := ch.Close(c.a); err != nil {
		return err
	}
	if err := ch.Notify(c.b); err != nil {
		return fmt.Errorf("notifying a port whose other end is gone: %w", err)
	}
	if err := ch.Notify(c.a); !errors.Is(err, evtchn.ErrBadPort) {
		return fmt.Errorf("notifying a closed port gives %v", err)
	}
	return ch.Close(c.b)
}
