package main

import (
	"errors"
	"flag"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// releaseFile is a release as people keep it.
type releaseFile struct {
	Group     proto.UUID   `json:"group"`
	Sequence  uint64       `json:"policy_sequence"` // of the group's policy list in force
	To        proto.UUID   `json:"to"`              // zero: the default group
	VTPMs     []proto.UUID `json:"vtpms"`
	Authority []byte       `json:"authority,omitempty"`
	Signature []byte       `json:"signature,omitempty"`
}

func (f *releaseFile) release() *hwtpm.Release {
	return &hwtpm.Release{Authority: f.Authority, Group: f.Group, Sequence: f.Sequence, To: f.To, VTPMs: f.VTPMs, Signature: f.Signature}
}

func readRelease(name string) (*releaseFile, error) { return readFile[releaseFile](name, "release") }

func (f *releaseFile) write(name string) error { return writeFile(name, f) }

// encodedRelease reads a signed release for sending.
func encodedRelease(name string) ([]byte, error) {
	f, err := readRelease(name)
	if err != nil {
		return nil, err
	}
	if len(f.Signature) == 0 {
		return nil, fmt.Errorf("%s is not signed; see vtpmctl release sign", name)
	}
	return f.release().Append(nil), nil
}

// groupOrDefault resolves a group that may be the default one.
func (e *env) groupOrDefault(name string) (proto.UUID, error) {
	if name == "default" {
		return proto.UUID{}, nil
	}
	return e.group(name)
}

// sequenceOf asks for the number of a group's policy list.
func (e *env) sequenceOf(id proto.UUID) (uint64, error) {
	var out proto.Groups
	if err := e.ask(proto.OrdGroupList, proto.GroupsRequest{ID: &id}, &out); err != nil {
		return 0, fmt.Errorf("the group's policy number (give --sequence): %w", err)
	}
	if len(out.Groups) != 1 {
		return 0, errors.New("the manager answered with something else than one group")
	}
	return out.Groups[0].Sequence, nil
}

// runReleaseNew writes an unsigned release of vTPMs that leave their group.
func runReleaseNew(e *env, args []string) error {
	var from, to *string
	var sequence *uint64
	rest, err := e.parse(args, atLeastOne, func(fs *flag.FlagSet) {
		from = fs.String("group", "", "group that they leave, by name or uuid")
		to = fs.String("to", "", "group that they go to, by name or uuid; default: the default group")
		sequence = fs.Uint64("sequence", 0, "number of the group's policy list, if the group is not here")
	})
	if err != nil {
		return err
	}
	if *from == "" || *to == "" || len(rest) < 2 {
		return errUsage
	}
	f := &releaseFile{Sequence: *sequence}
	for _, v := range rest[1:] {
		u, err := proto.ParseUUID(v)
		if err != nil {
			return err
		}
		f.VTPMs = append(f.VTPMs, u)
	}
	if f.Group, err = e.group(*from); err != nil {
		return err
	}
	if f.To, err = e.groupOrDefault(*to); err != nil {
		return err
	}
	if f.Sequence == 0 {
		if f.Sequence, err = e.sequenceOf(f.Group); err != nil {
			return err
		}
	}
	if err := f.write(rest[0]); err != nil {
		return err
	}
	return e.print(f, func() {
		fmt.Fprintf(e.out, "%s: %s, not signed\n", rest[0], f.text())
	})
}

func (f *releaseFile) text() string {
	return fmt.Sprintf("%d vTPMs from group %v (policy %d) to group %s", len(f.VTPMs), f.Group, f.Sequence, groupText(f.To))
}

// runReleaseSign signs it, offline, and says what was signed.
func runReleaseSign(e *env, args []string) error {
	var keyFile *string
	rest, err := e.parse(args, 1, func(fs *flag.FlagSet) { keyFile = fs.String("key", "", "approval key") })
	if err != nil {
		return err
	}
	if *keyFile == "" {
		return errUsage
	}
	f, err := readRelease(rest[0])
	if err != nil {
		return err
	}
	signer, err := e.loadSigner(*keyFile)
	if err != nil {
		return err
	}
	f.Authority = signer.public
	if f.Signature, err = signer.sign(f.release().Message()); err != nil {
		return err
	}
	if err := f.release().Verify(); err != nil {
		return fmt.Errorf("the signature does not verify: %w", err)
	}
	if err := f.write(rest[0]); err != nil {
		return err
	}
	return e.print(f, func() {
		fmt.Fprintf(e.out, "%s: %s, signed by %s\n", rest[0], f.text(), hwtpm.AuthorityName(signer.public))
		for _, u := range f.VTPMs {
			fmt.Fprintf(e.out, "  %v\n", u)
		}
	})
}
