package main

import (
	"crypto/rand"
	"fmt"
	"time"

	"xenvtpm/tools/vtpmd/server"
	"xenvtpm/vtpm-stub/tpm2"
)

// engine adapts the TPM 2.0 engine to the server.
type engine struct {
	*tpm2.TPM
	permanent func() []byte
}

// power returns the function that makes engines. The clock is the process's
// monotonic one; a suspended host does not advance a TPM's time.
func power(logf func(string, ...any), rsa1024 bool) server.Power {
	start := time.Now()
	return func(s server.Supply) (server.Engine, error) {
		saved := s.Permanent
		cfg := tpm2.Config{
			Clock:   func() int64 { return time.Since(start).Milliseconds() },
			Entropy: rand.Reader,
			Persist: func(blob []byte) error {
				if err := s.Persist(blob); err != nil {
					return err
				}
				saved = append(saved[:0:0], blob...)
				return nil
			},
			Cancelled:  s.Cancelled,
			Logf:       logf,
			RSA1024:    rsa1024,
			MaxCommand: s.MaxSize,
		}
		t, err := open(cfg, s.Permanent)
		if err != nil {
			return nil, err
		}
		if s.Volatile != nil {
			if err := t.LoadVolatile(s.Volatile); err != nil {
				return nil, fmt.Errorf("%w: %w", server.ErrVolatile, err)
			}
		}
		return &engine{t, func() []byte { return saved }}, nil
	}
}

func open(cfg tpm2.Config, permanent []byte) (*tpm2.TPM, error) {
	if permanent == nil {
		return tpm2.New(cfg)
	}
	return tpm2.Restore(cfg, permanent)
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

// Permanent returns what Persist last got: the engine saves before it answers,
// so nothing newer exists between commands.
func (e *engine) Permanent() ([]byte, error) { return e.permanent(), nil }
func (e *engine) Volatile() ([]byte, error)  { return e.SaveVolatile() }
