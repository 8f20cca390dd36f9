package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"xenvtpm/vtpmmgr-stub/proto"
)

// print prints v as JSON, or in words.
func (e *env) print(v any, words func()) error {
	if !e.json {
		words()
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "%s\n", b)
	return err
}

// table prints rows in columns.
func (e *env) table(head string, rows func(row func(cells ...any))) {
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, head)
	rows(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, c)
		}
		fmt.Fprintln(w)
	})
	_ = w.Flush() // to a terminal or a pipe; nobody could be told
}

func runStatus(e *env, args []string) error {
	if _, err := e.parse(args, 0, nil); err != nil {
		return err
	}
	var s proto.Status
	if err := e.ask(proto.OrdStatus, proto.Empty{}, &s); err != nil {
		return err
	}
	if err := e.print(s, func() { e.status(s) }); err != nil {
		return err
	}
	if s.Degraded != "" {
		return errFailedCheck
	}
	return nil
}

func (e *env) status(s proto.Status) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(e.out, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	if s.Degraded != "" {
		line("state", "DEGRADED: %s", printable(s.Degraded))
		if s.Recoverable {
			line("", "the recovery key can open the store: vtpmctl recovery request")
		}
		return
	}
	line("state", "serving")
	line("manager", "%v", s.Manager)
	if s.Provisioned {
		line("root", "opens in approved states; authority %s, policy %d", s.Authority, s.Sequence)
		if !s.Pinned {
			line("", "NOT PINNED: put authority=%s on the manager's command line", s.AuthorityHash)
		}
	} else {
		line("root", "NOT PROVISIONED: opens in the platform state of its making only (PCRs %s)", s.PCRs)
	}
	line("recovery", "%s", map[bool]string{true: "a recovery key was given", false: "no recovery key: what this hardware TPM loses is lost"}[s.Recovery])
	if s.RecoveryBox != "" {
		line("", "key %s, box %s", orDash(s.RecoveryKey), s.RecoveryBox)
	}
	line("rollback", "%s (counter %d, commit %d)", s.Rollback, s.Counter, s.Commit)
	line("vTPMs", "%d, %d of them open, in %d groups", s.VTPMs, s.Open, s.Groups)
	line("disk", "%d of %d sectors free", s.FreeSectors, s.Sectors)
	line("since start", "%d requests, %d loads, %d saves in %d commits, %d refusals", s.Requests, s.Loads, s.Saves, s.Commits, s.Refusals)
}

// groupFlag defines --group, which takes a group's uuid or name.
func groupFlag(fs *flag.FlagSet) *string { return fs.String("group", "", "group, by name or uuid") }

// group resolves a group's name.
func (e *env) group(name string) (proto.UUID, error) {
	if u, err := proto.ParseUUID(name); err == nil {
		return u, nil
	}
	groups, err := e.groups()
	if err != nil {
		return proto.UUID{}, err
	}
	var found []proto.UUID
	for _, g := range groups {
		if g.Name == name {
			found = append(found, g.ID)
		}
	}
	if len(found) != 1 {
		return proto.UUID{}, fmt.Errorf("%d groups are named %q", len(found), name)
	}
	return found[0], nil
}

func (e *env) groups() (all []proto.Group, err error) {
	for req := (proto.GroupsRequest{}); ; {
		var page proto.Groups
		if err := e.ask(proto.OrdGroupList, req, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Groups...)
		if !page.More || len(page.Groups) == 0 {
			return all, nil
		}
		req.After = &page.Groups[len(page.Groups)-1].ID
	}
}

func runList(e *env, args []string) error {
	var name *string
	if _, err := e.parse(args, 0, func(fs *flag.FlagSet) { name = groupFlag(fs) }); err != nil {
		return err
	}
	req := proto.ListRequest{}
	if *name != "" {
		g, err := e.group(*name)
		if err != nil {
			return err
		}
		req.Group = &g
	}
	all := proto.List{VTPMs: []proto.VTPM{}}
	for {
		var page proto.List
		if err := e.ask(proto.OrdList, req, &page); err != nil {
			return err
		}
		all.VTPMs, all.Bad = append(all.VTPMs, page.VTPMs...), append(all.Bad, page.Bad...)
		if !page.More || len(page.VTPMs) == 0 {
			break
		}
		req.After = &page.VTPMs[len(page.VTPMs)-1].UUID
	}
	return e.print(all, func() {
		e.table("UUID\tGROUP\tSAVES\tCREATED\tOPEN IN", func(row func(...any)) {
			for _, v := range all.VTPMs {
				row(v.UUID, groupText(v.Group), v.Saves, timeText(v.Created), openText(v))
			}
		})
		for _, b := range all.Bad {
			fmt.Fprintln(e.err, "damaged:", b)
		}
	})
}

func groupText(g proto.UUID) string {
	if g == (proto.UUID{}) {
		return "default"
	}
	return g.String()
}

func timeText(unix uint64) string {
	if unix == 0 {
		return "-"
	}
	return time.Unix(int64(unix), 0).UTC().Format(time.RFC3339)
}

