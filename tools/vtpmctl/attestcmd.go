package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"xenvtpm/tools/vtpmctl/attest"
	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// runAttestEnrol proves to this program that the manager's AK lives in the
// hardware TPM, and signs that it did.
func runAttestEnrol(e *env, args []string) error {
	var keyFile, roots *string
	rest, err := e.parse(args, 1, func(fs *flag.FlagSet) {
		keyFile = fs.String("key", "", "authority's key")
		roots = fs.String("ek-roots", "", "PEM file of TPM manufacturers' roots")
	})
	if err != nil {
		return err
	}
	if *keyFile == "" {
		return errUsage
	}
	trust := attest.Trust{ManagerOnly: true}
	if *roots != "" {
		if trust.EKRoots, err = loadRoots(*roots); err != nil {
			return err
		}
	}
	signer, err := e.loadSigner(*keyFile)
	if err != nil {
		return err
	}
	var b attest.Bundle
	if err := e.ask(proto.OrdAttest, proto.AttestRequest{}, &b.Manager); err != nil {
		return err
	}
	if !hwtpm.IsAK(b.Manager.AKPublic) {
		return errors.New("the manager's attestation key could sign forgeries; not enrolled")
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	var proof proto.Attest
	var req proto.AttestRequest
	if req.Credential, req.Secret, err = hwtpm.Challenge(rand.Reader, b.Manager.EKPublic, b.Manager.AKPublic, secret); err != nil {
		return err
	}
	if err := e.ask(proto.OrdAttest, req, &proof); err != nil {
		return err
	}
	if !bytes.Equal(proof.Activated, secret) {
		return errors.New("the hardware TPM did not open the challenge; not enrolled")
	}
	msg, err := attest.Message(&b.Manager)
	if err != nil {
		return err
	}
	b.Enrolment = &attest.Enrolment{Authority: signer.public}
	if b.Enrolment.Signature, err = signer.sign(msg); err != nil {
		return err
	}
	trust.Authority = signer.public
	if r := attest.Verify(&b, trust); !r.OK { // nothing is enrolled that verify would not take
		return e.failed(r)
	}
	if err := writeBundle(rest[0], &b); err != nil {
		return err
	}
	return e.print(map[string]string{"bundle": rest[0]}, func() {
		fmt.Fprintf(e.out, "%s: manager %v enrolled by %s\n", rest[0], b.Manager.Manager, hwtpm.AuthorityName(signer.public))
	})
}

func writeBundle(name string, b *attest.Bundle) error {
	out, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(name, append(out, '\n'), 0o644)
}

func readBundle(name string) (*attest.Bundle, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var b attest.Bundle
	if err := proto.ParseAdmin(raw, &b); err != nil {
		return nil, fmt.Errorf("%s is no attestation bundle", name)
	}
	return &b, nil
}

// runAttestAdd puts a vTPM's evidence, or an event log, into a bundle.
func runAttestAdd(e *env, args []string) error {
	f := map[string]*string{}
	names := []string{"certificate", "deep-quote", "quote", "signature", "vtpm-key", "vtpm-parent", "pcr-values", "event-log"}
	rest, err := e.parse(args, 1, func(fs *flag.FlagSet) {
		for _, n := range names {
			f[n] = fs.String(n, "", "file")
		}
	})
	if err != nil {
		return err
	}
	b, err := readBundle(rest[0])
	if err != nil {
		return err
	}
	if b.VTPM == nil && *f["certificate"] != "" {
		b.VTPM = &attest.VTPM{}
	}
	added := 0
	for _, n := range names {
		if *f[n] == "" {
			continue
		}
		raw, err := os.ReadFile(*f[n])
		if err != nil {
			return err
		}
		if len(raw) == 0 {
			return fmt.Errorf("--%s: %s is empty", n, *f[n])
		}
		added++
		if n != "event-log" && b.VTPM == nil {
			return errors.New("give the vTPM's --certificate first")
		}
		switch n {
		case "certificate":
			b.VTPM.Certificate = raw
		case "deep-quote":
			b.VTPM.DeepQuote = raw
		case "quote":
			b.VTPM.Quote = raw
		case "signature":
			b.VTPM.Signature = raw
		case "vtpm-key":
			b.VTPM.Key = raw
		case "vtpm-parent":
			b.VTPM.Parent = raw
		case "pcr-values":
			b.VTPM.PCRValues = raw
		case "event-log":
			b.EventLog = raw
		}
	}
	if added == 0 {
		return errUsage
	}
	if err := writeBundle(rest[0], b); err != nil {
		return err
	}
	return e.print(map[string]string{"bundle": rest[0]}, func() { fmt.Fprintln(e.out, rest[0], "written") })
}
