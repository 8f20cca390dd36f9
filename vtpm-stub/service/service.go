// Package service answers the TPM packets of a vTPM's guests: TPM 2.0 commands
// go to the engine, the few TPM 1.2 commands that stock Linux sends to a vTPM
// are answered here, and everything else gets the error its dialect has for
// it. It also brings the TPM up from its saved state, and into failure mode
// when that cannot be had.
//
// Specifications: TPM 2.0 Library Part 1 (12.4, failure mode) and Part 3 (5,
// command processing); TPM Main 1.2 Part 2 (structures) and Part 3 (commands).
//
// Threat model: a guest chooses every byte of a packet, its locality and its
// timing. It may fill its own TPM and use it as it likes; it cannot reach the
// manager, nor another guest's packets.
package service

import (
	"fmt"

	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpm-stub/tpmcrypto"
)

// MaxPacket is the largest command or response: a tpmif page less its header.
const MaxPacket = 4088

// Engine is what the service needs of a TPM 2.0; *tpm2.TPM has it.
type Engine interface {
	// Execute runs a command; there is always a well-formed response.
	Execute(locality uint8, cmd, rspBuf []byte) []byte
	// ReadPCR returns a PCR, nil when the bank has no such PCR.
	ReadPCR(bank tpmcrypto.Alg, n int) []byte
	// ExtendPCRs extends PCR n of every bank with a zero-padded SHA-1 digest.
	ExtendPCRs(locality uint8, n int, digest []byte) error
	// Random fills p.
	Random(p []byte) error
	// Failed reports failure mode.
	Failed() bool
}

// Request is one packet of one guest.
type Request struct {
	From       string // for the log
	Attachment Attachment
	Locality   uint8 // as the guest claims
	Command    []byte
	Cancelled  func() bool // may be nil
}

// Service serves one TPM. One goroutine uses it at a time.
type Service struct {
	engine   Engine // nil: there is none
	locality LocalityPolicy
	guests   guests
	quoter   Quoter       // nil: no deep quotes
	ek       *provisioner // nil: nothing left to do
	logf     func(string, ...any)
	now      *Request // being served
	count    uint64
	refused  map[string]bool // what was logged, so that a guest cannot flood
	buf      []byte

	hold    hold
	opening bool             // being brought up: what fails is tried again as a whole
	passing func(error) bool // the trouble may pass; nil: none does
	why     error            // why there is no engine, or what a save failed with last
	clock   func() int64     // ms; may be nil
}

// New makes a service over an engine that has been started. A nil engine
// serves in failure mode; the caller has logged why.
func New(engine Engine, locality LocalityPolicy, logf func(string, ...any)) *Service {
	if logf == nil {
		logf = func(string, ...any) {}
	}
	return &Service{
		engine: engine, locality: locality, logf: logf, guests: newGuests(logf),
		refused: make(map[string]bool), buf: make([]byte, MaxPacket),
	}
}

// Failed reports whether the TPM is in failure mode.
func (s *Service) Failed() bool { return s.engine == nil || s.engine.Failed() }

// Count returns how many packets have been answered.
func (s *Service) Count() uint64 { return s.count }

// Cancelled reports whether the guest that is being served wants its command
// dropped. The engine asks during long commands.
func (s *Service) Cancelled() bool {
	return s.now != nil && s.now.Cancelled != nil && s.now.Cancelled()
}

// Handle answers one packet. The answer is always a well-formed one of at most
// MaxPacket bytes, and valid until the next call; or nil when it must wait: see
// Held and Kept.
func (s *Service) Handle(r *Request) []byte {
	if rsp := s.repeated(r); rsp != nil {
		return rsp
	}
	rsp := s.handle(r)
	switch {
	case !s.hold.on:
		return rsp
	case s.hold.owed == nil:
		s.withhold(r, rsp)
	}
	return nil
}

func (s *Service) handle(r *Request) []byte {
	s.now = r
	defer func() { s.now = nil }()
	s.count++
	h, err := tpmwire.ParsePacket(r.Command)
	if err != nil || len(r.Command) > MaxPacket {
		return tpmwire.ErrorResponse(h.Tag, tpmwire.FaultSize)
	}
	family := h.Tag.RequestFamily()
	if (family == tpmwire.Family20 || family == tpmwire.Family12) && !s.locality.Allows(r.Attachment.UUID, r.Locality) {
		s.once(r, fmt.Sprintf("locality %d is not allowed", r.Locality))
		return localityError(family)
	}
	if (family == tpmwire.Family20 || family == tpmwire.Family12) && !s.arrive(r) {
		return tpmwire.ErrorResponse(h.Tag, tpmwire.FaultFailure)
	}
	switch family {
	case tpmwire.Family20:
		return s.tpm20(h, r)
	case tpmwire.Family12:
		return s.tpm12(h, r)
	case tpmwire.FamilyManager:
		// Xen's vTPM passes these on to the manager, and thereby makes every
		// guest the manager's client.
		s.once(r, "packets for the manager are refused")
		return tpmwire.ErrorResponse(h.Tag, tpmwire.FaultTag)
	}
	return tpmwire.ErrorResponse(h.Tag, tpmwire.FaultTag)
}

func (s *Service) tpm20(h tpmwire.Header, r *Request) []byte {
	if s.engine == nil {
		return failed20(s.buf[:0], h, r.Command[tpmwire.HeaderSize:])
	}
	if h.Code == CCDeepQuote && s.quoter != nil && !s.engine.Failed() {
		return s.deepQuote(h, r)
	}
	rsp := s.engine.Execute(r.Locality, r.Command, s.buf)
	if len(rsp) < tpmwire.HeaderSize || len(rsp) > MaxPacket {
		s.logf("service: internal error: the engine's response has %d bytes", len(rsp))
		return tpmwire.ErrorResponse(h.Tag, tpmwire.FaultFailure)
	}
	return rsp
}

func localityError(f tpmwire.Family) []byte {
	if f == tpmwire.Family12 {
		return respond12(nil, result12BadLocality)
	}
	h := tpmwire.Header{Tag: tpmwire.TagNoSessions, Size: tpmwire.HeaderSize, Code: tpmwire.RCLocality}
	return h.Append(nil)
}

// maxRefusals bounds the memory of refusals that were logged.
const maxRefusals = 64

// once logs the first refusal of each kind for each guest.
func (s *Service) once(r *Request, what string) {
	key := r.From + ": " + what
	if !s.refused[key] && len(s.refused) < maxRefusals {
		s.refused[key] = true
		s.logf("service: %s", key)
	}
}
