package manager

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	mrand "math/rand/v2"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// simDisk is a disk in memory that knows what a power cut would leave.
type simDisk struct {
	live, durable []byte
	pending       []func(img []byte, keep func() bool)
	event         func()
	failWrite     error
	flushes       int
}

func newDisk(size int) *simDisk { return diskOf(make([]byte, size)) }

func diskOf(b []byte) *simDisk { return &simDisk{live: bytes.Clone(b), durable: bytes.Clone(b)} }

func (d *simDisk) Size() int64 { return int64(len(d.live)) }

func (d *simDisk) ReadAt(p []byte, off int64) (int, error) { return copy(p, d.live[off:]), nil }

func (d *simDisk) WriteAt(p []byte, off int64) (int, error) {
	if d.failWrite != nil {
		return 0, d.failWrite
	}
	copy(d.live[off:], p)
	data := bytes.Clone(p)
	d.pending = append(d.pending, func(img []byte, keep func() bool) {
		for i := 0; i < len(data); i += 512 {
			if keep() {
				copy(img[off+int64(i):], data[i:i+512])
			}
		}
	})
	if d.event != nil {
		d.event()
	}
	return len(p), nil
}

func (d *simDisk) Flush() error {
	for _, w := range d.pending {
		w(d.durable, func() bool { return true })
	}
	d.pending = nil
	d.flushes++
	if d.event != nil {
		d.event()
	}
	return nil
}

// afterCut is what a power cut now leaves: any part of the unflushed writes.
func (d *simDisk) afterCut(r *mrand.Rand) *simDisk {
	img := bytes.Clone(d.durable)
	p := r.Float64()
	for _, w := range d.pending {
		w(img, func() bool { return r.Float64() < p })
	}
	return diskOf(img)
}

// fakeTPM is a hardware TPM in memory. Copying it is what the power does.
type fakeTPM struct {
	seed, pcr [32]byte
	anchor    hwtpm.Anchor
	counter   uint64
	auth      []byte
	defined   bool
	fail      func(op string) error // an operation that errors, nil = none
	event     func()                // after each change
	increases int
	random    byte // of what Entropy gives
}

func newTPM() *fakeTPM {
	t := &fakeTPM{counter: 41}
	_, _ = rand.Read(t.seed[:])
	return t
}

// restart is the TPM after a power cut.
func (t *fakeTPM) restart() *fakeTPM {
	c := *t
	c.fail, c.event = nil, nil
	return &c
}

func (t *fakeTPM) op(name string) error {
	if t.fail != nil {
		return t.fail(name)
	}
	return nil
}

func (t *fakeTPM) changed() {
	if t.event != nil {
		t.event()
	}
}

func (t *fakeTPM) Anchor() (hwtpm.Anchor, error) { return t.anchor, t.op("anchor") }

func (t *fakeTPM) SetAnchor(a hwtpm.Anchor) error {
	if err := t.op("set anchor"); err != nil {
		return err
	}
	t.anchor = a
	t.changed()
	return nil
}

func (t *fakeTPM) Seal(secret []byte, p hwtpm.Policy) (*hwtpm.Binding, error) {
	sum := sha256.Sum256(append(t.seed[:], t.pcr[:]...))
	b := &hwtpm.Binding{Kind: hwtpm.KindTPM20, PCRs: proto.PCRSelection{Alg: proto.AlgSHA256}, Public: sum[:], Private: bytes.Clone(secret),
		Identity: hwtpm.Identity{SRK: t.seed[:]}, Auth: p.Authority}
	if p.Info != nil {
		b.Proof = &hwtpm.Proof{Creation: t.proof(secret, p.Info)}
	}
	return b, t.op("seal")
}

// proof is what the TPM alone can say about a secret that was sealed in its
// present state.
func (t *fakeTPM) proof(secret, info []byte) []byte {
	sum := sha256.Sum256(bytes.Join([][]byte{[]byte("proof"), t.seed[:], t.pcr[:], info, secret}, nil))
	return sum[:]
}

