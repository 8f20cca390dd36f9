package service

import (
	"errors"
	"fmt"
)

// Reset says for whom the TPM is reset (option reset).
type Reset uint8

// Values of Reset.
const (
	ResetGuest     Reset = iota // for each boot; PCRs are capped where it may be a restore
	ResetAnnounced              // for each boot; PCRs are capped unless the toolstack says that it boots
	ResetAlways                 // for each boot; nobody saves guests here
	ResetNever                  // for nobody
)

func parseReset(s string) (Reset, error) {
	switch s {
	case "guest":
		return ResetGuest, nil
	case "announced":
		return ResetAnnounced, nil
	case "always":
		return ResetAlways, nil
	case "never":
		return ResetNever, nil
	}
	return 0, errors.New("use guest, announced, always or never")
}

// SetClosed tells the service how to learn whether an attachment's frontend has
// closed its device by itself. Without it none has.
func (s *Service) SetClosed(f func(id uint64) bool) { s.guests.closed = f }

// Detached tells the service that an attachment has ended, and whether its
// frontend had closed the device before.
func (s *Service) Detached(a Attachment, closed bool) { s.guests.leave(a, closed) }

// arrive is guests.arrive for the service's engine. It reports whether the
// request is to be served. A power cycle that the manager is needed for, who is
// away, is owed: nothing is served until it is done.
func (s *Service) arrive(r *Request) bool {
	if s.engine == nil {
		return true
	}
	e, refusal, err := s.guests.arrive(r.Attachment)
	switch {
	case refusal != "":
		s.once(r, fmt.Sprintf("this device is not served until the toolstack attaches it anew: %s", refusal))
	case err != nil && s.transient(err):
		s.owe(s.guests.again, err)
	case err != nil:
		s.lose(err)
	case e != nil:
		s.engine, s.hold.kept = e, nil
	}
	return refusal == "" && s.hold.owed == nil
}
