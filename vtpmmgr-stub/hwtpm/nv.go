package hwtpm

import (
	"bytes"
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

// defineIndex makes an index. Its authorisation crosses the bus encrypted.
func (t *TPM) defineIndex(h uint32, auth []byte, attrs tpm2.TPMANV, size uint16) error {
	return t.withPrimary(func(srk *primary) error {
		_, err := tpm2.NVDefineSpace{
			AuthHandle: t.ownerAuth(srk),
			Auth:       tpm2.TPM2BAuth{Buffer: auth},
			PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{NVIndex: tpm2.TPMHandle(h), NameAlg: tpm2.TPMAlgSHA256,
				Attributes: attrs, DataSize: size}),
		}.Execute(t.t, encryptIn(srk))
		if errors.Is(err, tpm2.TPMRCNVDefined) {
			return fmt.Errorf("%w: 0x%08x", ErrIndexInUse, h)
		}
		if err != nil {
			return t.ownerError(fmt.Sprintf("define NV index 0x%08x", h), err)
		}
		return nil
	})
}

func (t *TPM) undefineIndex(n *nvIndex) error {
	return t.withPrimary(func(srk *primary) error {
		_, err := tpm2.NVUndefineSpace{AuthHandle: t.ownerAuth(srk), NVIndex: n.named()}.Execute(t.t)
		if err != nil {
			return t.ownerError(fmt.Sprintf("undefine NV index 0x%08x", uint32(n.handle)), err)
		}
		return nil
	})
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
	return t.withPrimary(func(srk *primary) error {
		_, err := tpm2.NVWrite{AuthHandle: t.ownerAuth(srk), NVIndex: n.named(), Data: tpm2.TPM2BMaxNVBuffer{Buffer: b}}.Execute(t.t)
		if err != nil {
			return t.ownerError("write anchor", err)
		}
		return nil
	})
}
