package hwtpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// Anchor is what the hardware TPM itself remembers about a store, readable
// without any key. It is how a blanked or exchanged disk is told from a new one.
type Anchor struct {
	State   AnchorState
	Manager [16]byte // the store's identity
}

// AnchorState is how far a store's life has come.
type AnchorState uint8

// States of an anchor.
const (
	AnchorNone    AnchorState = 0 // no anchor
	AnchorMaking  AnchorState = 1 // a store is being made; nothing was ever saved in it
	AnchorActive  AnchorState = 2
	anchorVersion             = 1
	anchorSize                = 24 // "XVTA", version, state, two zero, manager
)

var anchorMagic = []byte("XVTA")

// nvIndex is an NV index with its Name, which authorisations need.
type nvIndex struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public tpm2.TPMSNVPublic
}

func (n *nvIndex) named() tpm2.NamedHandle {
	return tpm2.NamedHandle{Handle: n.handle, Name: n.name}
}

// readIndex returns nil if the index does not exist.
func (t *TPM) readIndex(h uint32) (*nvIndex, error) {
	rsp, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(h)}.Execute(t.t)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, nil
	}
	if err != nil {
		return nil, classify(fmt.Sprintf("read NV index 0x%08x", h), err)
	}
	pub, err := rsp.NVPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("%w: NV index 0x%08x: %v", ErrMalformed, h, err)
	}
	name, err := tpm2.NVName(pub) // computed here: the bus could give another
	if err != nil {
		return nil, fmt.Errorf("%w: NV index 0x%08x: %v", ErrMalformed, h, err)
	}
	return &nvIndex{handle: tpm2.TPMHandle(h), name: *name, public: *pub}, nil
}

func (t *TPM) defineIndex(h uint32, auth []byte, attrs tpm2.TPMANV, size uint16) error {
	_, err := tpm2.NVDefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: t.ownerSession()},
		Auth:       tpm2.TPM2BAuth{Buffer: auth},
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{NVIndex: tpm2.TPMHandle(h), NameAlg: tpm2.TPMAlgSHA256,
			Attributes: attrs, DataSize: size}),
	}.Execute(t.t)
	if errors.Is(err, tpm2.TPMRCNVDefined) {
		return fmt.Errorf("%w: 0x%08x", ErrIndexInUse, h)
	}
	if err != nil {
		return t.ownerError(fmt.Sprintf("define NV index 0x%08x", h), err)
	}
	return nil
}

func (t *TPM) undefineIndex(n *nvIndex) error {
	_, err := tpm2.NVUndefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: t.ownerSession()},
		NVIndex:    n.named(),
	}.Execute(t.t)
	if err != nil {
		return t.ownerError(fmt.Sprintf("undefine NV index 0x%08x", uint32(n.handle)), err)
	}
	return nil
}

// anchorAttrs: anyone may read it (with its empty authorisation), the owner
// writes it.
var anchorAttrs = tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthRead: true, NoDA: true, NT: tpm2.TPMNTOrdinary}

// counterAttrs: only who knows its authorisation reads or increments it.
var counterAttrs = tpm2.TPMANV{AuthWrite: true, AuthRead: true, NoDA: true, NT: tpm2.TPMNTCounter}

func sameAttrs(got, want tpm2.TPMANV) bool {
	got.Written = false
	return got == want
}

// Anchor reads the anchor. Error ErrIndexInUse if the index holds something else.
func (t *TPM) Anchor() (a Anchor, err error) {
	defer t.done(&err)
	n, err := t.readIndex(t.c.Index)
	if err != nil || n == nil {
		return Anchor{}, err
	}
	if !sameAttrs(n.public.Attributes, anchorAttrs) || n.public.DataSize != anchorSize {
		return Anchor{}, fmt.Errorf("%w: 0x%08x", ErrIndexInUse, t.c.Index)
	}
	if !n.public.Attributes.Written { // defined, and the machine stopped
		return Anchor{State: AnchorMaking}, nil
	}
	rsp, err := tpm2.NVRead{
		AuthHandle: tpm2.AuthHandle{Handle: n.handle, Name: n.name, Auth: tpm2.PasswordAuth(nil)},
		NVIndex:    n.named(), Size: anchorSize}.Execute(t.t)
	if err != nil {
		return Anchor{}, classify("read anchor", err)
	}
	b := rsp.Data.Buffer
	if len(b) != anchorSize || !bytes.HasPrefix(b, anchorMagic) || b[4] != anchorVersion || b[5] < byte(AnchorMaking) || b[5] > byte(AnchorActive) {
		return Anchor{}, fmt.Errorf("%w: 0x%08x", ErrIndexInUse, t.c.Index)
	}
	return Anchor{State: AnchorState(b[5]), Manager: [16]byte(b[8:])}, nil
}

// SetAnchor writes the anchor, defining it first if need be; AnchorNone removes
// it.
func (t *TPM) SetAnchor(a Anchor) (err error) {
	defer t.done(&err)
	n, err := t.readIndex(t.c.Index)
	if err != nil {
		return err
	}
	if a.State == AnchorNone {
		if n == nil {
			return nil
		}
		return t.undefineIndex(n)
	}
	if n == nil {
		if err := t.defineIndex(t.c.Index, nil, anchorAttrs, anchorSize); err != nil {
			return err
		}
		if n, err = t.readIndex(t.c.Index); err != nil || n == nil {
			return fmt.Errorf("%w: NV index 0x%08x vanished: %v", ErrMalformed, t.c.Index, err)
		}
	}
	b := append(append(bytes.Clone(anchorMagic), anchorVersion, byte(a.State), 0, 0), a.Manager[:]...)
	_, err = tpm2.NVWrite{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: t.ownerSession()},
		NVIndex:    n.named(), Data: tpm2.TPM2BMaxNVBuffer{Buffer: b}}.Execute(t.t)
	if err != nil {
		return t.ownerError("write anchor", err)
	}
	return nil
}

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
		if err := t.counter.close(); err != nil {
			t.c.Logf("hardware TPM: closing the counter's session: %v", err)
		}
	}
	t.counter.session, t.counter.close = nil, nil
}

// withCounter runs a counter command in the session that is open, and once more
// in a new one if the TPM no longer knows the session.
func (t *TPM) withCounter(what string, f func(auth tpm2.AuthHandle) error) error {
	for again := false; ; again = true {
		if t.counter.index == nil {
			return ErrCounterMissing
		}
		if t.counter.session == nil {
			if err := t.newCounterSession(); err != nil {
				return err
			}
		}
		n := t.counter.index
		err := f(tpm2.AuthHandle{Handle: n.handle, Name: n.name, Auth: t.counter.session})
		switch {
		case err == nil:
			return nil
		case errors.Is(err, tpm2.TPMRCAuthFail), errors.Is(err, tpm2.TPMRCBadAuth):
			return fmt.Errorf("%s: %w", what, ErrCounterReplaced)
		case errors.Is(err, tpm2.TPMRCHandle):
			return fmt.Errorf("%s: %w", what, ErrCounterMissing)
		case sessionLost(err) && !again:
			t.counter.session, t.counter.close = nil, nil
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