func (t *fakeTPM) Origin(b *hwtpm.Binding, info []byte) (hwtpm.Origin, error) {
	if b.Proof == nil {
		return hwtpm.Origin{}, hwtpm.ErrNoProof
	}
	return hwtpm.Origin{PCRs: selection, Present: bytes.Equal(b.Proof.Creation, t.proof(b.Private, info))}, t.op("origin")
}

func (t *fakeTPM) Unseal(b *hwtpm.Binding) ([]byte, error) {
	sum := sha256.Sum256(append(t.seed[:], t.pcr[:]...))
	switch {
	case !bytes.Equal(b.Identity.SRK, t.seed[:]):
		return nil, hwtpm.ErrReplaced
	case !bytes.Equal(sum[:], b.Public):
		return nil, hwtpm.ErrPCRMismatch
	}
	return bytes.Clone(b.Private), t.op("unseal")
}

func (t *fakeTPM) MakeCounter(auth []byte) (uint64, error) {
	if err := t.op("make counter"); err != nil {
		return 0, err
	}
	t.auth, t.defined = bytes.Clone(auth), true
	t.counter++
	t.changed()
	return t.counter, nil
}

func (t *fakeTPM) OpenCounter(auth []byte) (uint64, error) {
	switch {
	case !t.defined:
		return 0, hwtpm.ErrCounterMissing
	case !bytes.Equal(auth, t.auth):
		return 0, hwtpm.ErrCounterReplaced
	}
	return t.counter, t.op("open counter")
}

func (t *fakeTPM) Counter() (uint64, error) { return t.counter, t.op("counter") }

func (t *fakeTPM) Increment() error {
	if err := t.op("increment"); err != nil {
		if errors.Is(err, errLostAnswer) {
			t.counter++
		}
		return err
	}
	t.counter++
	t.increases++
	t.changed()
	return nil
}

var errLostAnswer = errors.New("the answer got lost")

func (t *fakeTPM) GetRandom(n int) ([]byte, error) { return bytes.Repeat([]byte{4}, n), t.op("random") }

func (t *fakeTPM) Entropy(n int) ([]byte, error) {
	return bytes.Repeat([]byte{t.random}, n), t.op("entropy")
}

func (t *fakeTPM) PCRs(s proto.PCRSelection) (v [][]byte, err error) {
	for i := range 24 {
		if s.Mask>>i&1 == 1 {
			v = append(v, bytes.Repeat([]byte{byte(i)}, proto.DigestSize(s.Alg)))
		}
	}
	return v, t.op("pcrs")
}

const diskSize = 1 << 20

var selection = proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0xFF}

func config(t testing.TB, d *simDisk, hw Hardware) Config {
	return Config{Disk: d, HW: hw, PCRs: selection, Rand: rand.Reader, Logf: t.Logf}
}

func quiet(d *simDisk, hw Hardware) Config {
	return Config{Disk: d, HW: hw, PCRs: selection, Rand: rand.Reader}
}

func start(t testing.TB, c Config) *Manager {
	t.Helper()
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func uuid(n int) (u proto.UUID) {
	u[0], u[1], u[15] = byte(n>>8), byte(n), 1
	return u
}

// client is a vTPM that talks to a manager.
type client struct {
	m     *Manager
	id    ClientID
	uuid  proto.UUID
	admin bool
}

func (c client) Send(frame []byte) ([]byte, error) {
	return c.m.Handle([]Request{{Client: c.id, UUID: c.uuid, Admin: c.admin, Frame: frame}})[0], nil
}

func vtpmClient(m *Manager, n int) *proto.Client {
	return &proto.Client{S: client{m: m, id: ClientID{Domain: uint16(n) + 10}, uuid: uuid(n)}}
}

func record(n int) (r proto.Record) {
	for i := range r {
		r[i] = byte(n + i)
	}
	return r
}

func saveFrame(r proto.Record) []byte {
	f, _ := proto.Request{Tag: proto.TagVTPM, Ordinal: proto.OrdSaveHashKey, Body: r[:]}.Append(nil)
	return f
}
