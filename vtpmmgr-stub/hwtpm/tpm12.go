package hwtpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm"

	"xenvtpm/vtpmmgr-stub/proto"
)

// TPM 1.2 hardware. What it gives is less than a TPM 2.0: SHA-1 PCRs; a seal to
// the present PCRs only (no PolicyAuthorize, so no approvals and no groups with
// keys of their own); reading the counter is not authenticated, so somebody on
// the bus can hide a rollback, though not make an increment pass. A TPM 1.2 lets
// one counter move in each boot: domain 0 must not use another.

// Errors that only a TPM 1.2 knows.
var (
	ErrInactive    = errors.New("hardware TPM 1.2 is disabled or deactivated; enable it in the firmware's set-up")
	ErrUnsupported = errors.New("hardware TPM 1.2 cannot do that; it takes a TPM 2.0")
)

// TPM12 is a TPM 1.2. Not safe for concurrent use.
type TPM12 struct {
	bus     *bus12
	c       Config
	owner   [20]byte
	counter uint32 // its id
	auth    [20]byte
}

// nv12Index is the anchor's NV index; Config.Index has another form.
const nv12Index = 0x00015856

// counterLabel marks our counter.
const counterLabel = "XVTC"

var wellKnown [20]byte

// Open12 makes a TPM 1.2 ready, and takes ownership (with the owner
// authorisation of the configuration and the well-known SRK's) if nobody has.
// OwnerAuth is 20 bytes, or nil for the well-known zeros. Errors as of Open, and
// ErrInactive.
func Open12(t interface{ Send([]byte) ([]byte, error) }, c Config) (tpm12 *TPM12, err error) {
	defer guard(&err)
	if c.Sleep == nil {
		c.Sleep = time.Sleep
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if len(c.OwnerAuth) != 0 && len(c.OwnerAuth) != 20 {
		return nil, fmt.Errorf("%w: a TPM 1.2's authorisation has 20 bytes", ErrOwned)
	}
	d := &TPM12{bus: &bus12{t: t, sleep: c.Sleep}, c: c, counter: noCounter}
	copy(d.owner[:], c.OwnerAuth)
	if _, err := d.bus.begin().plain(ord12Startup, []byte{0, 1}); err != nil && !errors.Is(err, rc12InvalidPostNit) {
		return nil, classify12("startup", d.bus.first, err)
	}
	if _, err := d.bus.begin().plain(ord12SelfTest, nil); err != nil {
		return nil, classify12("self test", d.bus.first, err)
	}
	if err := d.flushLeftovers(); err != nil {
		return nil, err
	}
	return d, d.own()
}

// flushLeftovers unloads keys (1) and sessions (2).
func (d *TPM12) flushLeftovers() error {
	for _, kind := range []uint32{1, 2} {
		rsp, err := d.capability(0x14, kind) // TPM_CAP_HANDLE
		if err != nil {
			return classify12("list handles", d.bus.first, err)
		}
		r := proto.NewReader(rsp)
		for range r.U16() {
			body := binary.BigEndian.AppendUint32(nil, r.U32())
			if _, err := d.bus.begin().plain(ord12FlushSpecific, binary.BigEndian.AppendUint32(body, kind)); err != nil {
				d.c.Logf("hardware TPM: flushing a handle: %v", err)
			}
			if r.Err() != nil {
				return fmt.Errorf("%w: handles", ErrMalformed)
			}
		}
	}
	return nil
}

func (d *TPM12) capability(area, sub uint32) ([]byte, error) {
	body := binary.BigEndian.AppendUint32(nil, area)
	body = binary.BigEndian.AppendUint32(body, 4)
	rsp, err := d.bus.begin().plain(ord12GetCapability, binary.BigEndian.AppendUint32(body, sub))
	if err != nil {
		return nil, err
	}
	r := proto.NewReader(rsp)
	out := r.Bytes(int(r.U32()))
	if r.Done() != nil {
		return nil, fmt.Errorf("%w: capability", ErrMalformed)
	}
	return out, nil
}

// own takes ownership of a TPM that nobody owns.
func (d *TPM12) own() error {
	owned, err := d.capability(5, 0x111) // TPM_CAP_PROPERTY, TPM_CAP_PROP_OWNER
	if err != nil || len(owned) != 1 {
		return classify12("ask for the owner", d.bus.first, err)
	}
	if d.owner == wellKnown {
		d.c.Logf("%s", emptyOwner)
	}
	if owned[0] != 0 {
		return nil
	}
	d.c.Logf("hardware TPM 1.2 has no owner; taking ownership")
	ek, err := tpm.ReadPubEK(d.bus.begin())
	if err != nil {
		return classify12("read endorsement key", d.bus.first, err)
	}
	if err := tpm.TakeOwnership(d.bus.begin(), d.owner, wellKnown, ek); err != nil {
		return classify12("take ownership", d.bus.first, err)
	}
	return nil
}

// Close has nothing to close.
func (d *TPM12) Close() error { return nil }

// identity names the TPM by the hashes of its SRK and its endorsement key.
func (d *TPM12) identity() (id Identity, err error) {
	srk, err := tpm.OwnerReadSRK(d.bus.begin(), d.owner)
	if err != nil {
		return id, classify12("read SRK", d.bus.first, err)
	}
	ek, err := tpm.OwnerReadPubEK(d.bus.begin(), d.owner)
	if err != nil {
		return id, classify12("read endorsement key", d.bus.first, err)
	}
	s, e := sha256.Sum256(srk), sha256.Sum256(ek)
	return Identity{SRK: s[:], EK: e[:]}, nil
}

// Seal seals to the present PCRs.
func (d *TPM12) Seal(secret []byte, p Policy) (b *Binding, err error) {
	defer guard(&err)
	if p.Authority != nil {
		return nil, fmt.Errorf("approved policies: %w", ErrUnsupported)
	}
	b = &Binding{Kind: KindTPM12, PCRs: p.PCRs}
	if b.Values, err = d.PCRs(p.PCRs); err != nil {
		return nil, err
	}
	if b.Identity, err = d.identity(); err != nil {
		return nil, err
	}
	const anyLocality = 0x1F
	if b.Private, err = tpm.Seal(d.bus.begin(), anyLocality, pcrNumbers(p.PCRs), secret, wellKnown[:]); err != nil {
		return nil, classify12("seal", d.bus.first, err)
	}
	got, err := d.Unseal(b)
	if err != nil {
		return nil, fmt.Errorf("checking the sealed object: %w", err)
	}
	if !bytes.Equal(got, secret) {
		return nil, fmt.Errorf("%w: sealed object opens to something else", ErrMalformed)
	}
	return b, nil
}

func pcrNumbers(s proto.PCRSelection) (n []int) {
	for i := range 24 {
		if s.Mask>>i&1 == 1 {
			n = append(n, i)
		}
	}
	return n
}

// Unseal opens a binding. Errors as of TPM.Unseal.
func (d *TPM12) Unseal(b *Binding) (secret []byte, err error) {
	defer guard(&err)
	if b.Kind != KindTPM12 {
		return nil, fmt.Errorf("%w (it was a TPM 2.0)", ErrReplaced)
	}
	now, err := d.identity()
	if err != nil {
		return nil, err
	}
	if err := b.Identity.judge(now); err != nil {
		return nil, err
	}
	values, err := d.PCRs(b.PCRs)
	if err != nil {
		return nil, err
	}
	if changed := changedPCRs(b.PCRs, b.Values, values); changed != "" {
		return nil, fmt.Errorf("%w: PCR %s changed since the key was sealed", ErrPCRMismatch, changed)
	}
	if secret, err = tpm.Unseal(d.bus.begin(), b.Private, wellKnown[:]); err != nil {
		if d.bus.first != rc12WrongPCR && d.bus.first != 0 {
			return nil, fmt.Errorf("%w: %w", ErrSealDamaged, classify12("unseal", d.bus.first, err))
		}
		return nil, classify12("unseal", d.bus.first, err)
	}
	return secret, nil
}

// GetRandom returns between 1 and n bytes, n at most 64.
func (d *TPM12) GetRandom(n int) (b []byte, err error) {
	defer guard(&err)
	if b, err = tpm.GetRandom(d.bus.begin(), uint32(min(max(n, 1), 64))); err != nil {
		return nil, classify12("get random", d.bus.first, err)
	}
	if len(b) == 0 || len(b) > n {
		return nil, fmt.Errorf("%w: %d random bytes", ErrMalformed, len(b))
	}
	return b, nil
}

// Entropy returns n random bytes for keys. They cross the bus in the clear: a TPM
// 1.2 encrypts no answers.
func (d *TPM12) Entropy(n int) (b []byte, err error) {
	for len(b) < n {
		got, err := d.GetRandom(n - len(b))
		if err != nil {
			return nil, err
		}
		b = append(b, got...)
	}
	return b, nil
}

// PCRs reads SHA-1 PCRs.
func (d *TPM12) PCRs(s proto.PCRSelection) (values [][]byte, err error) {
	defer guard(&err)
	if s.Alg != proto.AlgSHA1 {
		return nil, fmt.Errorf("%w: a TPM 1.2 has SHA-1 only", ErrPCRBank)
	}
	for _, i := range pcrNumbers(s) {
		v, err := tpm.ReadPCR(d.bus.begin(), uint32(i))
		if err != nil {
			return nil, classify12("read PCR", d.bus.first, err)
		}
		if len(v) != 20 {
			return nil, fmt.Errorf("%w: PCR of %d bytes", ErrMalformed, len(v))
		}
		values = append(values, v)
	}
	return values, nil
}
