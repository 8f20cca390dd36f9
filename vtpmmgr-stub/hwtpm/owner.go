package hwtpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// ownerAuth authorises with the owner's value in a session that is salted to a
// loaded key: neither the value nor anything to try guesses on crosses the bus,
// and the TPM's answer is authenticated. The value goes into the session key
// (the session is bound to the owner): go-tpm v0.9.8 cuts a value that it uses
// itself off at its first zero byte.
func (t *TPM) ownerAuth(salt *primary) tpm2.AuthHandle {
	owner := tpm2.TPM2BName{Buffer: binary.BigEndian.AppendUint32(nil, uint32(tpm2.TPMRHOwner))}
	value := bytes.TrimRight(t.auth, "\x00") // as the TPM keeps it (TPM20-P1 19.6.5)
	return tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Name: owner, Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16,
		tpm2.Bound(tpm2.TPMRHOwner, owner, value), tpm2.Salted(salt.handle, salt.public))}
}

// encryptIn is a session beside that of the authorisation, which encrypts the
// first parameter of the command.
func encryptIn(salt *primary) tpm2.Session {
	return tpm2.HMAC(tpm2.TPMAlgSHA256, 16, salted(salt, true)...)
}

// createOwner creates a primary under the owner's hierarchy. An empty
// authorisation is no secret; any other needs a key to salt its session with
// before there is a storage key, and takes one of the null hierarchy, which
// everybody may use and which ends with the power.
func (t *TPM) createOwner(template tpm2.TPMTPublic) (p *primary, err error) {
	if len(bytes.TrimRight(t.auth, "\x00")) == 0 {
		return t.createPrimary(tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}, template)
	}
	salt, err := t.createPrimary(tpm2.AuthHandle{Handle: tpm2.TPMRHNull, Auth: tpm2.PasswordAuth(nil)}, tpm2.ECCSRKTemplate)
	if err != nil {
		return nil, err
	}
	defer t.flush(salt.handle)
	return t.createPrimary(t.ownerAuth(salt), template)
}

func (t *TPM) createPrimary(hierarchy tpm2.AuthHandle, template tpm2.TPMTPublic) (*primary, error) {
	rsp, err := tpm2.CreatePrimary{PrimaryHandle: hierarchy, InPublic: tpm2.New2B(template)}.Execute(t.t)
	if err != nil {
		return nil, t.ownerError("create storage primary", err)
	}
	p, err := primaryOf(rsp.ObjectHandle, rsp.OutPublic)
	if err != nil {
		t.flush(rsp.ObjectHandle)
	}
	return p, err
}

// primaryOf names a key by its public area: a Name that the bus gives could be
// another's.
func primaryOf(h tpm2.TPMHandle, public tpm2.TPM2BPublic) (*primary, error) {
	pub, err := public.Contents()
	if err != nil {
		return nil, fmt.Errorf("%w: storage key: %v", ErrMalformed, err)
	}
	name, err := tpm2.ObjectName(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: storage key: %v", ErrMalformed, err)
	}
	return &primary{handle: h, name: *name, public: *pub}, nil
}

func (t *TPM) ownerError(what string, err error) error {
	if errors.Is(err, tpm2.TPMRCBadAuth) || errors.Is(err, tpm2.TPMRCAuthFail) {
		return fmt.Errorf("%s: %w", what, ErrOwned)
	}
	return classify(what, err)
}

// Entropy returns n random bytes of the TPM for keys, n at most 64: over a
// session that hides them from who listens on the bus.
func (t *TPM) Entropy(n int) (b []byte, err error) {
	defer t.done(&err)
	err = t.withPrimary(func(srk *primary) error {
		for len(b) < n {
			rsp, err := tpm2.GetRandom{BytesRequested: uint16(n - len(b))}.Execute(t.t,
				tpm2.HMAC(tpm2.TPMAlgSHA256, 16, salted(srk, false)...))
			if err != nil {
				return classify("get random", err)
			}
			if got := len(rsp.RandomBytes.Buffer); got == 0 || got > n-len(b) {
				return fmt.Errorf("%w: %d random bytes", ErrMalformed, got)
			}
			b = append(b, rsp.RandomBytes.Buffer...)
		}
		return nil
	})
	return b, err
}
