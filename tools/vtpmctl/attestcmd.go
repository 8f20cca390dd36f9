package main

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sort"
	"strconv"

	"xenvtpm/tools/vtpmctl/attest"
	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// runAttestEnrol proves to this program that the manager's AK lives in the
// hardware TPM, and signs that it did.
func runAttestEnrol(e *env, args []string) error {
	var keyFile *string
	rest, err := e.parse(args, 1, func(fs *flag.FlagSet) { keyFile = fs.String("key", "", "authority's key") })
	if err != nil {
		return err
	}
	if *keyFile == "" {
		return errUsage
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
	names := []string{"certificate", "deep-quote", "quote", "signature", "vtpm-key", "vtpm-parent", "event-log"}
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
	for _, n := range names {
		if *f[n] == "" {
			continue
		}
		raw, err := os.ReadFile(*f[n])
		if err != nil {
			return err
		}
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
		case "event-log":
			b.EventLog = raw
		}
	}
	if err := writeBundle(rest[0], b); err != nil {
		return err
	}
	return e.print(map[string]string{"bundle": rest[0]}, func() { fmt.Fprintln(e.out, rest[0], "written") })
}

func runVerify(e *env, args []string) error {
	var authority, roots, nonce *string
	rest, err := e.parse(args, 1, func(fs *flag.FlagSet) {
		authority = fs.String("authority", "", "public key of who enrolled the manager")
		roots = fs.String("ek-roots", "", "PEM file of TPM manufacturers' roots")
		nonce = fs.String("nonce", "", "nonce of the quote, in hex")
	})
	if err != nil {
		return err
	}
	b, err := readBundle(rest[0])
	if err != nil {
		return err
	}
	var trust attest.Trust
	if *authority != "" {
		if trust.Authority, err = loadAuthority(*authority); err != nil {
			return err
		}
	}
	if *nonce != "" {
		if trust.Nonce, err = hex.DecodeString(*nonce); err != nil {
			return fmt.Errorf("--nonce: %w", err)
		}
	}
	if *roots != "" {
		pemBytes, err := os.ReadFile(*roots)
		if err != nil {
			return err
		}
		trust.EKRoots = x509.NewCertPool()
		if !trust.EKRoots.AppendCertsFromPEM(pemBytes) {
			return fmt.Errorf("%s: no certificates", *roots)
		}
	}
	r := attest.Verify(b, trust)
	if err := e.print(r, func() { e.report(r) }); err != nil {
		return err
	}
	if !r.OK {
		return errFailedCheck
	}
	return nil
}

func (e *env) report(r *attest.Report) {
	for _, f := range r.Findings {
		fmt.Fprintf(e.out, "%-6s %s\n", map[bool]string{true: "ok", false: "FAILED"}[f.OK], printable(f.Text))
	}
	var pcrs []string
	for p := range r.PCRs {
		pcrs = append(pcrs, p)
	}
	sort.Slice(pcrs, func(i, j int) bool { a, _ := strconv.Atoi(pcrs[i]); b, _ := strconv.Atoi(pcrs[j]); return a < b })
	for _, p := range pcrs {
		fmt.Fprintf(e.out, "       platform PCR %2s  %s\n", p, r.PCRs[p])
	}
	fmt.Fprintln(e.out, map[bool]string{true: "the bundle holds", false: "the bundle does NOT hold"}[r.OK])
}
