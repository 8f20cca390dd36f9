package main

import (
	"crypto/ecdh"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// runGroupCreate makes the group that the policy names.
func runGroupCreate(e *env, args []string) error {
	var key, policy *string
	rest, err := e.parse(args, 1, func(fs *flag.FlagSet) {
		key = fs.String("authority", "", "approval key (public part)")
		policy = fs.String("policy", "", "signed policy")
	})
	if err != nil {
		return err
	}
	if *key == "" || *policy == "" {
		return errUsage
	}
	public, err := loadAuthority(*key)
	if err != nil {
		return err
	}
	b, p, err := encoded(*policy)
	if err != nil {
		return err
	}
	if p.Group == (proto.UUID{}) {
		return errors.New("the policy is for the manager's root; a group's policy has the uuid that the group is to have (policy new --group UUID)")
	}
	return e.change(proto.OrdGroupCreate, proto.GroupCreate{ID: p.Group, Name: rest[0], Authority: public, Policy: b},
		fmt.Sprintf("group %s is %v", rest[0], p.Group))
}

func runGroupList(e *env, args []string) error {
	if _, err := e.parse(args, 0, nil); err != nil {
		return err
	}
	groups, err := e.groups()
	if err != nil {
		return err
	}
	return e.print(groups, func() {
		e.table("NAME\tUUID\tSTATE\tPOLICY\tAUTHORITY", func(row func(...any)) {
			for _, g := range groups {
				row(g.Name, g.ID, openState(g), g.Sequence, orDash(g.Authority))
			}
		})
	})
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func openState(g proto.Group) string {
	if g.Open {
		return "open"
	}
	return "CLOSED"
}

func runGroupShow(e *env, args []string) error {
	rest, err := e.parse(args, 1, nil)
	if err != nil {
		return err
	}
	id, err := e.group(rest[0])
	if err != nil {
		return err
	}
	var out proto.Groups
	if err := e.ask(proto.OrdGroupList, proto.GroupsRequest{ID: &id}, &out); err != nil {
		return err
	}
	if len(out.Groups) != 1 || out.Groups[0].VTPMs == nil {
		return errors.New("the manager answered with something else than one group")
	}
	g := out.Groups[0]
	return e.print(g, func() {
		fmt.Fprintf(e.out, "group      %s\nuuid       %v\nstate      %s\nauthority  %s\npolicy     %d\nvTPMs      %d\n", g.Name, g.ID,
			strings.TrimSpace(openState(g)+" "+printable(g.Why)), orDash(g.Authority), g.Sequence, *g.VTPMs)
		for _, s := range g.States {
			fmt.Fprintf(e.out, "approved   %s\n", s)
		}
	})
}

func runGroupDelete(e *env, args []string) error {
	rest, err := e.parse(args, 1, nil)
	if err != nil {
		return err
	}
	id, err := e.group(rest[0])
	if err != nil {
		return err
	}
	return e.change(proto.OrdGroupDelete, proto.GroupDelete{ID: id}, "deleted group "+id.String())
}

func runProvision(e *env, args []string) error {
	var key, policy, recovery *string
	if _, err := e.parse(args, 0, func(fs *flag.FlagSet) {
		key = fs.String("authority", "", "approval key (public part)")
		policy = fs.String("policy", "", "signed policy for the root")
		recovery = fs.String("recovery", "", "recovery key (public part)")
	}); err != nil {
		return err
	}
	if *key == "" || *policy == "" {
		return errUsage
	}
	public, err := loadAuthority(*key)
	if err != nil {
		return err
	}
	req := proto.GroupCreate{Authority: public}
	if req.Policy, _, err = encoded(*policy); err != nil {
		return err
	}
	if *recovery != "" {
		var pub *ecdh.PublicKey
		if pub, err = loadRecoveryPublic(*recovery); err != nil {
			return err
		}
		req.Recovery = pub.Bytes()
	}
	if *recovery == "" {
		fmt.Fprintln(e.err, "note: no recovery key; if this hardware TPM is cleared or replaced, all vTPMs are lost")
	}
	var out proto.Empty
	if err := e.ask(proto.OrdProvision, req, &out); err != nil {
		return err
	}
	return e.keepWithKey("the manager is provisioned")
}

// runAuthority names an approval key as the manager's command line does.
func runAuthority(e *env, args []string) error {
	rest, err := e.parse(args, 1, nil)
	if err != nil {
		return err
	}
	public, err := loadAuthority(rest[0])
	if err != nil {
		return err
	}
	h := hex.EncodeToString(sha256sum(public))
	return e.print(map[string]string{"authority": h, "key": hwtpm.AuthorityName(public)}, func() {
		fmt.Fprintf(e.out, "authority=%s\n", h)
	})
}

func loadRecoveryPublic(name string) (*ecdh.PublicKey, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return parseRecoveryPublic(b)
}
