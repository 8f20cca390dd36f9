package manager

import (
	"errors"
	"slices"
	"testing"

	"xenvtpm/vtpmmgr-stub/proto"
)

// twoBackups makes two backups of several parts each.
func twoBackups(t *testing.T) (s *site, first, second []proto.BackupPart) {
	s = newSite(t)
	for n := range 700 {
		if err := vtpmClient(s.m, n).SaveHashKey(record(n)); err != nil {
			t.Fatal(err)
		}
		s.m.Disconnected(ClientID{Domain: uint16(n) + 10})
	}
	first, second = backup(t, s), backup(t, s)
	if len(first) < 3 || len(first) != len(second) {
		t.Fatalf("%d and %d parts, want three or more", len(first), len(second))
	}
	return s, first, second
}

// Parts of different backups do not mix, and what was cut off, left out, doubled
// or exchanged does not look whole.
func TestBackupIsWhole(t *testing.T) {
	s, first, second := twoBackups(t)
	cut := slices.Clone(first[:len(first)-1])
	claim := slices.Clone(cut)
	claim[len(claim)-1].Last = true // what a forger of the file would write
	renumbered := slices.Delete(slices.Clone(first), 1, 2)
	for i := range renumbered {
		renumbered[i].Part = uint32(i)
	}
	mixed := slices.Clone(first)
	mixed[1] = second[1]
	renamed := slices.Clone(mixed)
	renamed[1].Backup = first[0].Backup
	swapped := slices.Clone(first)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	wrongTotal := slices.Clone(first)
	wrongTotal[len(first)-1].Total--
	check := proto.Restore{Check: true}
	for name, c := range map[string]struct {
		parts []proto.BackupPart
		want  proto.Result // of the check
	}{
		"part left out":               {slices.Delete(slices.Clone(first), 1, 2), proto.Conflict},
		"left out and renumbered":     {renumbered, proto.AuthFail},
		"part of another backup":      {mixed, proto.Conflict},
		"the same under its name":     {renamed, proto.AuthFail},
		"exchanged":                   {swapped, proto.Conflict},
		"doubled":                     {slices.Insert(slices.Clone(first), 1, first[1]), proto.Conflict},
		"cut, with an end of its own": {claim, proto.AuthFail},
		"another total":               {wrongTotal, proto.AuthFail},
		"more behind the end":         {append(slices.Clone(first), first[len(first)-1]), proto.Conflict},
	} {
		if _, err := s.giveBack(c.parts, check); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := s.giveBack(cut, check); err != nil {
		t.Errorf("the check of a cut backup, as far as it goes: %v", err)
	}
	for name, parts := range map[string][]proto.BackupPart{"cut off": cut, "never checked": second} {
		if _, err := s.giveBack(parts, proto.Restore{Overwrite: true}); !errors.Is(err, proto.Conflict) {
			t.Errorf("restore of one that is %s: %v", name, err)
		}
	}
	if sum, err := s.giveBack(cut, proto.Restore{Overwrite: true, Partial: true}); err != nil || sum.Restored == 0 {
		t.Errorf("what is there, on purpose: %+v %v", sum, err)
	}
	if sum := s.restore(second, proto.Restore{Overwrite: true}); sum.Restored != 700 || sum.Refused != 0 {
		t.Errorf("the whole one: %+v", sum)
	}
	if err := s.a.Admin(proto.OrdBackup, proto.BackupRequest{After: first[0].After}, &proto.BackupPart{}); !errors.Is(err, proto.Conflict) {
		t.Errorf("a part of a backup that was not begun: %v", err)
	}
}

// A backup of an older version has no numbers. It opens, but only where somebody
// says that it need not be whole.
func TestBackupOfTheFirstVersion(t *testing.T) {
	s := newSite(t)
	rec := record(9)
	u := uuid(9)
	plain := append(append(u[:len(u):len(u)], make([]byte, 16)...), make([]byte, 16)...)
	plain = append(append(plain, 1), rec[:]...)
	box, err := s.m.backupBox(s.m.secret)
	if err != nil {
		t.Fatal(err)
	}
	id := s.m.store.ID()
	sealed, err := box.Seal(nil, plain, append([]byte("xenvtpm backup 1"), id[:]...))
	if err != nil {
		t.Fatal(err)
	}
	parts := []proto.BackupPart{{Box: sealed}}
	for _, check := range []bool{true, false} {
		if _, err := s.giveBack(parts, proto.Restore{Check: check}); !errors.Is(err, proto.Conflict) {
			t.Errorf("check %v: %v", check, err)
		}
	}
	if sum := s.restore(parts, proto.Restore{Partial: true}); sum.Restored != 1 {
		t.Errorf("%+v", sum)
	}
	if r, err := vtpmClient(s.m, 9).LoadHashKey(); err != nil || r != rec {
		t.Error(err)
	}
}
