package hwtpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// counterState is the open rollback counter.
type counterState struct {
	index   *nvIndex
	session tpm2.Session
	close   func() error
	auth    []byte
}

// AuthSize is the size of the counter's authorisation, in bytes.
const AuthSize = 32

// MakeCounter defines the rollback counter with a new authorisation, sets it to
// its first value and leaves it open. A counter of a store that was never
// finished is replaced. The caller seals auth.
func (t *TPM) MakeCounter(auth []byte) (value uint64, err error) {
	defer t.done(&err)
	old, err := t.readIndex(t.c.Index + 1)
	if err != nil {
		return 0, err
	}
	if old != nil {
		if !sameAttrs(old.public.Attributes, counterAttrs) || old.public.DataSize != 8 {
			return 0, fmt.Errorf("%w: 0x%08x", ErrIndexInUse, t.c.Index+1)
		}
		if err := t.undefineIndex(old); err != nil {
			return 0, err
		}
	}
	if err := t.defineIndex(t.c.Index+1, auth, counterAttrs, 8); err != nil {
		return 0, err
	}
	if err := t.openCounter(auth); err != nil {
		return 0, err
	}
	if err := t.Increment(); err != nil {
		return 0, err
	}
	return t.OpenCounter(auth)
}

// OpenCounter finds the counter and returns its value. Errors:
// ErrCounterMissing, ErrCounterReplaced.
func (t *TPM) OpenCounter(auth []byte) (value uint64, err error) {
	defer t.done(&err)
	if err := t.openCounter(auth); err != nil {
		return 0, err
	}
	return t.Counter()
}

func (t *TPM) openCounter(auth []byte) error {
	t.dropCounterSession()
	n, err := t.readIndex(t.c.Index + 1)
	if err != nil {
		return err
	}
	if n == nil {
		return ErrCounterMissing
	}
	if !sameAttrs(n.public.Attributes, counterAttrs) || n.public.DataSize != 8 {
		return fmt.Errorf("%w: NV index 0x%08x has other attributes", ErrCounterReplaced, t.c.Index+1)
	}
	t.counter = counterState{index: n, auth: bytes.Clone(auth)}
	return t.newCounterSession()
}

// newCounterSession opens the salted session that stays.
func (t *TPM) newCounterSession() error {
	return t.withPrimary(func(p *primary) error {
		var err error
		t.counter.session, t.counter.close, err = tpm2.HMACSession(t.t, tpm2.TPMAlgSHA256, 16,
			tpm2.Auth(t.counter.auth), tpm2.Salted(p.handle, p.public))
		if err != nil {
			return classify("open counter session", err)
		}
		return nil
	})
}

func (t *TPM) dropCounterSession() {
	if t.counter.close != nil {
		_ = t.counter.close() // it may be gone already, which is why it is dropped
	}
	t.counter.session, t.counter.close = nil, nil
}

// withCounter runs a counter command in the session that is open, and once more
// in a new one if the TPM no longer knows that session, or no longer agrees on
// its nonces: somebody flushed it, or an answer was lost. The index has no
// dictionary-attack protection, so a second attempt costs nothing.
func (t *TPM) withCounter(what string, f func(auth tpm2.AuthHandle) error) error {
	for again := false; ; again = true {
		if t.counter.index == nil {
			return ErrCounterMissing
		}
		fresh := t.counter.session == nil
		if fresh {
			if err := t.newCounterSession(); err != nil {
				return err
			}
		}
		n := t.counter.index
		err := f(tpm2.AuthHandle{Handle: n.handle, Name: n.name, Auth: t.counter.session})
		if err == nil {
			return nil
		}
		t.dropCounterSession() // whatever it was: the nonces may have moved
		auth := errors.Is(err, tpm2.TPMRCAuthFail) || errors.Is(err, tpm2.TPMRCBadAuth)
		switch {
		case (auth || sessionLost(err)) && !fresh && !again:
		case auth:
			return fmt.Errorf("%s: %w", what, ErrCounterReplaced)
		case errors.Is(err, tpm2.TPMRCHandle):
			return fmt.Errorf("%s: %w", what, ErrCounterMissing)
		default:
			return classify(what, err)
		}
	}
}

// sessionLost: TPM_RC_REFERENCE_S0 and its siblings, or TPM_RC_VALUE for the
// session's handle, say that somebody flushed or evicted it.
func sessionLost(err error) bool {
	var rc tpm2.TPMRC
	if !errors.As(err, &rc) {
		return false
	}
	return rc >= tpm2.TPMRCReferenceS0 && rc <= tpm2.TPMRCReferenceS6 || errors.Is(err, tpm2.TPMRCValue)
}

// Counter reads the open counter's value.
func (t *TPM) Counter() (value uint64, err error) {
	defer t.done(&err)
	err = t.withCounter("read rollback counter", func(a tpm2.AuthHandle) error {
		rsp, err := tpm2.NVRead{AuthHandle: a, NVIndex: t.counter.index.named(), Size: 8}.Execute(t.t)
		if err != nil {
			return err
		}
		if len(rsp.Data.Buffer) != 8 {
			return fmt.Errorf("%w: counter of %d bytes", ErrMalformed, len(rsp.Data.Buffer))
		}
		value = binary.BigEndian.Uint64(rsp.Data.Buffer)
		return nil
	})
	return value, err
}

// Increment adds one to the open counter. On an error the counter may or may
// not have moved; Counter tells.
func (t *TPM) Increment() (err error) {
	defer t.done(&err)
	first := t.counter.index != nil && !t.counter.index.public.Attributes.Written
	err = t.withCounter("increment rollback counter", func(a tpm2.AuthHandle) error {
		_, err := tpm2.NVIncrement{AuthHandle: a, NVIndex: t.counter.index.named()}.Execute(t.t)
		return err
	})
	if err != nil || !first {
		return err
	}
	n, err := t.readIndex(t.c.Index + 1) // the Name has changed with TPMA_NV_WRITTEN
	if err != nil || n == nil {
		return fmt.Errorf("%w: %v", ErrCounterMissing, err)
	}
	t.counter.index = n
	return nil
}
