package hwtpm

import (
	"bytes"
	"errors"

	"github.com/google/go-tpm/tpm2"
)

// kept is what stays loaded from one signature to the next: deriving the storage
// primary and loading a key take a chip longer than the signature. Rest unloads
// it, and so does whatever else needs room.
type kept struct {
	srk    *primary
	public []byte // of key
	key    tpm2.NamedHandle
}

// withKey lends a loaded key and the storage primary to f, and leaves both
// loaded. The TPM is shared: somebody may have unloaded them since, or put
// something else in their place, so that f is tried again with what is loaded
// anew. f sends one authorised command, which a wrong handle makes fail.
func (t *TPM) withKey(public, private []byte, f func(*primary, tpm2.NamedHandle) error) error {
	for {
		fresh, err := t.keep(public, private)
		if err == nil {
			err = f(t.kept.srk, t.kept.key)
		}
		if err == nil {
			return nil
		}
		t.Rest()
		var rc tpm2.TPMRC
		if fresh || !errors.As(err, &rc) {
			return err
		}
	}
}

// keep has a key loaded, and reports whether that took loading anything.
func (t *TPM) keep(public, private []byte) (fresh bool, err error) {
	if t.kept.srk == nil {
		if t.kept.srk, err = t.loadPrimary(); err != nil {
			return true, err
		}
	}
	if bytes.Equal(t.kept.public, public) {
		return false, nil
	}
	t.unloadKey()
	if t.kept.key, err = t.load(t.kept.srk, public, private); err != nil {
		return true, err
	}
	t.kept.public = bytes.Clone(public)
	return true, nil
}

// Rest unloads what was left loaded for a next signature.
func (t *TPM) Rest() {
	t.unloadKey()
	if t.kept.srk != nil {
		t.unloadPrimary(t.kept.srk)
		t.kept.srk = nil
	}
}

func (t *TPM) unloadKey() {
	if t.kept.public != nil {
		t.flush(t.kept.key.Handle)
		t.kept.public = nil
	}
}
