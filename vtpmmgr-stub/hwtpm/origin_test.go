package hwtpm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm"
	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

var rootText = []byte("xenvtpm test root")

// forged puts an attacker's object in the place of the one that is sealed.
func forged(b *Binding, f swtpmtest.Sealed) *Binding {
	out := *b
	out.Public, out.Private = f.Public, f.Private
	out.Proof = &Proof{Creation: f.Creation, Ticket: f.Ticket, State: b.Proof.State}
	return &out
}

func TestOriginOfALocalPolicy(t *testing.T) {
	s := swtpmtest.Start(t, true)
	b, err := open(t, s).Seal([]byte("mine"), Policy{PCRs: pcrs07, Info: rootText})
	if err != nil {
		t.Fatal(err)
	}
	if b, err = ParseBinding(b.Append(nil)); err != nil {
		t.Fatal(err)
	}
	policy := PCRPolicy(b.PCRs, PCRDigest(b.Values))
	s.PowerCycle()
	if o, err := open(t, s).Origin(b, rootText); err != nil || !o.Present || o.PCRs != pcrs07 {
		t.Fatalf("%+v %v", o, err)
	}
	here := swtpmtest.Forge(t, s, []byte("his"), policy, rootText, pcrList(pcrs07))
	noPCRs := swtpmtest.Forge(t, s, []byte("his"), policy, rootText, tpm2.TPMLPCRSelection{})
	extend(t, s, 4) // another system
	there := swtpmtest.Forge(t, s, []byte("his"), policy, rootText, pcrList(pcrs07))
	s.PowerCycle()
	running := open(t, s)

	fake := forged(b, there)
	if got, err := running.Unseal(fake); err != nil || string(got) != "his" {
		t.Fatalf("the attack itself does not work: %q %v", got, err)
	}
	if o, err := running.Origin(fake, rootText); err != nil || o.Present || o.Approved {
		t.Errorf("sealed by another system: %+v %v", o, err)
	}
	refuse := func(what string, b *Binding, info []byte, want error) {
		t.Helper()
		if o, err := running.Origin(b, info); !errors.Is(err, want) {
			t.Errorf("%s: %+v %v, want %v", what, o, err, want)
		}
	}
	stolen := *fake
	stolen.Proof = b.Proof
	refuse("with the proof of the real one", &stolen, rootText, ErrForged)
	mended := *fake
	altered := *fake.Proof
	altered.Creation = b.Proof.Creation
	mended.Proof = &altered
	refuse("with the creation data of the real one", &mended, rootText, ErrForged)
	refuse("of another manager", b, []byte("xenvtpm another"), ErrForged)
	refuse("with no PCRs noted", forged(b, noPCRs), rootText, ErrForged)
	none := *b
	none.Proof = nil
	refuse("without a proof", &none, rootText, ErrNoProof)
	other := *b
	other.Values, _ = running.PCRs(proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0xFF0000})
	refuse("with other values than its policy's", &other, rootText, ErrForged)
	if o, err := running.Origin(forged(b, here), rootText); err != nil || !o.Present {
		t.Errorf("made in this state, by whomever: %+v %v", o, err)
	}
	clearTPM(t, s)
	refuse("after a clear", b, rootText, ErrCleared)
}

