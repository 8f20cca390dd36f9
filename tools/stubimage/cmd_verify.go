package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/sshsig"
	"xenvtpm/tools/stubimage/verify"
)

// verdict is what verify --json prints.
type verdict struct {
	OK      bool            `json:"ok"`
	Code    verify.Code     `json:"code,omitempty"`
	Detail  string          `json:"detail,omitempty"`
	Version string          `json:"version,omitempty"`
	Commit  string          `json:"commit,omitempty"`
	Signers []verify.Signer `json:"signers,omitempty"`
	Ignored []string        `json:"ignored,omitempty"`
	// Unchecked are signed files that this call did not look at.
	Unchecked int `json:"unchecked,omitempty"`
}

// target is what verify looks at: one folder of images, a release, or what was
// installed.
type target struct {
	dir, release    string
	installed       bool
	destdir, prefix string
}

func (t *target) define(fs *flag.FlagSet) {
	fs.StringVar(&t.dir, "dir", imagesDir, "folder of images to verify, without what is released with them")
	fs.StringVar(&t.release, "release", "", "release folder to verify, all of it")
	fs.BoolVar(&t.installed, "installed", false, "verify what was installed: images, tools, configurations, documents")
	fs.StringVar(&t.prefix, "prefix", defaultPrefix, "where it was installed")
	fs.StringVar(&t.destdir, "destdir", "", "root of the installation")
}

// check returns the report, the name of what was looked at, and how many signed
// files were not.
func (t *target) check(p verify.Policy) (r *verify.Report, what string, unchecked int, err error) {
	switch {
	case t.installed && t.release != "":
		return nil, "", 0, errors.New("--installed and --release are two questions")
	case t.installed:
		r, err = verify.Installed(t.destdir, t.prefix, p)
		return r, t.destdir + t.prefix, 0, err
	case t.release != "":
		whole, err := verify.ReadRelease(t.release, p)
		if err != nil {
			return nil, t.release, 0, err
		}
		return whole.Report, t.release, 0, nil
	}
	if r, err = verify.Dir(t.dir, p); err != nil {
		return nil, t.dir, 0, err
	}
	return r, t.dir, len(r.Manifest.Host) + len(r.Manifest.Trust), nil
}

func runVerify(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("verify", flag.ContinueOnError)
	var t target
	t.define(fs)
	asJSON := fs.Bool("json", false, "print the verdict as JSON")
	load := policyFlags(fs)
	if err := parse(env, fs, args, false); err != nil {
		return err
	}
	policy, err := load()
	if err != nil {
		return err
	}
	report, what, unchecked, err := t.check(policy)
	v := verdict{OK: err == nil}
	var refusal *verify.Refusal
	switch {
	case errors.As(err, &refusal):
		v.Code, v.Detail = refusal.Code, refusal.Detail
	case err != nil:
		return err
	default:
		v.Version, v.Commit, v.Unchecked = report.Manifest.Version, report.Manifest.Commit, unchecked
		v.Signers, v.Ignored = report.Signers, report.Ignored
	}
	if *asJSON {
		enc := json.NewEncoder(env.out)
		enc.SetIndent("", "  ")
		return errors.Join(enc.Encode(v), err)
	}
	if v.OK {
		fmt.Fprintf(env.out, "OK %s: release %s, commit %.12s, signed by %s\n", what, v.Version, v.Commit, signerNames(v.Signers))
	}
	if v.OK && unchecked > 0 {
		fmt.Fprintf(env.out, "   the images alone: %d more signed files of that release were not looked at (--release DIR, --installed)\n", unchecked)
	}
	return err
}

// given finds an option that was given with nothing, and a quorum of nobody: a
// script's variable that was not set must not be a rule less.
func given(fs *flag.FlagSet) (err error) {
	fs.Visit(func(f *flag.Flag) {
		switch {
		case f.Value.String() == "" && f.Name != "destdir":
			err = fmt.Errorf("--%s was given without a value", f.Name)
		case f.Name == "quorum" && (f.Value.String() == "0" || f.Value.String()[0] == '-'):
			err = fmt.Errorf("--quorum %s: at least one signer is needed", f.Value)
		}
	})
	return err
}

// policyFlags adds the flags of a policy to fs; the function returned reads
// them: a policy folder, over which single flags win.
func policyFlags(fs *flag.FlagSet) func() (verify.Policy, error) {
	dir := fs.String("policy", "", "policy folder (default "+verify.PolicyDir+" unless --signers is given)")
	signers := fs.String("signers", "", "allowed signers file")
	revoked := fs.String("revoked", "", "file of revoked public keys")
	quorum := fs.Int("quorum", 0, "signers needed")
	minVersion := fs.String("min-version", "", "lowest acceptable release")
	require := fs.String("require", "", "images that must be present, with commas")
	at := fs.String("time", "", "verify as of this time, RFC 3339")
	return func() (p verify.Policy, err error) {
		if err := given(fs); err != nil {
			return p, err
		}
		if *dir == "" && *signers == "" {
			*dir = verify.PolicyDir
		}
		if *dir != "" {
			if p, err = verify.LoadPolicy(*dir); err != nil {
				return p, err
			}
		}
		if *signers != "" {
			b, err := os.ReadFile(*signers)
			if err != nil {
				return p, err
			}
			if err := p.SetSigners(b); err != nil {
				return p, err
			}
		}
		if *revoked != "" {
			b, err := os.ReadFile(*revoked)
			if err != nil {
				return p, err
			}
			more, err := sshsig.ParseRevoked(b)
			if err != nil {
				return p, err
			}
			p.Revoked = p.Revoked.With(more) // what the host has revoked stays revoked
		}
		if *quorum > 0 {
			p.Quorum = *quorum
		}
		if *minVersion != "" {
			if _, err := manifest.ParseVersion(*minVersion); err != nil {
				return p, err
			}
			p.MinVersion = *minVersion
		}
		if *require != "" {
			p.Require = strings.Split(*require, ",")
		}
		if *at != "" {
			p.Now, err = time.Parse(time.RFC3339, *at)
		}
		return p, err
	}
}
