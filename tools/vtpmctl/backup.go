package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"xenvtpm/vtpmmgr-stub/proto"
)

// A backup file is a JSON object a line: proto.BackupPart. The last has no
// "after"; a file without such a line is cut off.
func runBackup(e *env, args []string) error {
	rest, err := e.parse(args, 1, nil)
	if err != nil {
		return err
	}
	tmp := rest[0] + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	parts, err := e.fetchBackup(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, rest[0]); err != nil {
		return err
	}
	return e.print(map[string]any{"file": rest[0], "parts": parts}, func() {
		fmt.Fprintf(e.out, "%s: %d parts; it opens with this manager, or with the recovery key\n", rest[0], parts)
	})
}

func (e *env) fetchBackup(w io.Writer) (parts int, err error) {
	enc := json.NewEncoder(w)
	for after := []byte(nil); ; parts++ {
		var p proto.BackupPart
		if err := e.ask(proto.OrdBackup, proto.BackupRequest{After: after}, &p); err != nil {
			return parts, err
		}
		if err := enc.Encode(p); err != nil {
			return parts, err
		}
		if after = p.After; len(after) == 0 {
			return parts + 1, nil
		}
	}
}

func readBackup(name string, partial bool) (header []byte, parts []proto.BackupPart, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	for lines.Scan() {
		var p proto.BackupPart
		if err := proto.ParseAdmin(lines.Bytes(), &p); err != nil && partial {
			break // a line that was cut
		} else if err != nil {
			return nil, nil, fmt.Errorf("%s: part %d is malformed", name, len(parts))
		}
		parts = append(parts, p)
	}
	if err := lines.Err(); err != nil {
		return nil, nil, err
	}
	if len(parts) == 0 {
		return nil, nil, fmt.Errorf("%s has no part that can be read", name)
	}
	if err := whole(parts); err != nil && !partial {
		return nil, nil, fmt.Errorf("%s %w", name, err)
	}
	return parts[0].Header, parts, nil
}

// whole finds early what the manager would refuse: it alone can tell whether
// numbers and end are what it once wrote.
func whole(parts []proto.BackupPart) error {
	if len(parts) == 0 || len(parts[len(parts)-1].After) != 0 {
		return errCut
	}
	for i, p := range parts {
		if p.Backup != parts[0].Backup {
			return fmt.Errorf("has parts of different backups, %v and %v", parts[0].Backup, p.Backup)
		}
		if p.Backup != (proto.UUID{}) && (p.Part != uint32(i) || p.Last != (i == len(parts)-1)) {
			return errCut
		}
	}
	return nil
}

var errCut = errors.New("is cut off or lacks parts (restore --partial takes what is there)")

// restoreOptions are the flags of restore.
type restoreOptions struct {
	proto.Restore
	release string
}

func (o *restoreOptions) define(fs *flag.FlagSet) {
	fs.BoolVar(&o.Overwrite, "overwrite", false, "replace vTPMs that exist")
	fs.BoolVar(&o.Check, "check", false, "say what would be restored, and change nothing")
	fs.BoolVar(&o.Partial, "partial", false, "take what is there of a backup that is not whole, or of an older version")
	fs.BoolVar(&o.DefaultGroup, "default-group", false, "put vTPMs whose group does not exist into the default group")
	fs.StringVar(&o.release, "release", "", "signed release of vTPMs that leave their group")
}

// runRestore has the manager check all parts before it gives the first one back.
func runRestore(e *env, args []string) error {
	var o restoreOptions
	rest, err := e.parse(args, 1, o.define)
	if err != nil {
		return err
	}
	_, parts, err := readBackup(rest[0], o.Partial)
	if err != nil {
		return err
	}
	if o.release != "" {
		if o.Release, err = encodedRelease(o.release); err != nil {
			return err
		}
	}
	check := o.Restore
	check.Check = true
	sum, err := e.giveBack(parts, check)
	if err == nil && !o.Check {
		sum, err = e.giveBack(parts, o.Restore)
	}
	if err != nil {
		return err
	}
	if err := e.print(sum, func() { e.restored(sum, o.Check) }); err != nil {
		return err
	}
	if sum.Refused > 0 {
		return errFailedCheck
	}
	return nil
}

func (e *env) giveBack(parts []proto.BackupPart, how proto.Restore) (sum proto.Restored, err error) {
	for i, p := range parts {
		var out proto.Restored
		how.PartID, how.Box = p.PartID, p.Box
		if err := e.ask(proto.OrdRestore, how, &out); err != nil {
			return sum, fmt.Errorf("part %d of %d (%d vTPMs %s before): %w", i+1, len(parts), sum.Restored, map[bool]string{true: "checked", false: "restored"}[how.Check], err)
		}
		sum.Restored, sum.Kept, sum.Refused = sum.Restored+out.Restored, sum.Kept+out.Kept, sum.Refused+out.Refused
		sum.Why = append(sum.Why, out.Why...)
	}
	return sum, nil
}

func (e *env) restored(sum proto.Restored, check bool) {
	fmt.Fprintf(e.out, "%d vTPMs %s, %d were there and kept, %d refused\n", sum.Restored, map[bool]string{true: "would be restored", false: "restored"}[check], sum.Kept, sum.Refused)
	for _, why := range sum.Why {
		fmt.Fprintln(e.out, "refused:", printable(why))
	}
	if n := sum.Refused - len(sum.Why); n > 0 {
		fmt.Fprintf(e.out, "and %d more\n", n)
	}
}
