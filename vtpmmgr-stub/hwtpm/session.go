package hwtpm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// primary is the storage primary, loaded.
type primary struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public tpm2.TPMTPublic
}

func (p *primary) named(auth tpm2.Session) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: p.handle, Name: p.name, Auth: auth}
}

// withPrimary derives the storage primary (the TCG reference template of an ECC
// P-256 storage key, so that it is the same key at each start), lends it to f
// and unloads it; or lends the persistent key that the configuration names.
// Errors: ErrOwned, ErrPrimary beside those of f.
func (t *TPM) withPrimary(f func(*primary) error) error {
	t.Rest()
	p, err := t.loadPrimary()
	if err != nil {
		return err
	}
	defer t.unloadPrimary(p)
	return f(p)
}

func (t *TPM) loadPrimary() (*primary, error) {
	load := t.persistent
	if t.c.Primary == 0 {
		load = func() (*primary, error) { return t.createOwner(tpm2.ECCSRKTemplate) }
	}
	p, err := load()
	if err != nil {
		return nil, err
	}
	if err := t.pinned(p); err != nil {
		t.unloadPrimary(p)
		return nil, err
	}
	return p, nil
}

func (t *TPM) unloadPrimary(p *primary) {
	if t.c.Primary == 0 {
		t.flush(p.handle)
	}
}

// pinned insists that the storage key is the one that this run has begun with:
// sessions are salted to it, and another's, put in its place on the bus, would
// open them.
func (t *TPM) pinned(p *primary) error {
	if t.identity == nil {
		return nil
	}
	return t.identity.judge(Identity{SRK: p.name.Buffer, EK: t.identity.EK})
}

// persistent reads the configured storage key, made by the owner with an empty
// authorisation.
func (t *TPM) persistent() (*primary, error) {
	h := tpm2.TPMHandle(t.c.Primary)
	rsp, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(t.t)
	if errors.Is(err, tpm2.TPMRCHandle) || errors.Is(err, tpm2.TPMRCValue) {
		return nil, fmt.Errorf("%w: 0x%08x", ErrPrimary, t.c.Primary)
	}
	if err != nil {
		return nil, classify("read storage key", err)
	}
	p, err := primaryOf(h, rsp.OutPublic)
	if err != nil {
		return nil, err
	}
	if at := p.public.ObjectAttributes; !at.FixedTPM || !at.Restricted || !at.Decrypt || at.SignEncrypt {
		return nil, fmt.Errorf("%w: 0x%08x is a key of another kind", ErrPrimary, t.c.Primary)
	}
	return p, nil
}

func (t *TPM) flush(h tpm2.TPMHandle) {
	if _, err := (tpm2.FlushContext{FlushHandle: h}).Execute(t.t); err != nil {
		t.c.Logf("hardware TPM: flushing handle 0x%08x: %v", uint32(h), err)
	}
}

// salted options: the session key depends on a salt that only the primary can
// decrypt, and the first parameter is encrypted in the given direction.
func salted(p *primary, in bool) []tpm2.AuthOption {
	dir := tpm2.EncryptOut
	if in {
		dir = tpm2.EncryptIn
	}
	return []tpm2.AuthOption{tpm2.Salted(p.handle, p.public), tpm2.AESEncryption(128, dir)}
}

// Identity names the TPM by its storage primary, which a Clear changes, and by
// its endorsement primary, which it does not.
type Identity struct {
	SRK []byte // Name of the storage primary
	EK  []byte // Name of the ECC P-256 endorsement primary, empty if it cannot be made
}

// Identity derives both primaries, once: a TPM does not become another one while
// it runs, and if somebody clears it nothing that was sealed loads any more.
func (t *TPM) Identity() (id Identity, err error) {
	defer t.done(&err)
	if t.identity != nil {
		return *t.identity, nil
	}
	if id, err = t.derive(); err == nil {
		t.identity = &id
	}
	return id, err
}

func (t *TPM) derive() (id Identity, err error) {
	err = t.withPrimary(func(p *primary) error {
		id.SRK = bytes.Clone(p.name.Buffer)
		return nil
	})
	if err != nil {
		return id, err
	}
	id.EK, err = t.ekName()
	if err != nil {
		t.c.Logf("hardware TPM: no endorsement primary (%v); a replaced TPM will be reported as a cleared one", err)
	}
	return id, nil
}

func (t *TPM) ekName() ([]byte, error) {
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(tpm2.ECCEKTemplate),
	}.Execute(t.t)
	if err != nil {
		return nil, err
	}
	defer t.flush(rsp.ObjectHandle)
	return bytes.Clone(rsp.Name.Buffer), nil
}

// judge tells a cleared TPM from another one.
func (id Identity) judge(now Identity) error {
	switch {
	case bytes.Equal(id.SRK, now.SRK):
		return nil
	case len(id.EK) > 0 && len(now.EK) > 0 && !bytes.Equal(id.EK, now.EK):
		return ErrReplaced
	default:
		return ErrCleared
	}
}
