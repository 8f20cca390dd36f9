package main

import (
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"

	"xenvtpm/tools/vtpmd/options"
	"xenvtpm/tools/vtpmd/server"
	"xenvtpm/vtpm-stub/tpm2"
)

// engine adapts the TPM 2.0 engine to the server.
type engine struct {
	*tpm2.TPM
	permanent func() []byte
}

// source makes engines. The clock is the process's monotonic one; a suspended host
// does not advance a TPM's time.
type source struct {
	logf    func(string, ...any)
	start   time.Time
	rsa1024 bool
	profile *tpm2.Profile // of new TPMs
	chosen  bool          // by the command line
	// offered is what the TPM that was last powered on offers, before that what a new one would.
	offered atomic.Pointer[tpm2.Profile]
}

func newSource(logf func(string, ...any), profile *tpm2.Profile, o *options.Options) *source {
	s := &source{logf: logf, start: time.Now(), rsa1024: o.RSA1024, profile: profile, chosen: o.Profile != nil}
	s.offered.Store(profile)
	return s
}

// power is a server.Power.
func (src *source) power(s server.Supply) (server.Engine, error) {
	saved := s.Permanent
	cfg := tpm2.Config{
		Clock:   func() int64 { return time.Since(src.start).Milliseconds() },
		Entropy: rand.Reader,
		Persist: func(blob []byte) error {
			if err := s.Persist(blob); err != nil {
				return err
			}
			saved = append(saved[:0:0], blob...)
			return nil
		},
		Cancelled:  s.Cancelled,
		Logf:       src.logf,
		Profile:    src.profile,
		RSA1024:    src.rsa1024,
		MaxCommand: s.MaxSize,
	}
	t, err := src.open(cfg, s.Permanent)
	if err != nil {
		return nil, err
	}
	if s.Volatile != nil {
		if err := t.LoadVolatile(s.Volatile); err != nil {
			return nil, fmt.Errorf("%w: %w", server.ErrVolatile, err)
		}
	}
	src.offered.Store(t.Profile())
	return &engine{t, func() []byte { return saved }}, nil
}

// open makes the TPM of a state, or a new one where there is none.
func (src *source) open(cfg tpm2.Config, permanent []byte) (*tpm2.TPM, error) {
	if permanent == nil {
		return tpm2.New(cfg)
	}
	t, err := tpm2.Restore(cfg, permanent)
	if err == nil && src.chosen && t.Profile().Name() != src.profile.Name() {
		src.logf("the TPM keeps the profile it was made with, %s; --profile is for new ones", t.Profile().Name())
	}
	return t, err
}

func (e *engine) HashStart() error           { e.TPM.HashStart(); return nil }
func (e *engine) HashData(data []byte) error { e.TPM.HashData(data); return nil }
func (e *engine) HashEnd() error             { e.TPM.HashEnd(); return nil }

func (e *engine) ResetEstablished(locality uint8) error {
	if rc := e.TPM.ResetEstablished(locality); rc != 0 {
		return fmt.Errorf("TPM response code 0x%x", uint32(rc))
	}
	return nil
}

// Permanent returns what Persist last got: the engine saves before it answers. What is newer
// between commands, the data of orderly NV indices, is in the volatile state.
func (e *engine) Permanent() ([]byte, error) { return e.permanent(), nil }
func (e *engine) Volatile() ([]byte, error)  { return e.SaveVolatile() }
