package manager

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

// thief has the manager's disk and the hardware TPM with its (empty) owner
// authorisation, while another system runs. He knows all that the key area says.
type thief struct {
	*site
	id     proto.UUID
	key    keyFile
	victim *hwtpm.Binding
	now    hwtpm.Approval // the approved state, which he knows from the disk or by looking
}

func newThief(s *site) *thief {
	s.t.Helper()
	v := &thief{site: s, id: s.m.store.ID(), now: s.present()}
	var err error
	if v.key, v.victim, err = s.m.rootBinding(); err != nil {
		s.t.Fatal(err)
	}
	s.tpm.PowerCycle()
	_ = s.boot()
	s.extend(0) // another system
	return v
}

func (v *thief) policy(auth *hwtpm.Authority) (none [32]byte) {
	v.t.Helper()
	if auth == nil {
		return none
	}
	name, err := hwtpm.KeyName(auth.Public)
	if err != nil {
		v.t.Fatal(err)
	}
	return hwtpm.AuthorizePolicy(name, auth.Ref)
}

// forge makes a whole store: a root of his own, sealed under a policy, with the
// victim's identity and recovery box, and a counter.
func (v *thief) forge(b hwtpm.Binding, state *hwtpm.Approval) *simDisk {
	v.t.Helper()
	root, err := newRoot(rand.Reader, v.id)
	if err != nil {
		v.t.Fatal(err)
	}
	mask, policy := uint32(0xFF), v.policy(b.Auth)
	if b.Auth == nil {
		mask, policy = b.PCRs.Mask, hwtpm.PCRPolicy(b.PCRs, hwtpm.PCRDigest(b.Values))
	}
	f := swtpmtest.Forge(v.t, v.tpm, root.encode(), policy, rootInfo(v.id),
		tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{byte(mask), byte(mask >> 8), byte(mask >> 16)}}}})
	b.Public, b.Private, b.Proof = f.Public, f.Private, &hwtpm.Proof{Creation: f.Creation, Ticket: f.Ticket, State: state}
	return v.storeAround(root, &b)
}

func (v *thief) storeAround(root rootSecret, b *hwtpm.Binding) *simDisk {
	v.t.Helper()
	hw, err := hwtpm.Open(v.tpm, hwtpm.Config{})
	if err != nil {
		v.t.Fatal(err)
	}
	nv, err := hw.MakeCounter(root.counter[:])
	if err != nil {
		v.t.Fatal(err)
	}
	d := newDisk(diskSize)
	p, err := store.Probe(d)
	if err = errors.Join(store.Begin(d, p, v.id)); err != nil {
		v.t.Fatal(err)
	}
	k := v.key
	k.root = b.Append(nil)
	if _, err := store.Format(d, v.id, k.encode(), nv, store.Config{Key: root.key[:], Rand: rand.Reader}); err != nil {
		v.t.Fatal(err)
	}
	return d
}

// putIn starts the approved system again, on a disk.
func (v *thief) putIn(d *simDisk) error {
	v.t.Helper()
	v.d = d
	return v.reboot()
}

// refused checks that it is the manager that refuses a store, and not the TPM: the
// root opens.
func (v *thief) refused(what string, d *simDisk, want error) {
	v.t.Helper()
	err := v.putIn(d)
	if !errors.Is(err, want) {
		v.t.Errorf("%s: %v, want %v", what, err, want)
	}
	p, err := store.Probe(d)
	if err != nil {
		v.t.Fatal(err)
	}
	k, _ := parseKeyFile(p.Areas[0].Payload)
	b, err := hwtpm.ParseBinding(k.root)
	if err != nil {
		v.t.Fatal(err)
	}
	if _, err := v.m.c.HW.Unseal(b); err != nil {
		v.t.Errorf("%s: the attack itself does not work: %v", what, err)
	}
	if err := vtpmClient(v.m, 1).SaveHashKey(record(1)); !errors.Is(err, proto.Fail) {
		v.t.Errorf("%s: a save into it: %v", what, err)
	}
	_ = v.boot()
	v.extend(0) // his system again
}

