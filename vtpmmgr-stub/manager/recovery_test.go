package manager

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

func newRecoveryKey(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (s *site) provision(recovery *ecdh.PrivateKey) {
	s.t.Helper()
	s.must(proto.OrdProvision, proto.GroupCreate{Authority: s.public(), Policy: s.list(proto.UUID{}, 1, s.present()), Recovery: recovery.PublicKey().Bytes()})
}

func (s *site) recoveryInfo() (info proto.RecoveryInfo) {
	s.t.Helper()
	if err := s.a.Admin(proto.OrdRecovery, proto.Empty{}, &info); err != nil {
		s.t.Fatal(err)
	}
	return info
}

// A root secret is taken back from the recovery key only: whoever knows the
// session key can make a box for it, but not one from that key.
func TestRecoverIsAuthenticated(t *testing.T) {
	s := newSite(t)
	recovery, thief := newRecoveryKey(t), newRecoveryKey(t)
	s.provision(recovery)
	if err := vtpmClient(s.m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	id := proto.UUID(s.m.store.ID())
	s.tpm.Erase()
	if err := s.boot(); err == nil {
		t.Fatal("starts on another TPM")
	}
	info := s.recoveryInfo()
	if !s.logged(Fingerprint(info.Session)) {
		t.Error("the console does not show the session key")
	}
	if info.Key == nil || !bytes.Equal(info.Key, recovery.PublicKey().Bytes()) {
		t.Errorf("recovery key %x", info.Key)
	}
	his, err := newRoot(rand.Reader, id)
	if err != nil {
		t.Fatal(err)
	}
	real, his2 := recovery.PublicKey().Bytes(), thief.PublicKey().Bytes()
	from := func(key *ecdh.PrivateKey) []byte {
		b, err := sealFrom(rand.Reader, key, info.Session, his.encode())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	anonymous, err := sealTo(rand.Reader, info.Session, his.encode())
	if err != nil {
		t.Fatal(err)
	}
	good, err := Rewrap(rand.Reader, recovery, info.Box, info.Session)
	if err != nil {
		t.Fatal(err)
	}
	spoiled := bytes.Clone(good)
	spoiled[len(spoiled)-1] ^= 1
	for name, in := range map[string]proto.Recover{
		"a key of the thief's":            {Box: from(thief), Key: his2},
		"the same as the recovery key's":  {Box: from(thief), Key: real},
		"sealed by nobody":                {Box: anonymous, Key: real},
		"no key":                          {Box: good},
		"a key that is none":              {Box: good, Key: bytes.Repeat([]byte{4}, pointSize)},
		"spoiled":                         {Box: spoiled, Key: real},
		"nothing":                         {Key: real},
		"the real answer, as the thief's": {Box: good, Key: his2},
	} {
		if err := s.do(proto.OrdRecover, in); !errors.Is(err, proto.AuthFail) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.status().Degraded == "" {
		t.Fatal("something was taken")
	}
	s.must(proto.OrdRecover, proto.Recover{Box: good, Key: real})
	if r, err := vtpmClient(s.m, 1).LoadHashKey(); err != nil || r != record(1) {
		t.Error(err)
	}
	if err := s.reboot(); err != nil {
		t.Errorf("at the next start: %v", err)
	}
}

// A store of the first version does not say whose the recovery key is.
func TestRecoverOldStore(t *testing.T) {
	s := newSite(t)
	recovery := newRecoveryKey(t)
	s.provision(recovery)
	if err := vtpmClient(s.m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	s.old()
	s.tpm.Erase()
	_ = s.boot()
	answer := func() proto.Recover {
		info := s.recoveryInfo()
		back, err := Rewrap(rand.Reader, recovery, info.Box, info.Session)
		if err != nil {
			t.Fatal(err)
		}
		return proto.Recover{Box: back, Key: recovery.PublicKey().Bytes()}
	}
	if err := s.do(proto.OrdRecover, answer()); !errors.Is(err, proto.AuthFail) || !strings.Contains(err.Error(), "adopt=") {
		t.Errorf("without adopt=: %v", err)
	}
	s.adopt = s.m.lastID()
	_ = s.boot()
	s.must(proto.OrdRecover, answer())
	if r, err := vtpmClient(s.m, 1).LoadHashKey(); err != nil || r != record(1) {
		t.Error(err)
	}
	s.adopt = proto.UUID{}
	if err := s.reboot(); err != nil || !bytes.Equal(s.recoveryInfo().Key, recovery.PublicKey().Bytes()) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestReplaceRecoveryKey(t *testing.T) {
	s := newSite(t)
	first, second := newRecoveryKey(t), newRecoveryKey(t)
	statement := func(number uint64, manager proto.UUID, key []byte) proto.RecoveryReplace {
		k := hwtpm.RecoveryKey{Manager: manager, Number: number, Public: key}
		var err error
		if k.Signature, err = s.sign(k.Message()); err != nil {
			t.Fatal(err)
		}
		return proto.RecoveryReplace{Statement: k.Append(nil)}
	}
	id, public := proto.UUID(s.m.store.ID()), second.PublicKey().Bytes()
	if err := s.do(proto.OrdRecoveryReplace, statement(1, id, public)); !errors.Is(err, proto.NotProvisioned) {
		t.Errorf("not provisioned: %v", err)
	}
	s.provision(first)
	before := s.status()
	if before.RecoveryKey != Fingerprint(first.PublicKey().Bytes()) || before.RecoveryBox == "" {
		t.Errorf("%+v", before)
	}
	var foreign proto.RecoveryReplace
	s.another(func() { foreign = statement(5, id, public) })
	good := statement(5, id, public)
	spoiled := proto.RecoveryReplace{Statement: bytes.Clone(good.Statement)}
	spoiled.Statement[30] ^= 1
	for name, c := range map[string]struct {
		in   proto.RecoveryReplace
		want proto.Result
	}{
		"another authority": {foreign, proto.AuthFail}, "spoiled": {spoiled, proto.AuthFail}, "nothing": {proto.RecoveryReplace{}, proto.AuthFail},
		"another manager": {statement(5, proto.UUID{9}, public), proto.AuthFail}, "number 0": {statement(0, id, public), proto.Conflict},
		"no point": {statement(5, id, bytes.Repeat([]byte{4}, pointSize)), proto.AuthFail},
	} {
		if err := s.do(proto.OrdRecoveryReplace, c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if now := s.status(); now.RecoveryBox != before.RecoveryBox {
		t.Error("a refused key was taken")
	}
	again := proto.GroupCreate{Authority: s.public(), Policy: s.list(proto.UUID{}, 2, s.present()), Recovery: public}
	if err := s.do(proto.OrdProvision, again); !errors.Is(err, proto.Conflict) {
		t.Errorf("by provisioning once more, without the authority's word: %v", err)
	}
	s.must(proto.OrdRecoveryReplace, good)
	if err := s.do(proto.OrdRecoveryReplace, good); !errors.Is(err, proto.Conflict) {
		t.Errorf("the same once more: %v", err)
	}
	if !s.hasEvent(EventPolicy, "recovery key 5: "+Fingerprint(public)) {
		t.Error("no event")
	}
	if n := s.status().VTPMs; n != 0 {
		t.Errorf("%d vTPMs are counted", n)
	}
	s.tpm.Erase()
	_ = s.boot()
	info := s.recoveryInfo()
	if _, err := Rewrap(rand.Reader, first, info.Box, info.Session); !errors.Is(err, errRecovery) {
		t.Errorf("the former key opens the box: %v", err)
	}
	s.recover(second, nil, false)
	if err := s.reboot(); err != nil {
		t.Error(err)
	}
}

// What a person types is compared as he may have written it down.
func TestFingerprint(t *testing.T) {
	f := Fingerprint([]byte("abc"))
	if f != "ba78-16bf-8f01-cfea-4141-40de-5dae-2223" {
		t.Errorf("%s", f)
	}
	for _, typed := range []string{f, strings.ToUpper(f), strings.ReplaceAll(f, "-", ""), strings.ReplaceAll(f, "-", " ")} {
		if err := SameFingerprint([]byte("abc"), typed); err != nil {
			t.Error(err)
		}
	}
	for _, typed := range []string{"", f[:len(f)-1], f + "0", "ba78"} {
		if SameFingerprint([]byte("abc"), typed) == nil {
			t.Errorf("%q is taken", typed)
		}
	}
}
