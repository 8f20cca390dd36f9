//go:build tamago

// Shutdown waits for xl shutdown or xl reboot and does as it is told. It says
// "ready" when it listens, and sleeps without using the processor until then.
package main

import (
	"errors"
	"fmt"

	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
)

func main() { selftest.Run("shutdown", test) }

func test(p *xenpvh.Platform) error {
	var asked *xenpvh.Reason
	if err := p.OnShutdown(func(r xenpvh.Reason) { asked = &r }); err != nil {
		return err
	}
	fmt.Println("ready")
	for end := p.Channels.Now() + 60e9; asked == nil; {
		if p.Channels.Now() > end {
			return errors.New("nobody asked within 60 s")
		}
		p.Channels.Wait(end)
		if err := p.Store.Dispatch(); err != nil {
			return err
		}
	}
	fmt.Println("asked to", *asked)
	if *asked != xenpvh.PowerOff {
		p.Shutdown(*asked)
	}
	return nil
}
