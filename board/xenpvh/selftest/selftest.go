//go:build tamago

// Package selftest is what the smoke kernels share: a test is a function that
// returns an error, and the console gets SUCCESS or FAIL with the reason. The
// domain then powers off, or crashes, so that the result shows in xl list, too.
package selftest

import (
	"fmt"

	"xenvtpm/board/xenpvh"
)

// Run sets the platform up, runs one test and ends the domain.
func Run(name string, test func(p *xenpvh.Platform) error) {
	p, err := xenpvh.New()
	if err == nil {
		xenpvh.Logf("%s: domain %d, %v", name, p.Domain, p.Memory())
		err = test(p)
	}
	if err != nil {
		fmt.Printf("FAIL: %s: %v\n", name, err)
		p.Shutdown(xenpvh.Crash)
	}
	xenpvh.Logf("%s: %v", name, p.Memory())
	fmt.Println("SUCCESS")
	p.Shutdown(xenpvh.PowerOff)
}

// Equal is an error unless got is want.
func Equal[T comparable](what string, got, want T) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%s is %v, not %v", what, got, want)
}
