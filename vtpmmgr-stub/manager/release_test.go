package manager

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

func (s *site) release(group proto.UUID, sequence uint64, to proto.UUID, vtpms ...proto.UUID) []byte {
	s.t.Helper()
	l := hwtpm.Release{Authority: s.public(), Group: group, Sequence: sequence, To: to, VTPMs: vtpms}
	var err error
	if l.Signature, err = s.sign(l.Message()); err != nil {
		s.t.Fatal(err)
	}
	return l.Append(nil)
}

// another runs f with another authority's key.
func (s *site) another(f func()) {
	s.t.Helper()
	mine := s.key
	defer func() { s.key = mine }()
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		s.t.Fatal(err)
	}
	f()
}

func (s *site) makeGroup(id proto.UUID, name string, sequence uint64) {
	s.t.Helper()
	s.must(proto.OrdGroupCreate, proto.GroupCreate{ID: id, Name: name, Authority: s.public(), Policy: s.list(id, sequence, s.present())})
}

// groupOf says where a vTPM is.
func (s *site) groupOf(u proto.UUID) proto.UUID {
	s.t.Helper()
	var v proto.VTPM
	if err := s.a.Admin(proto.OrdShow, proto.Target{UUID: u}, &v); err != nil {
		s.t.Fatal(err)
	}
	return v.Group
}

