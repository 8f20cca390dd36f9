package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"xenvtpm/tools/stubimage/build"
	"xenvtpm/tools/stubimage/elfnote"
	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/release"
	"xenvtpm/tools/stubimage/sshsig"
	"xenvtpm/tools/stubimage/verify"
)

const imagesDir = "build/images"

func runNote(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("note", flag.ContinueOnError)
	if err := parse(env, fs, args, true); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		env.logf("usage: stubimage note FILE ...")
		return errUsage
	}
	for _, name := range fs.Args() {
		if err := note(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// note adds the note in place.
func note(name string) error {
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	image, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	out, added, err := elfnote.Add(image)
	if err != nil || !added {
		return err
	}
	return build.WriteFile(name, out, st.Mode().Perm())
}

func runManifest(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("manifest", flag.ContinueOnError)
	dir := fs.String("dir", imagesDir, "folder of the images")
	version := fs.String("version", "", "release version, MAJOR.MINOR.PATCH[-PRERELEASE]")
	expires := fs.String("expires", "", "time limit, RFC 3339")
	if err := parse(env, fs, args, false); err != nil {
		return err
	}
	p, tc, err := project(ctx, env)
	if err != nil {
		return err
	}
	if err := release.Describe(ctx, *dir, p.Root, *version, *expires, tc); err != nil {
		return err
	}
	fmt.Fprintln(env.out, filepath.Join(*dir, manifest.File))
	return nil
}

func runSign(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("sign", flag.ContinueOnError)
	dir := fs.String("dir", imagesDir, "folder of the manifest")
	key := fs.String("key", "", "private key, or public key of one that ssh-agent holds")
	if err := parse(env, fs, args, false); err != nil {
		return err
	}
	if *key == "" {
		env.logf("stubimage sign: --key is needed")
		return errUsage
	}
	name, err := sign(env, *dir, *key)
	if err == nil {
		fmt.Fprintln(env.out, filepath.Join(*dir, name))
	}
	return err
}

func sign(env *env, dir, key string) (string, error) {
	signer, done, err := sshsig.LoadSigner(key, env.getenv("SSH_AUTH_SOCK"))
	if err != nil {
		return "", err
	}
	defer done()
	return release.Sign(dir, signer)
}

// verdict is what verify --json prints.
type verdict struct {
	OK      bool            `json:"ok"`
	Code    verify.Code     `json:"code,omitempty"`
	Detail  string          `json:"detail,omitempty"`
	Version string          `json:"version,omitempty"`
	Commit  string          `json:"commit,omitempty"`
	Signers []verify.Signer `json:"signers,omitempty"`
	Ignored []string        `json:"ignored,omitempty"`
}

func runVerify(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("verify", flag.ContinueOnError)
	dir := fs.String("dir", imagesDir, "folder to verify")
	asJSON := fs.Bool("json", false, "print the verdict as JSON")
	load := policyFlags(fs)
	if err := parse(env, fs, args, false); err != nil {
		return err
	}
	policy, err := load()
	if err != nil {
		return err
	}
	report, err := verify.Dir(*dir, policy)
	v := verdict{OK: err == nil}
	var refusal *verify.Refusal
	switch {
	case errors.As(err, &refusal):
		v.Code, v.Detail = refusal.Code, refusal.Detail
	case err != nil:
		return err
	default:
		v.Version, v.Commit = report.Manifest.Version, report.Manifest.Commit
		v.Signers, v.Ignored = report.Signers, report.Ignored
	}
	if *asJSON {
		enc := json.NewEncoder(env.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			return err
		}
	} else if v.OK {
		fmt.Fprintf(env.out, "OK %s: release %s, commit %.12s, signed by %s\n", *dir, v.Version, v.Commit, signerNames(v.Signers))
	}
	return err
}

func signerNames(list []verify.Signer) string {
	var names []string
	for _, s := range list {
		names = append(names, strings.Join(s.Principals, ","))
	}
	return strings.Join(names, " and ")
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
			if p.Revoked, err = sshsig.ParseRevoked(b); err != nil {
				return p, err
			}
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

func runMeasure(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("measure", flag.ContinueOnError)
	dir := fs.String("dir", imagesDir, "folder whose manifest names the files")
	asJSON := fs.Bool("json", false, "print as JSON")
	if err := parse(env, fs, args, true); err != nil {
		return err
	}
	files := fs.Args()
	if len(files) == 0 {
		m, err := readManifest(*dir)
		if err != nil {
			return err
		}
		for _, im := range m.Images {
			files = append(files, filepath.Join(*dir, im.Name))
			if im.Gzip != nil {
				files = append(files, filepath.Join(*dir, im.Gzip.Name))
			}
		}
	}
	type measured struct {
		File         string                 `json:"file"`
		Measurements []manifest.Measurement `json:"measurements"`
	}
	var all []measured
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		all = append(all, measured{name, manifest.Measure(b)})
	}
	if *asJSON {
		enc := json.NewEncoder(env.out)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	for _, f := range all {
		for _, m := range f.Measurements {
			fmt.Fprintf(env.out, "%s\n  %-6s event %s\n         pcr   %s\n", f.File, m.Bank, m.Digest, m.PCR)
		}
	}
	return nil
}
