package manager

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

// site is a machine with a real TPM, a disk and an administrator.
type site struct {
	t   testing.TB
	tpm *swtpmtest.TPM
	d   *simDisk
	m   *Manager
	a   *proto.Client
	key *ecdsa.PrivateKey // the authority's

	adopt proto.UUID         // adopt=
	pcrs  proto.PCRSelection // pcrs=, zero: selection
	pin   bool               // authority= names the authority
	log   []string           // of this run
}

func newSite(t testing.TB) *site {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, tpm: swtpmtest.Start(t, true), d: newDisk(diskSize), key: key}
	if err := s.boot(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) boot() error {
	s.t.Helper()
	hw, err := hwtpm.Open(s.tpm, hwtpm.Config{Logf: s.t.Logf})
	if err != nil {
		s.t.Fatal(err)
	}
	c := config(s.t, s.d, hw)
	s.log = nil
	c.Logf = func(f string, args ...any) {
		s.t.Logf(f, args...)
		s.log = append(s.log, fmt.Sprintf(f, args...))
	}
	if s.pcrs.Mask != 0 {
		c.PCRs = s.pcrs
	}
	if c.Adopt = s.adopt; s.pin {
		c.Authority = authorityHash32(s.public())
	}
	m, err := New(c)
	s.m, s.a = m, &proto.Client{S: client{m: m, admin: true}}
	return err
}

func (s *site) reboot() error {
	s.t.Helper()
	s.tpm.PowerCycle()
	return s.boot()
}