// A vTPM leaves a group only if the group's authority has signed that: this
// vTPM, from this group in its present policy, to that group.
func TestLeavingAGroup(t *testing.T) {
	s := newSite(t)
	blue, red, u := proto.UUID{0x11}, proto.UUID{0x22}, uuid(1)
	s.makeGroup(blue, "blue", 4)
	s.another(func() { s.makeGroup(red, "red", 1) })
	s.must(proto.OrdCreate, proto.Target{UUID: u, Group: &blue})
	if err := vtpmClient(s.m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	var foreign []byte
	s.another(func() { foreign = s.release(blue, 4, red, u) })
	spoiled := s.release(blue, 4, red, u)
	spoiled[len(spoiled)-1] ^= 1
	for name, c := range map[string]struct {
		release []byte
		want    proto.Result
	}{
		"no release":        {nil, proto.AuthFail},
		"not one":           {[]byte("XVTREL"), proto.AuthFail},
		"another authority": {foreign, proto.AuthFail},
		"spoiled":           {spoiled, proto.AuthFail},
		"another vTPM":      {s.release(blue, 4, red, uuid(2)), proto.AuthFail},
		"another group":     {s.release(red, 4, red, u), proto.AuthFail},
		"another target":    {s.release(blue, 4, defaultGroup, u), proto.AuthFail},
		"an older policy":   {s.release(blue, 3, red, u), proto.Conflict},
		"a policy to come":  {s.release(blue, 5, red, u), proto.Conflict},
		"for nobody":        {s.release(blue, 4, red), proto.AuthFail},
	} {
		if err := s.do(proto.OrdMove, proto.Target{UUID: u, Group: &red, Release: c.release}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if s.groupOf(u) != blue {
		t.Fatal("a refused move moved it")
	}
	if !s.hasEvent(EventBadPolicy, "move refused") {
		t.Error("no event")
	}
	s.must(proto.OrdMove, proto.Target{UUID: u, Group: &blue}) // nowhere
	s.must(proto.OrdMove, proto.Target{UUID: u, Group: &red, Release: s.release(blue, 4, red, uuid(7), u)})
	if r, err := vtpmClient(s.m, 1).LoadHashKey(); err != nil || r != record(1) || s.groupOf(u) != red {
		t.Errorf("after the move: %v", err)
	}
	// Joining is for the administrator: from the default group nobody is asked.
	if err := vtpmClient(s.m, 3).SaveHashKey(record(3)); err != nil {
		t.Fatal(err)
	}
	s.must(proto.OrdMove, proto.Target{UUID: uuid(3), Group: &blue})
}

// A backup cannot be the way out of a group either.
func TestRestoreKeepsGroups(t *testing.T) {
	s := newSite(t)
	blue, u, early := proto.UUID{0x11}, uuid(1), uuid(2)
	if err := errors.Join(vtpmClient(s.m, 1).SaveHashKey(record(1)), vtpmClient(s.m, 2).SaveHashKey(record(2)), vtpmClient(s.m, 3).SaveHashKey(record(3))); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		s.m.Disconnected(ClientID{Domain: uint16(n) + 11})
	}
	s.makeGroup(blue, "blue", 1)
	s.must(proto.OrdMove, proto.Target{UUID: u, Group: &blue})
	before := backup(t, s) // early is in the default group
	s.must(proto.OrdMove, proto.Target{UUID: early, Group: &blue})
	after := backup(t, s)

	refused := func(what string, parts []proto.BackupPart, how proto.Restore, n int, why string) {
		t.Helper()
		sum := s.restore(parts, how)
		if sum.Refused != n || len(sum.Why) != n || n > 0 && !strings.Contains(strings.Join(sum.Why, "\n"), why) {
			t.Errorf("%s: %+v, want %d refused with %q", what, sum, n, why)
		}
	}
	all := proto.Restore{Overwrite: true, DefaultGroup: true}
	refused("an entry of the default group over one of a group", before, all, 1, "leaving the group")
	if s.groupOf(early) != blue {
		t.Error("a backup took it out of its group")
	}
	how := all
	how.Release = s.release(blue, 1, defaultGroup, early)
	refused("the same with a release", before, how, 0, "")
	if s.groupOf(early) != defaultGroup {
		t.Error("the release had no effect")
	}
	s.must(proto.OrdMove, proto.Target{UUID: early, Group: &blue})

	// The group closes: its authority approves another state.
	s.must(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(blue, 2, hwtpm.Approval{PCRs: selection, Digest: [32]byte{1}})})
	if err := s.reboot(); err != nil {
		t.Fatal(err)
	}
	s.must(proto.OrdDelete, proto.Target{UUID: u})
	refused("into a closed group, deleted before", after, all, 2, "is closed")
	if _, err := vtpmClient(s.m, 1).LoadHashKey(); !errors.Is(err, proto.ErrNoRecord) {
		t.Errorf("a vTPM of a closed group: %v", err)
	}

	// The group is gone.
	s.must(proto.OrdDelete, proto.Target{UUID: early})
	s.must(proto.OrdGroupDelete, proto.GroupDelete{ID: blue})
	refused("no such group", after, proto.Restore{}, 2, "does not exist")
	refused("no such group, default group without a release", after, proto.Restore{DefaultGroup: true}, 2, "leaving the group")
	var foreign []byte
	s.another(func() { foreign = s.release(blue, 1, defaultGroup, u, early) })
	refused("a foreign release", after, proto.Restore{DefaultGroup: true, Release: foreign}, 2, "another authority")
	s.another(func() { s.makeGroup(blue, "blue again", 1) })
	refused("the group again, with another authority", after, all, 2, "another authority")
	s.must(proto.OrdGroupDelete, proto.GroupDelete{ID: blue})
	refused("a release without the flag", after, proto.Restore{Release: s.release(blue, 1, defaultGroup, u)}, 2, "does not exist")
	refused("flag and release", after, proto.Restore{DefaultGroup: true, Release: s.release(blue, 1, defaultGroup, u)}, 1, "does not let")
	if r, err := vtpmClient(s.m, 1).LoadHashKey(); err != nil || r != record(1) {
		t.Errorf("with flag and release: %v", err)
	}
	// The group again, with its authority.
	s.makeGroup(blue, "blue", 1)
	refused("the group again", after, proto.Restore{}, 0, "")
	if s.groupOf(early) != blue {
		t.Error("it did not come back into its group")
	}
}