func TestForgedStoreOfAnUnprovisionedManager(t *testing.T) {
	s := newSite(t)
	v := newThief(s)
	v.refused("root sealed under the victim's PCR policy", v.forge(*v.victim, nil), ErrForeignRoot)
	few := *v.victim // that are the same in both systems
	few.PCRs.Mask = 1 << 16
	few.Values = [][]byte{make([]byte, 32)}
	v.refused("root sealed over other PCRs, in the state that they have", v.forge(few, nil), ErrNarrow)
	stolen := *v.victim // proof and all of the real one
	d := v.forge(*v.victim, nil)
	p, _ := store.Probe(d)
	k, _ := parseKeyFile(p.Areas[0].Payload)
	b, _ := hwtpm.ParseBinding(k.root)
	b.Proof = stolen.Proof
	v.refused("with the proof of the real one", v.rewritten(b), hwtpm.ErrForged)
	b.Proof = nil
	v.refused("as a store of the first version", v.rewritten(b), ErrUnproven)
	v.adopt = proto.UUID{5}
	v.refused("the same, with adopt= of another", v.rewritten(b), ErrUnproven)
}

// rewritten puts another binding into the key areas of a disk that the thief has
// made, whose root key he knows.
func (v *thief) rewritten(b *hwtpm.Binding) *simDisk {
	v.t.Helper()
	_ = v.boot()
	secret := v.secretOf(b)
	return v.storeAround(secret, b)
}

// secretOf opens a root in the approved system, as the thief, who has made it,
// knows it.
func (v *thief) secretOf(b *hwtpm.Binding) rootSecret {
	v.t.Helper()
	v.tpm.PowerCycle()
	_ = v.boot()
	raw, err := v.m.c.HW.Unseal(b)
	if err != nil {
		v.t.Fatal(err)
	}
	root, err := parseRoot(raw)
	if err != nil {
		v.t.Fatal(err)
	}
	v.extend(0)
	return root
}

func TestForgedStoreOfAProvisionedManager(t *testing.T) {
	s := newSite(t)
	s.must(proto.OrdProvision, proto.GroupCreate{Authority: s.public(), Policy: s.list(proto.UUID{}, 1, s.present())})
	v := newThief(s)
	v.refused("under the authority's policy", v.forge(*v.victim, nil), ErrForeignRoot)
	v.refused("and with its approval", v.forge(*v.victim, v.victim.Proof.State), ErrForeignRoot)
	foreign := v.present()
	own := *v.victim
	v.another(func() { // an authority of the thief's, which approves both systems
		l := hwtpm.PolicyList{Sequence: 1, Approvals: []hwtpm.Approval{v.now, foreign}}
		if err := l.Sign(v.sign); err != nil {
			t.Fatal(err)
		}
		own.Auth = &hwtpm.Authority{Public: v.public(), Ref: hwtpm.PolicyRef(proto.UUID{}), Approvals: l.Approvals}
	})
	d := v.forge(own, &own.Auth.Approvals[1])
	v.refused("under an authority of the thief's", d, ErrUnpinned)
	v.pin = true
	v.refused("the same, where authority= is given", d, ErrAuthority)
}

