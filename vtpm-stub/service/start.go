package service

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpm-stub/state"
	"xenvtpm/vtpm-stub/tpm2"
	"xenvtpm/vtpm-stub/tpmcrypto"
	"xenvtpm/vtpmmgr-stub/proto"
)

// minState is what a slot must hold: the largest permanent state that the
// engine can have.
const minState = 448 << 10

// StartConfig is what Start needs.
type StartConfig struct {
	Disk    state.Disk
	Manager *proto.Client // nil: OpenError says why
	Options Options
	Clock   func() int64 // monotonic milliseconds
	Entropy io.Reader
	Logf    func(string, ...any)

	// OpenError is why there is no disk or no manager; the TPM then runs in
	// failure mode.
	OpenError error

	// Transient reports whether an error of Disk or Manager may pass by itself.
	// Such an error of a save does not end the TPM. nil: none passes.
	Transient func(error) bool
}

// Start brings up the TPM: it finds the saved state, or makes a new TPM where
// there has never been one, and starts it. Whatever goes wrong leaves a service
// in failure mode, and Why says what it was; there is never a new TPM over an old
// one. Where the trouble was transient, another Start may succeed.
func Start(cfg StartConfig) *Service {
	s := New(nil, cfg.Options.Locality, cfg.Logf)
	s.clock, s.passing = cfg.Clock, cfg.Transient
	s.opening = true
	engine, err := s.open(cfg)
	s.opening = false
	if err != nil {
		s.lose(err)
		return s
	}
	s.engine, s.why = engine, nil
	return s
}

func (s *Service) open(cfg StartConfig) (Engine, error) {
	if cfg.OpenError != nil {
		return nil, cfg.OpenError
	}
	for _, a := range tpmcrypto.StartTests() {
		if err := tpmcrypto.SelfTest(a); err != nil {
			return nil, fmt.Errorf("%w: algorithm %#x", err, uint16(a))
		}
	}
	store, err := state.Open(state.Config{
		Disk: cfg.Disk, Keys: Keys{cfg.Manager}, Rand: cfg.Entropy, MinCapacity: minState, Logf: s.logf,
	})
	if err != nil {
		return nil, err
	}
	s.hold.keeper = store
	tpm, err := s.restore(cfg, store)
	if err != nil {
		return nil, err
	}
	resumed, err := s.powerUp(cfg, tpm, cfg.Options.Resume)
	if err != nil {
		return nil, errors.Join(err, s.why) // why a save of Startup's failed, if one did
	}
	s.guests.reset = cfg.Options.Reset
	s.guests.used, s.guests.resumed = resumed, resumed
	s.guests.cycle = func(capped bool) (Engine, error) {
		tpm.PowerOn()
		if _, err := s.powerUp(cfg, tpm, false); err != nil || !capped {
			return tpm, err
		}
		return tpm, tpm.CapPCRs()
	}
	if !cfg.Options.NoDeep {
		s.quoter = cfg.Manager
	}
	if cfg.Options.EKCerts != 0 {
		s.ek = &provisioner{want: cfg.Options.EKCerts, from: cfg.Manager, tpm: tpm, logf: s.logf}
	}
	return tpm, nil
}

// powerUp does what a platform and its firmware do with a TPM that has just got
// power: Startup, the first measurements unless it resumes, and the end of the
// platform's own use of it. A resume is for the start of the vTPM only: it is no
// guest's choice that it finds its PCRs again when it boots.
func (s *Service) powerUp(cfg StartConfig, tpm *tpm2.TPM, resume bool) (resumed bool, err error) {
	resumed, err = startup(tpm, resume, s.logf)
	if err != nil {
		return false, err
	}
	if mask := cfg.Options.HWPCRs; mask != 0 && !resumed {
		if err := copyHWPCRs(cfg.Manager, tpm, mask, s.logf); err != nil {
			return false, fmt.Errorf("option hwinitpcr: %w", err)
		}
	}
	if cfg.Options.OpenPlatform {
		return resumed, nil
	}
	return resumed, closePlatform(tpm, resumed)
}

// restore makes the engine from the saved state, or a new TPM.
func (s *Service) restore(cfg StartConfig, store *state.Store) (*tpm2.TPM, error) {
	ec := tpm2.Config{
		Clock: cfg.Clock, Entropy: cfg.Entropy, Persist: s.persist, Cancelled: s.Cancelled,
		Logf: s.logf, MaxCommand: MaxPacket, RSA1024: cfg.Options.RSA1024, Profile: cfg.Options.newProfile(),
	}
	if store.IsNew() {
		s.logf("service: no record at the manager and a blank disk: making a new TPM")
		return tpm2.New(ec)
	}
	blob := store.Blob()
	defer clear(blob)
	tpm, err := tpm2.Restore(ec, blob)
	if err == nil && cfg.Options.Profile != nil && tpm.Profile().Name() != cfg.Options.Profile.Name() {
		s.logf("service: the TPM keeps the profile it was made with, %s; profile= is for new ones", tpm.Profile().Name())
	}
	return tpm, err
}

// startup sends TPM2_Startup, as no firmware does it for a vTPM. A resume for
// which nothing was saved becomes a clear start, as firmware would do it.
func startup(tpm *tpm2.TPM, resume bool, logf func(string, ...any)) (resumed bool, err error) {
	if resume {
		rc := sendStartup(tpm, uint16(tpm2.TPM_SU_STATE))
		if rc == tpmwire.RCSuccess {
			return true, nil
		}
		logf("service: no saved state to resume (response code %#x), starting clear", rc)
		tpm.PowerOn()
	}
	if rc := sendStartup(tpm, uint16(tpm2.TPM_SU_CLEAR)); rc != tpmwire.RCSuccess {
		return false, fmt.Errorf("TPM2_Startup(CLEAR): response code %#x", rc)
	}
	return false, nil
}

func sendStartup(tpm *tpm2.TPM, kind uint16) uint32 {
	h := tpmwire.Header{Tag: tpmwire.TagNoSessions, Size: tpmwire.HeaderSize + 2, Code: uint32(tpm2.TPM_CC_Startup)}
	rsp := tpm.Execute(0, binary.BigEndian.AppendUint16(h.Append(nil), kind), nil)
	r, err := tpmwire.ParsePacket(rsp)
	if err != nil {
		return tpmwire.RCFailure
	}
	return r.Code
}
