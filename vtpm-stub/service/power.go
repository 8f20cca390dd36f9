package service

import (
	"fmt"
	"slices"
)

// guests keeps account of whose TPM this is. A domain that boots expects a TPM
// that was reset with it; that its memory is gone is nothing that the TPM
// notices by itself.
type guests struct {
	never bool                     // reset=never
	users []uint16                 // domains that have used the TPM since it was powered on
	here  func(domain uint16) bool // still attached? nil: all are
	cycle func() (Engine, error)   // power off and on
	logf  func(f string, a ...any)
}

// arrive is called before a command of a domain. It power-cycles the TPM when
// the domain is new and nobody of those who used the TPM before is attached any
// more: then another guest, or the same one after a reboot, has taken over. A
// domain that comes while another is still there shares the TPM with it, such
// as a guest whose builder measured its kernel.
func (g *guests) arrive(domain uint16) (Engine, error) {
	if slices.Contains(g.users, domain) {
		return nil, nil
	}
	before := len(g.users)
	g.users = slices.DeleteFunc(g.users, func(d uint16) bool { return g.here != nil && !g.here(d) })
	alone := len(g.users) == 0
	g.users = append(g.users, domain)
	if before == 0 || !alone || g.never || g.cycle == nil {
		return nil, nil
	}
	g.logf("service: domain %d took over the TPM: power cycle", domain)
	e, err := g.cycle()
	if err != nil {
		return nil, fmt.Errorf("power cycle for domain %d: %w", domain, err)
	}
	return e, nil
}

// SetAttached tells the service how to learn whether a domain's device is
// connected. Without it every domain counts as attached.
func (s *Service) SetAttached(f func(domain uint16) bool) { s.guests.here = f }

// arrive is guests.arrive for the service's engine.
func (s *Service) arrive(domain uint16) {
	if s.engine == nil {
		return
	}
	e, err := s.guests.arrive(domain)
	switch {
	case err != nil:
		s.logf("service: FAILURE MODE, guests get TPM_RC_FAILURE: %v", err)
		s.engine = nil
	case e != nil:
		s.engine = e
	}
}