// The state of the making may be one that the authority has signed, and no other.
func TestOriginOfAnApprovedState(t *testing.T) {
	s := swtpmtest.Start(t, true)
	tpm := open(t, s)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := AuthorityPublic(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	was := presentState(t, tpm)
	extend(t, s, 4)
	next := presentState(t, tpm)
	extend(t, s, 4)
	foreign := presentState(t, tpm)
	s.PowerCycle()
	tpm = open(t, s)
	list := PolicyList{Sequence: 1, Approvals: []Approval{was, next}}
	if err := list.Sign(signerFor(t, key)); err != nil {
		t.Fatal(err)
	}
	auth := &Authority{Public: public, Ref: PolicyRef(list.Group), Approvals: list.Approvals}
	b, err := tpm.Seal([]byte("mine"), Policy{Authority: auth, Info: rootText})
	if err != nil {
		t.Fatal(err)
	}
	if b, err = ParseBinding(b.Append(nil)); err != nil {
		t.Fatal(err)
	}
	extend(t, s, 4) // the upgrade
	if o, err := tpm.Origin(b, rootText); err != nil || o.Present || !o.Approved {
		t.Errorf("after an upgrade: %+v %v", o, err)
	}
	name, _ := keyName(public)
	extend(t, s, 4)
	fake := forged(b, swtpmtest.Forge(t, s, []byte("his"), AuthorizePolicy(name, auth.Ref), rootText, pcrList(pcrs07)))
	s.PowerCycle()
	tpm = open(t, s)
	if got, err := tpm.Unseal(fake); err != nil || string(got) != "his" {
		t.Fatalf("the attack itself does not work: %q %v", got, err)
	}
	for what, state := range map[string]*Approval{
		"with the real one's approval": b.Proof.State, "with one that nobody signed": &foreign, "with none": nil,
		"with a signature for another state": {PCRs: foreign.PCRs, Digest: foreign.Digest, Signature: list.Approvals[0].Signature},
	} {
		fake.Proof.State = state
		if o, err := tpm.Origin(fake, rootText); err != nil || o.Present || o.Approved {
			t.Errorf("sealed by another system, %s: %+v %v", what, o, err)
		}
	}
}

// Somebody on the bus cannot say yes in the TPM's place, nor put a storage key of
// his own there.
func TestOriginOverAHostileBus(t *testing.T) {
	s := swtpmtest.Start(t, true)
	running := open(t, s)
	b, err := running.Seal([]byte("mine"), Policy{PCRs: pcrs07, Info: rootText})
	if err != nil {
		t.Fatal(err)
	}
	const ccCertifyCreation = 0x14A
	isIt := func(cmd []byte) bool { return binary.BigEndian.Uint32(cmd[6:]) == ccCertifyCreation }
	var yes []byte
	s.After = func(cmd, rsp []byte) ([]byte, error) {
		if isIt(cmd) {
			yes = bytes.Clone(rsp)
		}
		return rsp, nil
	}
	if _, err := running.Origin(b, rootText); err != nil || len(yes) == 0 {
		t.Fatal(err, len(yes))
	}
	s.After = func(cmd, rsp []byte) ([]byte, error) {
		if isIt(cmd) {
			return yes, nil
		}
		return rsp, nil
	}
	if o, err := running.Origin(b, rootText); err == nil {
		t.Errorf("a replayed answer passed: %+v", o)
	}
	s.After = nil
	other := swtpmtest.Start(t, true)
	_ = open(t, other)
	s.Before = func(cmd []byte) ([]byte, error) {
		if binary.BigEndian.Uint32(cmd[6:]) == uint32(tpm2.TPMCCCreatePrimary) {
			rsp, err := other.Send(cmd)
			_, _ = tpm2.FlushContext{FlushHandle: tpm2.TPMHandle(0x80000000)}.Execute(other)
			return rsp, err
		}
		return nil, nil
	}
	if _, err := running.Unseal(b); !errors.Is(err, ErrCleared) {
		t.Errorf("another storage key, later: %v", err)
	}
	if _, err := open(t, s).Origin(b, rootText); !errors.Is(err, ErrCleared) && !errors.Is(err, ErrReplaced) {
		t.Errorf("another storage key, from the start: %v", err)
	}
}

// A TPM 1.2 notes the state of the making by itself.
func TestOrigin12(t *testing.T) {
	s := swtpmtest.Start(t, false)
	d := open12(t, s)
	mine, err := d.Seal([]byte("mine"), Policy{PCRs: pcrs12})
	if err != nil {
		t.Fatal(err)
	}
	if o, err := d.Origin(mine, nil); err != nil || !o.Present || o.PCRs != pcrs12 {
		t.Errorf("%+v %v", o, err)
	}
	if _, err := tpm.PcrExtend(d.bus, 4, [20]byte{1}); err != nil {
		t.Fatal(err)
	}
	release := map[int][]byte{}
	for i := range 8 {
		release[i] = make([]byte, 20)
	}
	blob, err := tpm.Reseal(d.bus, 0x1F, release, []byte("his"), wellKnown[:])
	if err != nil {
		t.Fatal(err)
	}
	s.PowerCycle()
	d = open12(t, s)
	fake := *mine
	fake.Private = blob
	if got, err := d.Unseal(&fake); err != nil || string(got) != "his" {
		t.Fatalf("the attack itself does not work: %q %v", got, err)
	}
	if o, err := d.Origin(&fake, nil); err != nil || o.Present {
		t.Errorf("sealed by another system: %+v %v", o, err)
	}
	liar := fake
	liar.Private = bytes.Clone(blob)
	realNote, err := notedAtCreation(mine.Private)
	if err != nil {
		t.Fatal(err)
	}
	fakeNote, _ := notedAtCreation(blob)
	at := bytes.Index(liar.Private, fakeNote.digest)
	copy(liar.Private[at:], realNote.digest)
	if o, err := d.Origin(&liar, nil); err != nil || !o.Present {
		t.Fatalf("%+v %v", o, err)
	}
	if got, err := d.Unseal(&liar); err == nil {
		t.Errorf("a blob with an altered note opens to %q", got)
	}
	for n := range 62 { // without an end of the note
		cut := fake
		cut.Private = blob[:n]
		if o, err := d.Origin(&cut, nil); err == nil {
			t.Errorf("%d bytes: %+v", n, o)
		}
	}
}
