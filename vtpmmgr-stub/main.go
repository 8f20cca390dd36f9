//go:build tamago

// Vtpmmgr-stub is the manager domain of Xen vTPMs as a bare-metal image: it
// alone drives the hardware TPM, and keeps the keys of all vTPM domains sealed
// to it. Options: docs/operations.md.
package main

import (
	"crypto/rand"
	"time"

	"xenvtpm/board/xenpvh"
	"xenvtpm/drivers/tis"
	"xenvtpm/vtpmmgr-stub/app"
)

func main() {
	p, err := xenpvh.New()
	if err != nil {
		panic(err) // without a platform there is no way to end but this
	}
	reason := run(p)
	xenpvh.Logf("vtpmmgr: %v", reason)
	p.Shutdown(reason)
}

// run serves until the toolstack wants the domain to end, and returns how.
func run(p *xenpvh.Platform) xenpvh.Reason {
	xenpvh.Logf("vtpmmgr: starting in domain %d", p.Domain)
	options, err := app.ParseOptions(p.Options)
	if err != nil {
		xenpvh.Logf("vtpmmgr: %v; see docs/operations.md", err)
		return xenpvh.Crash
	}
	var a *app.App
	reason, asked := xenpvh.PowerOff, false
	if err := p.OnShutdown(func(r xenpvh.Reason) {
		reason, asked = r, true
		if a != nil {
			a.Stop()
		}
	}); err != nil {
		xenpvh.Logf("vtpmmgr: shutdown requests will not be seen: %v", err)
	}
	a, err = app.New(app.Config{Store: p.Store, Channels: p.Channels, Grants: p.Grants, Options: options,
		Rand: rand.Reader, Now: time.Now, Logf: func(format string, args ...any) { xenpvh.Logf("vtpmmgr: "+format, args...) },
		OpenTPM: func(idle func(), sleep func(time.Duration), logf func(string, ...any)) (app.TPM, error) {
			return tis.New(p.Registers(uintptr(options.TPMBase), xenpvh.TPMSize), tis.Config{
				Locality: options.TPMLocality, Now: p.Channels.Now, Sleep: sleep, Idle: idle, Logf: logf})
		}})
	if err != nil {
		xenpvh.Logf("vtpmmgr: %v", err)
		return xenpvh.Crash
	}
	if asked {
		a.Stop()
	}
	a.Run()
	xenpvh.Logf("vtpmmgr: %v", p.Memory())
	return reason
}
