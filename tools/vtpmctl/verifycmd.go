package main

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"

	"xenvtpm/tools/vtpmctl/attest"
	"xenvtpm/vtpmmgr-stub/proto"
)

// verifyOptions are what the verifier brings and asks for, as he wrote it.
type verifyOptions struct {
	authority, roots, nonce string
	manager, vtpm, group    string
	approvedBy              string
	hardware, guest, policy string
	eventLog, managerOnly   bool
}

func (o *verifyOptions) define(fs *flag.FlagSet) {
	fs.StringVar(&o.authority, "authority", "", "public key of who enrolled the manager")
	fs.StringVar(&o.roots, "ek-roots", "", "PEM file of TPM manufacturers' roots")
	fs.StringVar(&o.nonce, "nonce", "", "nonce of the quote, in hex")
	fs.StringVar(&o.manager, "manager", "", "uuid of the manager")
	fs.StringVar(&o.vtpm, "vtpm", "", "uuid of the vTPM")
	fs.StringVar(&o.group, "group", "", "uuid of the vTPM's group")
	fs.StringVar(&o.approvedBy, "approved-by", "", "public key that approves the group's states")
	fs.StringVar(&o.hardware, "hardware-pcrs", "", "PCRs of the hardware TPM that must be quoted, or none")
	fs.StringVar(&o.guest, "guest-pcrs", "", "PCRs of the vTPM that must be quoted, or none")
	fs.StringVar(&o.policy, "policy", "", "file with required PCRs and their values")
	fs.BoolVar(&o.eventLog, "require-event-log", false, "the platform's event log must lead to the quoted PCRs")
	fs.BoolVar(&o.managerOnly, "manager-only", false, "check the enrolment alone")
}

// trust reads what the options name.
func (o *verifyOptions) trust() (t attest.Trust, err error) {
	t.EventLog, t.ManagerOnly = o.eventLog, o.managerOnly
	if o.authority != "" {
		if t.Authority, err = loadAuthority(o.authority); err != nil {
			return t, err
		}
	}
	if o.roots != "" {
		if t.EKRoots, err = loadRoots(o.roots); err != nil {
			return t, err
		}
	}
	if o.nonce != "" {
		if t.Nonce, err = hex.DecodeString(o.nonce); err != nil {
			return t, fmt.Errorf("--nonce: %w", err)
		}
	}
	if o.approvedBy != "" {
		if t.Approver, err = loadAuthority(o.approvedBy); err != nil {
			return t, err
		}
	}
	if err := o.uuids(&t); err != nil {
		return t, err
	}
	if t.ManagerOnly {
		return t, o.contradiction()
	}
	return t, o.rules(&t)
}

func (o *verifyOptions) uuids(t *attest.Trust) error {
	for _, u := range []struct {
		name, text string
		to         **proto.UUID
	}{{"manager", o.manager, &t.Manager}, {"vtpm", o.vtpm, &t.VTPM}, {"group", o.group, &t.Group}} {
		if u.text == "" {
			continue
		}
		id, err := proto.ParseUUID(u.text)
		if err != nil {
			return fmt.Errorf("--%s: %w", u.name, err)
		}
		*u.to = &id
	}
	return nil
}

// contradiction finds an option that --manager-only leaves without effect.
func (o *verifyOptions) contradiction() error {
	for name, text := range map[string]string{"nonce": o.nonce, "vtpm": o.vtpm, "group": o.group, "approved-by": o.approvedBy,
		"hardware-pcrs": o.hardware, "guest-pcrs": o.guest, "policy": o.policy} {
		if text != "" {
			return fmt.Errorf("--%s asks about a vTPM, and --manager-only leaves vTPMs out", name)
		}
	}
	if o.eventLog {
		return errors.New("--require-event-log asks about the platform's state, and --manager-only leaves it out")
	}
	return nil
}

// rules puts together what file and lists ask for; both count.
func (o *verifyOptions) rules(t *attest.Trust) (err error) {
	var file verifyPolicy
	if o.policy != "" {
		if file, err = readVerifyPolicy(o.policy); err != nil {
			return err
		}
	}
	t.EventLog = t.EventLog || file.EventLog
	if t.Hardware, err = file.Hardware.rule(o.hardware); err != nil {
		return fmt.Errorf("hardware PCRs: %w", err)
	}
	if t.Guest, err = file.Guest.rule(o.guest); err != nil {
		return fmt.Errorf("guest PCRs: %w", err)
	}
	return nil
}

func loadRoots(name string) (*x509.CertPool, error) {
	pemBytes, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pemBytes) {
		return nil, fmt.Errorf("%s: no certificates", name)
	}
	return pool, nil
}

// runVerify checks a bundle. Exit 0 is for one that has all that was asked for.
func runVerify(e *env, args []string) error {
	var o verifyOptions
	rest, err := e.parse(args, 1, o.define)
	if err != nil {
		return err
	}
	trust, err := o.trust()
	if err != nil {
		return err
	}
	b, err := readBundle(rest[0])
	if err != nil {
		return err
	}
	r := attest.Verify(b, trust)
	if !r.OK {
		return e.failed(r)
	}
	return e.print(r, func() { e.report(r) })
}

// failed prints a report of a check that failed.
func (e *env) failed(r *attest.Report) error {
	if err := e.print(r, func() { e.report(r) }); err != nil {
		return err
	}
	return errFailedCheck
}

func (e *env) report(r *attest.Report) {
	for _, f := range r.Findings {
		fmt.Fprintf(e.out, "%-6s %-16s %s\n", map[bool]string{true: "ok", false: "FAILED"}[f.OK], f.Check, printable(f.Text))
	}
	e.reportPCRs("hardware", r.Hardware)
	e.reportPCRs("guest", r.Guest)
	for _, text := range r.NotProven {
		fmt.Fprintf(e.out, "NOT PROVEN: %s\n", printable(text))
	}
	fmt.Fprintln(e.out, map[bool]string{true: "the bundle holds", false: "the bundle does NOT hold"}[r.OK])
}

func (e *env) reportPCRs(whose string, q *attest.Quoted) {
	if q == nil {
		return
	}
	if len(q.PCRs) == 0 {
		fmt.Fprintf(e.out, "       %s PCRs: none is quoted\n", whose)
	}
	for _, pcr := range q.PCRs {
		value := q.Values[strconv.Itoa(pcr)]
		if value == "" {
			value = "(value not in the bundle)"
		}
		fmt.Fprintf(e.out, "       %s PCR %2d %s %s\n", whose, pcr, q.Bank, value)
	}
}
