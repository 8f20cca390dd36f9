//go:build tamago

// Command vtpm-stub is the vTPM domain's image: a software TPM behind a Xen
// vTPM backend, its state on a disk and its key at the manager. See package
// app for what it does and package service for its options.
package main

import (
	"fmt"
	"os"

	"xenvtpm/board/xenpvh"
	"xenvtpm/vtpm-stub/app"
)

func main() {
	p, err := xenpvh.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vtpm-stub:", err)
		os.Exit(1) // the domain crashes, which xl list shows
	}
	if err := run(p); err != nil {
		xenpvh.Logf("vtpm-stub: %v", err)
		p.Shutdown(xenpvh.Crash)
	}
}

func run(p *xenpvh.Platform) error {
	xenpvh.Logf("vtpm-stub: domain %d, %q", p.Domain, p.Start.Cmdline)
	a, err := app.New(app.Config{
		Store: p.Store, Channels: p.Channels, Grants: p.Grants,
		Options: p.Options, Logf: xenpvh.Logf,
		Report: func() string { return p.Memory().String() },
	})
	if err != nil {
		return err
	}
	reason := xenpvh.PowerOff
	err = p.OnShutdown(func(r xenpvh.Reason) {
		xenpvh.Logf("vtpm-stub: %v", r)
		reason = r
		a.Stop()
	})
	if err != nil {
		return err
	}
	if err := a.Run(); err != nil {
		return err
	}
	p.Shutdown(reason)
	return nil
}