func openText(v proto.VTPM) string {
	switch {
	case v.Error != "":
		return v.Error
	case v.Domain != nil:
		return fmt.Sprintf("domain %d", *v.Domain)
	case !v.Saved:
		return "- (never saved)"
	}
	return "-"
}

// target parses UUID and --group, and what define adds.
func (e *env) target(args []string, define func(*flag.FlagSet)) (t proto.Target, err error) {
	var name *string
	rest, err := e.parse(args, 1, func(fs *flag.FlagSet) {
		name = groupFlag(fs)
		if define != nil {
			define(fs)
		}
	})
	if err != nil {
		return t, err
	}
	if t.UUID, err = proto.ParseUUID(rest[0]); err != nil {
		return t, err
	}
	if *name != "" {
		g, err := e.groupOrDefault(*name)
		if err != nil {
			return t, err
		}
		t.Group = &g
	}
	return t, nil
}

func runShow(e *env, args []string) error {
	t, err := e.target(args, nil)
	if err != nil {
		return err
	}
	var v proto.VTPM
	if err := e.ask(proto.OrdShow, t, &v); err != nil {
		return err
	}
	return e.print(v, func() {
		fmt.Fprintf(e.out, "vTPM     %v\ngroup    %s\nsaves    %d\ncreated  %s\nopen in  %s\n", v.UUID, groupText(v.Group), v.Saves, timeText(v.Created), openText(v))
	})
}

// change runs an operation that answers nothing.
func (e *env) change(ordinal uint32, in any, done string) error {
	var out proto.Empty
	if err := e.ask(ordinal, in, &out); err != nil {
		return err
	}
	return e.print(map[string]string{"done": done}, func() { fmt.Fprintln(e.out, done) })
}

func runCreate(e *env, args []string) error {
	t, err := e.target(args, nil)
	if err != nil {
		return err
	}
	return e.change(proto.OrdCreate, t, "created "+t.UUID.String())
}

func runDelete(e *env, args []string) error {
	t, err := e.target(args, nil)
	if err != nil {
		return err
	}
	return e.change(proto.OrdDelete, t, "deleted "+t.UUID.String())
}

func runMove(e *env, args []string) error {
	var release *string
	t, err := e.target(args, func(fs *flag.FlagSet) {
		release = fs.String("release", "", "signed release by the authority of its group")
	})
	if err != nil {
		return err
	}
	if t.Group == nil {
		return errUsage
	}
	if *release != "" {
		if t.Release, err = encodedRelease(*release); err != nil {
			return err
		}
	}
	return e.change(proto.OrdMove, t, fmt.Sprintf("moved %v to group %s", t.UUID, groupText(*t.Group)))
}

func runEvents(e *env, args []string) error {
	var from *uint64
	if _, err := e.parse(args, 0, func(fs *flag.FlagSet) { from = fs.Uint64("from", 0, "first number") }); err != nil {
		return err
	}
	all := proto.Events{Events: []proto.Event{}}
	for next := *from; ; {
		var page proto.Events
		if err := e.ask(proto.OrdEvents, proto.EventsRequest{From: next}, &page); err != nil {
			return err
		}
		all.Events = append(all.Events, page.Events...)
		if !page.More || len(page.Events) == 0 {
			break
		}
		next = page.Events[len(page.Events)-1].Seq + 1
	}
	return e.print(all, func() {
		e.table("NUMBER\tTIME\tKIND\tTIMES\tDOMAIN\tUUID\tWHAT", func(row func(...any)) {
			for _, v := range all.Events {
				row(v.Seq, timeText(v.Time), v.Kind, v.Count, v.Domain, v.UUID, printable(v.Text))
			}
		})
	})
}

// printable keeps a text from playing with the terminal.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7F {
			return '?'
		}
		return c
	}, s)
}

func runPCRs(e *env, args []string) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		args = append([]string{"0-23"}, args...)
	}
	rest, err := e.parse(args, 1, nil)
	if err != nil {
		return err
	}
	sel, err := parsePCRs(rest[0])
	if err != nil {
		return err
	}
	values, err := e.readPCRs(sel)
	if err != nil {
		return err
	}
	out := map[string]string{}
	var lines []string
	i := 0
	for pcr := range 24 {
		if sel.Mask>>pcr&1 == 1 {
			out[fmt.Sprint(pcr)] = hex.EncodeToString(values[i])
			lines = append(lines, fmt.Sprintf("%2d  %x", pcr, values[i]))
			i++
		}
	}
	return e.print(out, func() { fmt.Fprintln(e.out, strings.Join(lines, "\n")) })
}

func (e *env) readPCRs(sel proto.PCRSelection) ([][]byte, error) {
	var out proto.PCRs
	if err := e.ask(proto.OrdPCRs, proto.PCRsRequest{Alg: sel.Alg, Mask: sel.Mask}, &out); err != nil {
		return nil, err
	}
	if len(out.Values) != sel.Count() {
		return nil, errors.New("the manager answered with other PCRs than asked for")
	}
	return out.Values, nil
}