// With authority=, a store that an approved system has made on a blank disk, with
// the anchor taken away, takes no vTPMs in; the real one goes on after a recovery.
func TestNewStoreInPlaceOfTheReal(t *testing.T) {
	s := newSite(t)
	recovery := newRecoveryKey(t)
	s.provision(recovery)
	s.pin = true
	if err := s.reboot(); err != nil {
		t.Fatal(err)
	}
	if err := vtpmClient(s.m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	real := s.d
	hw, err := hwtpm.Open(s.tpm, hwtpm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := hw.SetAnchor(hwtpm.Anchor{}); err != nil {
		t.Fatal(err)
	}
	s.d = newDisk(diskSize)
	if err := s.reboot(); err != nil || !s.logged("default group stays closed") {
		t.Fatalf("a new store: %v", err)
	}
	if err := vtpmClient(s.m, 2).SaveHashKey(record(2)); !errors.Is(err, proto.Disabled) {
		t.Errorf("a new vTPM in it: %v", err)
	}
	s.another(func() {
		create := proto.GroupCreate{Authority: s.public(), Policy: s.list(proto.UUID{}, 1, s.present())}
		if err := s.do(proto.OrdProvision, create); !errors.Is(err, proto.AuthFail) {
			t.Errorf("provisioned by another authority: %v", err)
		}
	})
	s.provision(recovery)
	if err := vtpmClient(s.m, 2).SaveHashKey(record(2)); err != nil {
		t.Errorf("after the authority has provisioned it: %v", err)
	}
	s.tpm.Erase()
	s.d = real
	_ = s.boot()
	s.recover(recovery, nil, false)
	for range 2 {
		if r, err := vtpmClient(s.m, 1).LoadHashKey(); err != nil || r != record(1) {
			t.Errorf("the real one, recovered: %v", err)
		}
		if err := s.reboot(); err != nil {
			t.Fatal(err)
		}
	}
}

// old makes the store one of the first version: no proof, and no recovery key
// named.
func (s *site) old() {
	s.t.Helper()
	k, b, err := s.m.rootBinding()
	if err != nil {
		s.t.Fatal(err)
	}
	b.Proof = nil
	first := proto.AppendSized([]byte{keyFileFirst}, b.Append(nil))
	if err := s.m.store.SetKeyArea(proto.AppendSized(first, k.recovery)); err != nil {
		s.t.Fatal(err)
	}
	if err := s.m.commit(nil); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) logged(text string) bool { return strings.Contains(strings.Join(s.log, "\n"), text) }

// A store of the first version goes on when its operator says so, once.
func TestAdoptOldStore(t *testing.T) {
	for name, provisioned := range map[string]bool{"provisioned": true, "not provisioned": false} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			recovery, _ := ecdh.P256().GenerateKey(rand.Reader)
			if provisioned {
				s.must(proto.OrdProvision, proto.GroupCreate{Authority: s.public(), Policy: s.list(proto.UUID{}, 1, s.present()), Recovery: recovery.PublicKey().Bytes()})
			}
			if err := vtpmClient(s.m, 1).SaveHashKey(record(1)); err != nil {
				t.Fatal(err)
			}
			s.old()
			if err := s.reboot(); !errors.Is(err, ErrUnproven) || !s.logged("adopt="+s.m.lastID().String()) {
				t.Fatalf("without adopt=: %v", err)
			}
			if st := s.status(); st.Degraded == "" {
				t.Errorf("%+v", st)
			}
			s.adopt = s.m.lastID()
			if err := s.reboot(); err != nil || !s.logged("WITHOUT A PROOF") {
				t.Fatalf("with adopt=: %v", err)
			}
			if !s.hasEvent(EventPolicy, "WITHOUT A PROOF") {
				t.Error("no event")
			}
			if r, err := vtpmClient(s.m, 1).LoadHashKey(); err != nil || r != record(1) {
				t.Errorf("what was in it: %v", err)
			}
			if err := s.reboot(); err != nil || s.logged("WITHOUT A PROOF") || !s.logged("take it away") {
				t.Errorf("with adopt= left on: %v", err)
			}
			s.adopt = proto.UUID{}
			if err := s.reboot(); err != nil || s.status().Provisioned != provisioned {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// The same after an upgrade that nobody announced.
func TestAdoptWithANewPolicy(t *testing.T) {
	s := newSite(t)
	s.must(proto.OrdProvision, proto.GroupCreate{Authority: s.public(), Policy: s.list(proto.UUID{}, 1, s.present())})
	s.old()
	s.extend(4)
	s.pin = true
	if err := s.boot(); !errors.Is(err, hwtpm.ErrPCRMismatch) {
		t.Fatal(err)
	}
	next := proto.PolicyApply{Policy: s.list(proto.UUID{}, 2, s.present())}
	if err := s.do(proto.OrdPolicyApply, next); !errors.Is(err, proto.AuthFail) || s.status().Degraded == "" {
		t.Errorf("without adopt=: %v", err)
	}
	s.adopt = s.m.lastID()
	_ = s.boot()
	s.must(proto.OrdPolicyApply, next)
	s.adopt = proto.UUID{}
	if err := s.boot(); err != nil {
		t.Errorf("at the next start: %v", err)
	}
}

// lastID is the manager of the disk, also of one that is degraded.
func (m *Manager) lastID() proto.UUID {
	p, err := store.Probe(m.c.Disk)
	if err != nil {
		panic(err)
	}
	return p.ID
}

// A cut at any moment of the adoption leaves a store that can be adopted, or that
// has been.
func TestAdoptCrash(t *testing.T) {
	d, hw := newDisk(diskSize), newTPM()
	s := &site{t: t, d: d}
	s.m = start(t, quiet(d, hw))
	if err := vtpmClient(s.m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	id := proto.UUID(s.m.store.ID())
	s.old()
	image := bytes.Clone(d.live)
	cuts := 0
	for ; ; cuts++ {
		d, hw := diskOf(image), hw.restart()
		left := cuts
		var cd *simDisk
		var ct *fakeTPM
		event := func() {
			if left == 0 {
				cd, ct = diskOf(d.durable), hw.restart()
			}
			left--
		}
		d.event, hw.event = event, event
		c := quiet(d, hw)
		c.Adopt = id
		start(t, c)
		if cd == nil {
			break // behind the last event
		}
		c = quiet(cd, ct)
		c.Adopt = id
		m := start(t, c)
		if r, err := vtpmClient(m, 1).LoadHashKey(); err != nil || r != record(1) {
			t.Fatalf("cut %d: %v", cuts, err)
		}
		start(t, quiet(diskOf(cd.durable), ct.restart()))
	}
	if cuts < 8 {
		t.Errorf("only %d cuts: the test no longer tests", cuts)
	}
}

// pcrs= of a manager that nobody has provisioned says what its root must have been
// sealed over.
func TestRootOverFewerPCRs(t *testing.T) {
	s := newSite(t)
	s.pcrs = proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0x3FF}
	if err := s.reboot(); !errors.Is(err, ErrNarrow) {
		t.Errorf("pcrs=0-9 over a root that was sealed over 0-7: %v", err)
	}
	s.adopt = s.m.lastID()
	if err := s.reboot(); err != nil {
		t.Fatal(err)
	}
	s.adopt = proto.UUID{}
	if err := s.reboot(); err != nil {
		t.Errorf("after that: %v", err)
	}
	s.extend(9)
	if err := s.boot(); !errors.Is(err, hwtpm.ErrPCRMismatch) {
		t.Errorf("and PCR 9 counts now: %v", err)
	}
}

// The encodings of the first version, as it wrote them.
func TestFirstKeyFile(t *testing.T) {
	golden := []byte{1, 0, 3, 'a', 'b', 'c', 0, 2, 'x', 'y'}
	k, err := parseKeyFile(golden)
	if err != nil || string(k.root) != "abc" || string(k.recovery) != "xy" || k.key != nil && len(k.key) != 0 {
		t.Errorf("%+v %v", k, err)
	}
	golden = []byte{2, 0, 3, 'a', 'b', 'c', 0, 1, 'k', 0, 2, 'x', 'y'}
	if k, err := parseKeyFile(golden); err != nil || !bytes.Equal(k.encode(), golden) {
		t.Errorf("%+v %v", k, err)
	}
	for n := range golden {
		if _, err := parseKeyFile(golden[:n]); err == nil {
			t.Errorf("%d bytes of it are taken", n)
		}
	}
	if _, err := parseKeyFile(append([]byte{3}, golden[1:]...)); !errors.Is(err, ErrKeyFile) {
		t.Errorf("a newer version: %v", err)
	}
}

func FuzzKeyFile(f *testing.F) {
	f.Add([]byte{1, 0, 1, 'a', 0, 0})
	f.Add(keyFile{root: []byte{1}, key: []byte{2}, recovery: []byte{3}}.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		k, err := parseKeyFile(in)
		if err != nil {
			return
		}
		again, err := parseKeyFile(k.encode())
		if err != nil || !bytes.Equal(again.encode(), k.encode()) {
			t.Errorf("encode(decode(x)) differs: %v", err)
		}
	})
}