func (s *site) extend(pcr uint32) {
	s.t.Helper()
	_, err := tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}}}.Execute(s.tpm)
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) sign(message []byte) ([]byte, error) {
	d := sha256.Sum256(message)
	sig, err := s.key.Sign(rand.Reader, d[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return hwtpm.EncodeSignature(s.key.Public(), sig)
}

func (s *site) public() []byte {
	p, err := hwtpm.AuthorityPublic(s.key.Public())
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// present is the platform's state.
func (s *site) present() hwtpm.Approval {
	s.t.Helper()
	var p proto.PCRs
	if err := s.a.Admin(proto.OrdPCRs, proto.PCRsRequest{Alg: selection.Alg, Mask: selection.Mask}, &p); err != nil {
		s.t.Fatal(err)
	}
	return hwtpm.Approval{PCRs: selection, Digest: hwtpm.PCRDigest(p.Values)}
}

func (s *site) list(group proto.UUID, seq uint64, states ...hwtpm.Approval) []byte {
	s.t.Helper()
	l := hwtpm.PolicyList{Group: group, Sequence: seq, Approvals: states}
	if err := l.Sign(s.sign); err != nil {
		s.t.Fatal(err)
	}
	return l.Append(nil)
}

func (s *site) do(ordinal uint32, in any) error {
	s.t.Helper()
	var out proto.Empty
	return s.a.Admin(ordinal, in, &out)
}

func (s *site) must(ordinal uint32, in any) {
	s.t.Helper()
	if err := s.do(ordinal, in); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) status() (st proto.Status) {
	s.t.Helper()
	if err := s.a.Admin(proto.OrdStatus, proto.Empty{}, &st); err != nil {
		s.t.Fatal(err)
	}
	return st
}

func (s *site) hasEvent(kind EventKind, text string) bool {
	s.t.Helper()
	for from := uint64(0); ; {
		var e proto.Events
		if err := s.a.Admin(proto.OrdEvents, proto.EventsRequest{From: from}, &e); err != nil {
			s.t.Fatal(err)
		}
		for _, v := range e.Events {
			if v.Kind == kind.String() && strings.Contains(v.Text, text) {
				return true
			}
			from = v.Seq + 1
		}
		if !e.More {
			return false
		}
	}
}

func TestAdminVTPMs(t *testing.T) {
	s := newSite(t)
	u, g := uuid(1), proto.UUID{9}
	s.must(proto.OrdCreate, proto.Target{UUID: u})
	if err := s.do(proto.OrdCreate, proto.Target{UUID: u}); !errors.Is(err, proto.Conflict) {
		t.Errorf("create twice: %v", err)
	}
	if err := s.do(proto.OrdCreate, proto.Target{UUID: uuid(2), Group: &g}); !errors.Is(err, proto.BadIndex) {
		t.Errorf("create in an unknown group: %v", err)
	}
	if _, err := vtpmClient(s.m, 1).LoadHashKey(); !errors.Is(err, proto.ErrNoRecord) {
		t.Errorf("load of a vTPM that was never saved: %v", err)
	}
	if err := vtpmClient(s.m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	var v proto.VTPM
	if err := s.a.Admin(proto.OrdShow, proto.Target{UUID: u}, &v); err != nil || !v.Saved || v.Saves != 1 || v.Domain == nil || *v.Domain != 11 {
		t.Errorf("show: %+v %v", v, err)
	}
	if err := s.do(proto.OrdDelete, proto.Target{UUID: u}); !errors.Is(err, proto.Conflict) {
		t.Errorf("delete while open: %v", err)
	}
	s.m.Disconnected(ClientID{Domain: 11})
	for n := 2; n < 450; n++ { // more than one page
		if err := vtpmClient(s.m, n).SaveHashKey(record(n)); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[proto.UUID]bool{}
	req := proto.ListRequest{}
	for pages := 1; ; pages++ {
		var l proto.List
		if err := s.a.Admin(proto.OrdList, req, &l); err != nil {
			t.Fatal(err)
		}
		for i := range l.VTPMs {
			seen[l.VTPMs[i].UUID] = true
			req.After = &l.VTPMs[i].UUID
		}
		if !l.More {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	if len(seen) != 449 || s.status().VTPMs != 449 {
		t.Errorf("listed %d, status says %d, want 449", len(seen), s.status().VTPMs)
	}
	s.must(proto.OrdDelete, proto.Target{UUID: u})
	if err := s.reboot(); err != nil {
		t.Fatal(err)
	}
	if err := s.do(proto.OrdDelete, proto.Target{UUID: u}); !errors.Is(err, proto.BadIndex) {
		t.Errorf("a deleted vTPM came back: %v", err)
	}
	if !s.hasEvent(EventDeleted, "deleted") || !s.hasEvent(EventCreated, "added by the administrator") {
		t.Error("events are missing")
	}
}

func TestNotAdmin(t *testing.T) {
	s := newSite(t)
	thief := &proto.Client{S: client{m: s.m, id: ClientID{Domain: 7}, uuid: uuid(7)}}
	for ord := range adminOps {
		if err := thief.Admin(ord, proto.Empty{}, &proto.Empty{}); !errors.Is(err, proto.AuthFail) {
			t.Errorf("ordinal 0x%x by a vTPM domain: %v", ord, err)
		}
	}
	if !s.hasEvent(EventNotAdmin, "administration refused") {
		t.Error("no event")
	}
}

func TestGroups(t *testing.T) {
	s := newSite(t)
	g := proto.UUID{0x11}
	create := proto.GroupCreate{ID: g, Name: "blue", Authority: s.public(), Policy: s.list(g, 1, s.present())}

	bad := create
	bad.Policy = s.list(proto.UUID{0x22}, 1, s.present())
	if err := s.do(proto.OrdGroupCreate, bad); !errors.Is(err, proto.AuthFail) {
		t.Errorf("list for another group: %v", err)
	}
	bad = create
	bad.Policy = s.list(g, 1, hwtpm.Approval{PCRs: selection})
	if err := s.do(proto.OrdGroupCreate, bad); !errors.Is(err, proto.Disabled) {
		t.Errorf("list without the present state: %v", err)
	}
	bad = create
	bad.Policy = bytes.Clone(create.Policy)
	bad.Policy[len(bad.Policy)-1] ^= 1
	if err := s.do(proto.OrdGroupCreate, bad); !errors.Is(err, proto.AuthFail) {
		t.Errorf("wrong signature: %v", err)
	}
	s.must(proto.OrdGroupCreate, create)
	if err := s.do(proto.OrdGroupCreate, create); !errors.Is(err, proto.Conflict) {
		t.Errorf("same group twice: %v", err)
	}

	blue, plain := vtpmClient(s.m, 1), vtpmClient(s.m, 2)
	s.must(proto.OrdCreate, proto.Target{UUID: uuid(1), Group: &g})
	if err := errors.Join(blue.SaveHashKey(record(1)), plain.SaveHashKey(record(2))); err != nil {
		t.Fatal(err)
	}
	if err := s.do(proto.OrdGroupDelete, proto.GroupDelete{ID: g}); !errors.Is(err, proto.Conflict) {
		t.Errorf("delete of a group with vTPMs: %v", err)
	}
	if err := s.do(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(g, 1, s.present())}); !errors.Is(err, proto.Conflict) {
		t.Errorf("replayed sequence: %v", err)
	}
	// The platform changes in a PCR that the group's policy names and the local
	// one does not: only that group closes.
	s.m.c.PCRs.Mask = 0xFF
	other := proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 1 << 9}
	var p proto.PCRs
	if err := s.a.Admin(proto.OrdPCRs, proto.PCRsRequest{Alg: other.Alg, Mask: other.Mask}, &p); err != nil {
		t.Fatal(err)
	}
	s.must(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(g, 2, hwtpm.Approval{PCRs: other, Digest: hwtpm.PCRDigest(p.Values)})})
	s.tpm.PowerCycle()
	boot := func() {
		t.Helper()
		if err := s.boot(); err != nil {
			t.Fatal(err)
		}
		blue, plain = vtpmClient(s.m, 1), vtpmClient(s.m, 2)
	}
	boot() // start the TPM
	s.extend(9)
	boot()
	if _, err := blue.LoadHashKey(); !errors.Is(err, proto.Disabled) {
		t.Errorf("load from a closed group: %v", err)
	}
	if err := blue.SaveHashKey(record(5)); !errors.Is(err, proto.Disabled) {
		t.Errorf("save into a closed group: %v", err)
	}
	if r, err := plain.LoadHashKey(); err != nil || r != record(2) {
		t.Errorf("the other group: %v", err)
	}
	var groups proto.Groups
	if err := s.a.Admin(proto.OrdGroupList, proto.GroupsRequest{}, &groups); err != nil || len(groups.Groups) != 2 {
		t.Fatalf("%+v %v", groups, err)
	}
	for _, d := range groups.Groups {
		if d.Open != (d.ID == defaultGroup) || d.Open == (d.Why != "") {
			t.Errorf("group %+v", d)
		}
	}
	if err := s.do(proto.OrdMove, proto.Target{UUID: uuid(1), Group: &defaultGroup, Release: s.release(g, 2, defaultGroup, uuid(1))}); !errors.Is(err, proto.Disabled) {
		t.Errorf("move out of a closed group: %v", err)
	}
	// The authority approves the new state: the group opens, nothing was lost.
	if err := s.a.Admin(proto.OrdPCRs, proto.PCRsRequest{Alg: other.Alg, Mask: other.Mask}, &p); err != nil {
		t.Fatal(err)
	}
	s.must(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(g, 3, hwtpm.Approval{PCRs: other, Digest: hwtpm.PCRDigest(p.Values)})})
	if r, err := blue.LoadHashKey(); err != nil || r != record(1) {
		t.Errorf("after the update: %v", err)
	}
	s.must(proto.OrdMove, proto.Target{UUID: uuid(1), Group: &defaultGroup, Release: s.release(g, 3, defaultGroup, uuid(1))})
	s.must(proto.OrdGroupDelete, proto.GroupDelete{ID: g})
	boot()
	if r, err := blue.LoadHashKey(); err != nil || r != record(1) {
		t.Errorf("after move and restart: %v", err)
	}
	if !s.hasEvent(EventMoved, "moved") || !s.hasEvent(EventBadPolicy, "signature") {
		t.Error("events are missing")
	}
}

// Every answer fits, however much there is of everything.
func TestFullPages(t *testing.T) {
	s := newSite(t)
	long := strings.Repeat("<\"", maxEventText) // what JSON makes longest
	for i := range 300 {
		s.m.events.add(Event{Kind: EventDamaged, Domain: uint16(i), Count: 1, UUID: uuid(i), Text: long[:maxEventText]})
		if len(s.m.events.pending) == maxPending {
			if err := s.m.commit(nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !s.hasEvent(EventDamaged, "<") {
		t.Error("no events")
	}
	states := make([]hwtpm.Approval, 32)
	for i := range states {
		states[i] = hwtpm.Approval{PCRs: selection, Digest: [32]byte{byte(i)}}
	}
	states[31] = s.present()
	g := proto.UUID{7}
	s.must(proto.OrdGroupCreate, proto.GroupCreate{ID: g, Name: strings.Repeat("n", maxGroupName), Authority: s.public(), Policy: s.list(g, 1, states...)})
	var groups proto.Groups
	if err := s.a.Admin(proto.OrdGroupList, proto.GroupsRequest{ID: &g}, &groups); err != nil || len(groups.Groups) != 1 || len(groups.Groups[0].States) != 32 || *groups.Groups[0].VTPMs != 0 {
		t.Errorf("%+v %v", groups, err)
	}
	for i := range maxGroups - 2 { // as if they were there
		s.m.groups[proto.UUID{9, byte(i)}] = &group{id: proto.UUID{9, byte(i)}, name: strings.Repeat("\"", maxGroupName), why: errors.New(strings.Repeat("<", 1000)), binding: s.m.groups[g].binding}
	}
	seen := 0
	req := proto.GroupsRequest{}
	for {
		if err := s.a.Admin(proto.OrdGroupList, req, &groups); err != nil {
			t.Fatal(err)
		}
		seen += len(groups.Groups)
		if !groups.More {
			break
		}
		req.After = &groups.Groups[len(groups.Groups)-1].ID
	}
	if seen != maxGroups {
		t.Errorf("%d of %d groups listed", seen, maxGroups)
	}
}

func TestProvisionAndUpgrade(t *testing.T) {
	s := newSite(t)
	if err := vtpmClient(s.m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	root := proto.UUID{}
	if err := s.do(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(root, 1, s.present())}); !errors.Is(err, proto.NotProvisioned) {
		t.Errorf("policy for an unprovisioned manager: %v", err)
	}
	s.must(proto.OrdProvision, proto.GroupCreate{Authority: s.public(), Policy: s.list(root, 1, s.present())})
	st := s.status()
	if !st.Provisioned || st.Sequence != 1 || st.Recovery {
		t.Errorf("%+v", st)
	}
	old := bytes.Clone(s.d.live)
	if err := s.reboot(); err != nil {
		t.Fatal(err)
	}
	// An upgrade changes PCR 4. The next state is known in advance (here: by
	// looking), signed and applied before.
	before := s.present()
	s.extend(4)
	after := s.present()
	s.must(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(root, 2, before, after)})
	if err := s.boot(); !errors.Is(err, ErrUnpinned) {
		t.Fatalf("after the upgrade, and nothing says whose the root is: %v", err)
	}
	s.pin = true
	if err := s.boot(); err != nil {
		t.Fatalf("after the upgrade: %v", err)
	}
	if r, err := vtpmClient(s.m, 1).LoadHashKey(); err != nil || r != record(1) {
		t.Errorf("after the upgrade: %v", err)
	}
	// An upgrade that nobody announced.
	s.extend(4)
	if err := s.boot(); !errors.Is(err, hwtpm.ErrPCRMismatch) {
		t.Fatalf("unapproved state: %v", err)
	}
	if err := s.do(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(root, 2, s.present())}); !errors.Is(err, proto.Conflict) {
		t.Errorf("old sequence: %v", err)
	}
	if _, err := vtpmClient(s.m, 1).LoadHashKey(); !errors.Is(err, proto.Fail) {
		t.Errorf("a refused list opened the store: %v", err)
	}
	s.must(proto.OrdPolicyApply, proto.PolicyApply{Policy: s.list(root, 3, s.present())})
	if r, err := vtpmClient(s.m, 1).LoadHashKey(); err != nil || r != record(1) {
		t.Errorf("after the late approval: %v", err)
	}
	if err := s.boot(); err != nil {
		t.Errorf("and at the next start: %v", err)
	}
	// The old key area (with its older, still validly signed list) put back.
	copy(s.d.live[:16*store.SectorSize], old[:16*store.SectorSize])
	if err := s.boot(); err == nil {
		t.Error("an older key area was accepted")
	}
}

func TestBackupAndRestore(t *testing.T) {
	s := newSite(t)
	recovery, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.must(proto.OrdProvision, proto.GroupCreate{Authority: s.public(), Policy: s.list(proto.UUID{}, 1, s.present()), Recovery: recovery.PublicKey().Bytes()})
	const n = 300
	for i := range n {
		if err := vtpmClient(s.m, i).SaveHashKey(record(i)); err != nil {
			t.Fatal(err)
		}
		s.m.Disconnected(ClientID{Domain: uint16(i) + 10})
	}
	parts := backup(t, s)
	if len(parts) < 2 {
		t.Errorf("%d parts", len(parts))
	}
	for _, p := range parts {
		r := record(7)
		if bytes.Contains(p.Box, r[:16]) {
			t.Error("a backup shows a key")
		}
	}
	header := parts[0].Header

	// To the same manager: only what is missing, unless told otherwise.
	s.must(proto.OrdDelete, proto.Target{UUID: uuid(5)})
	if err := vtpmClient(s.m, 6).SaveHashKey(record(99)); err != nil {
		t.Fatal(err)
	}
	s.m.Disconnected(ClientID{Domain: 16})
	restored, kept := restore(t, s, parts, false)
	if restored != 1 || kept != n-1 {
		t.Errorf("restored %d, kept %d", restored, kept)
	}
	if r, err := vtpmClient(s.m, 6).LoadHashKey(); err != nil || r != record(99) {
		t.Errorf("a newer record was overwritten: %v", err)
	}
	if r, err := vtpmClient(s.m, 5).LoadHashKey(); err != nil || r != record(5) {
		t.Errorf("the deleted one: %v", err)
	}
	// 5 and 6 are open now: they are kept, and not overwritten while in use.
	if restored, kept := restore(t, s, parts, false); restored != 0 || kept != n {
		t.Errorf("beside running vTPMs: restored %d, kept %d", restored, kept)
	}
	var over proto.Restored
	if err := s.a.Admin(proto.OrdRestore, proto.Restore{PartID: parts[0].PartID, Box: parts[0].Box, Overwrite: true}, &over); !errors.Is(err, proto.Conflict) || !strings.Contains(err.Error(), errInUse.Error()) {
		t.Errorf("overwriting a running vTPM: %v", err)
	}

	// To another machine, with the recovery key.
	other := newSite(t)
	var out proto.Restored
	if err := other.a.Admin(proto.OrdRestore, proto.Restore{PartID: parts[0].PartID, Box: parts[0].Box, Check: true}, &out); !errors.Is(err, proto.AuthFail) {
		t.Errorf("another manager's backup without its key: %v", err)
	}
	_, named, box, err := ParseBackupHeader(header)
	if err != nil || !bytes.Equal(named, recovery.PublicKey().Bytes()) {
		t.Fatalf("header: key %x, %v", named, err)
	}
	other.recover(recovery, box, true)
	if restored, _ := restore(t, other, parts, false); restored != n {
		t.Errorf("restored %d", restored)
	}
	if r, err := vtpmClient(other.m, 7).LoadHashKey(); err != nil || r != record(7) {
		t.Errorf("on the other machine: %v", err)
	}
	if !other.hasEvent(EventRestored, "restored") {
		t.Error("no event")
	}
}

func backup(t *testing.T, s *site) (parts []proto.BackupPart) {
	t.Helper()
	var after []byte
	for range 1000 {
		var p proto.BackupPart
		if err := s.a.Admin(proto.OrdBackup, proto.BackupRequest{After: after}, &p); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
		if after = p.After; len(after) == 0 {
			return parts
		}
	}
	t.Fatal("endless backup")
	return nil
}

// restore checks all parts and then gives them back.
func restore(t *testing.T, s *site, parts []proto.BackupPart, overwrite bool) (restored, kept int) {
	t.Helper()
	sum := s.restore(parts, proto.Restore{Overwrite: overwrite})
	if sum.Refused > 0 {
		t.Errorf("%d refused: %v", sum.Refused, sum.Why)
	}
	return sum.Restored, sum.Kept
}

// restore does the same with all that an answer says. What the check foretells
// has to happen.
func (s *site) restore(parts []proto.BackupPart, how proto.Restore) proto.Restored {
	s.t.Helper()
	check := how
	check.Check = true
	foretold, err := s.giveBack(parts, check)
	if err != nil {
		s.t.Fatal(err)
	}
	sum, err := s.giveBack(parts, how)
	if err != nil {
		s.t.Fatal(err)
	}
	if foretold.Restored != sum.Restored || foretold.Kept != sum.Kept || foretold.Refused != sum.Refused {
		s.t.Errorf("checked: %+v, restored: %+v", foretold, sum)
	}
	return sum
}

func (s *site) giveBack(parts []proto.BackupPart, how proto.Restore) (sum proto.Restored, err error) {
	s.t.Helper()
	for _, p := range parts {
		var out proto.Restored
		how.PartID, how.Box = p.PartID, p.Box
		if err := s.a.Admin(proto.OrdRestore, how, &out); err != nil {
			return sum, err
		}
		sum.Restored, sum.Kept, sum.Refused = sum.Restored+out.Restored, sum.Kept+out.Kept, sum.Refused+out.Refused
		sum.Why = append(sum.Why, out.Why...)
	}
	return sum, nil
}

// recover does both halves of a recovery.
func (s *site) recover(key *ecdh.PrivateKey, box []byte, forBackup bool) {
	s.t.Helper()
	var info proto.RecoveryInfo
	err := s.a.Admin(proto.OrdRecovery, proto.Empty{}, &info)
	if err != nil {
		s.t.Fatal(err)
	}
	if box == nil {
		box = info.Box
	}
	back, err := Rewrap(rand.Reader, key, box, info.Session)
	if err != nil {
		s.t.Fatal(err)
	}
	s.must(proto.OrdRecover, proto.Recover{Box: back, Key: key.PublicKey().Bytes(), Backup: forBackup})
	if err := s.do(proto.OrdRecover, proto.Recover{Box: back, Key: key.PublicKey().Bytes(), Backup: forBackup}); !errors.Is(err, proto.AuthFail) {
		s.t.Errorf("the same box twice: %v", err)
	}
}

func TestRecoverStore(t *testing.T) {
	for name, lose := range map[string]func(s *site){
		"TPM cleared": func(s *site) {
			if _, err := (tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHLockout, Auth: tpm2.PasswordAuth(nil)}}).Execute(s.tpm); err != nil {
				s.t.Fatal(err)
			}
		},
		"TPM replaced": func(s *site) { s.tpm.Erase() },
		"PCR changed":  func(s *site) { s.extend(0) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			recovery, _ := ecdh.P256().GenerateKey(rand.Reader)
			s.must(proto.OrdProvision, proto.GroupCreate{Authority: s.public(), Policy: s.list(proto.UUID{}, 1, s.present()), Recovery: recovery.PublicKey().Bytes()})
			if err := vtpmClient(s.m, 1).SaveHashKey(record(1)); err != nil {
				t.Fatal(err)
			}
			older := bytes.Clone(s.d.live)
			if err := vtpmClient(s.m, 1).SaveHashKey(record(2)); err != nil {
				t.Fatal(err)
			}
			lose(s)
			if err := s.boot(); err == nil {
				t.Fatal("starts")
			}
			if st := s.status(); st.Degraded == "" || !st.Recoverable {
				t.Errorf("%+v", st)
			}
			thief, _ := ecdh.P256().GenerateKey(rand.Reader)
			var info proto.RecoveryInfo
			if err := s.a.Admin(proto.OrdRecovery, proto.Empty{}, &info); err != nil {
				t.Fatal(err)
			}
			if _, err := Rewrap(rand.Reader, thief, info.Box, info.Session); !errors.Is(err, errRecovery) {
				t.Errorf("another recovery key: %v", err)
			}
			s.recover(recovery, nil, false)
			if r, err := vtpmClient(s.m, 1).LoadHashKey(); err != nil || r != record(2) {
				t.Errorf("%v", err)
			}
			if err := s.boot(); err != nil {
				t.Errorf("at the next start: %v", err)
			}
			if name == "PCR changed" { // the counter is there, so an old disk is still told apart
				s.d = diskOf(older)
				s.extend(0)
				if err := s.boot(); err == nil {
					t.Fatal("starts")
				}
				if err := s.a.Admin(proto.OrdRecovery, proto.Empty{}, &info); err != nil {
					t.Fatal(err)
				}
				back, _ := Rewrap(rand.Reader, recovery, info.Box, info.Session)
				if err := s.do(proto.OrdRecover, proto.Recover{Box: back, Key: recovery.PublicKey().Bytes()}); err == nil || !strings.Contains(err.Error(), ErrRollback.Error()) {
					t.Errorf("recovery of an older disk: %v", err)
				}
			}
		})
	}
}

func TestAdminFraming(t *testing.T) {
	s := newSite(t)
	call := func(ord uint32, body ...byte) error {
		_, err := s.a.Call(proto.TagMgmt, ord, body)
		return err
	}
	push := func(off uint32, n int) error {
		return call(proto.OrdAdminPush, append(binary.BigEndian.AppendUint32(nil, off), make([]byte, n)...)...)
	}
	for name, c := range map[string]struct {
		err  error
		want proto.Result
	}{
		"no body":            {call(proto.OrdStatus), proto.BadParameter},
		"version 2":          {call(proto.OrdStatus, 0, 2, 0, '{', '}'), proto.BadVersion},
		"unknown flag":       {call(proto.OrdStatus, 0, 1, 2, '{', '}'), proto.BadParameter},
		"pushed and body":    {call(proto.OrdStatus, 0, 1, 1, '{', '}'), proto.BadParameter},
		"no JSON":            {call(proto.OrdStatus, 0, 1, 0), proto.BadParameter},
		"unknown field":      {call(proto.OrdStatus, append([]byte{0, 1, 0}, `{"x":1}`...)...), proto.BadParameter},
		"trailing":           {call(proto.OrdStatus, append([]byte{0, 1, 0}, `{}{}`...)...), proto.BadParameter},
		"fetch nothing":      {call(proto.OrdAdminFetch, 0, 0, 0, 0), proto.NoResultPending},
		"push hole":          {push(5, 5), proto.BadParameter},
		"push nothing":       {push(0, 0), proto.BadParameter},
		"upstream's ordinal": {call(0x02000101), proto.BadOrdinal},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	var err error
	for off := 0; err == nil && off < 2*proto.MaxAdmin; off += 4000 {
		err = push(uint32(off), 4000)
	}
	if !errors.Is(err, proto.Size) {
		t.Errorf("endless push: %v", err)
	}
}
