package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
	host := fs.String("host", "", "folder with what an installation puts below its prefix")
	trust := fs.String("trust", "", "folder of the policy that comes with the release")
	version := fs.String("version", "", "release version, MAJOR.MINOR.PATCH[-PRERELEASE]")
	expires := fs.String("expires", "", "time limit, RFC 3339")
	if err := parse(env, fs, args, false); err != nil {
		return err
	}
	p, tc, err := project(ctx, env)
	if err != nil {
		return err
	}
	if err := release.Describe(ctx, release.Set{Images: *dir, Host: *host, Trust: *trust}, p.Root, *version, *expires, tc); err != nil {
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

func signerNames(list []verify.Signer) string {
	var names []string
	for _, s := range list {
		names = append(names, strings.Join(s.Principals, ","))
	}
	return strings.Join(names, " and ")
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
