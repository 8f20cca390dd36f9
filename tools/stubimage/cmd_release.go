package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"xenvtpm/tools/stubimage/build"
	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/release"
	"xenvtpm/tools/stubimage/repro"
	"xenvtpm/tools/stubimage/sshsig"
	"xenvtpm/tools/stubimage/verify"
)

var errDiffers = repro.ErrDiffers

func runReport(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("report", flag.ContinueOnError)
	most := fs.Int("packages", 25, "how many packages to list")
	if err := parse(env, fs, args, true); err != nil {
		return err
	}
	p, tc, err := project(ctx, env)
	if err != nil {
		return err
	}
	images := build.Release
	if fs.NArg() > 0 {
		images = nil
		for _, name := range fs.Args() {
			images = append(images, build.Image{Name: strings.TrimPrefix(name, "./"), Package: "./" + strings.TrimPrefix(name, "./")})
		}
	}
	cfg := build.Config{Root: p.Root, Toolchain: tc, Logf: env.logf}
	return inspect(ctx, env, cfg, p.Path, images, *most)
}

func runRepro(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("repro", flag.ContinueOnError)
	keep := fs.Bool("keep", false, "leave the two builds for inspection")
	images := fs.String("images", "", "folder of an earlier build to compare as well")
	if err := parse(env, fs, args, false); err != nil {
		return err
	}
	p, _, err := project(ctx, env)
	if err != nil {
		return err
	}
	return reproduce(ctx, env, p.Root, *images, *keep)
}

func reproduce(ctx context.Context, env *env, root, images string, keep bool) error {
	lines, err := repro.Run(ctx, repro.Config{Root: root, Images: images, Keep: keep, Logf: env.logf})
	if err != nil {
		return err
	}
	for _, line := range lines {
		fmt.Fprintln(env.out, line)
	}
	fmt.Fprintln(env.out, "REPRODUCIBLE: two builds in different folders, homes, caches, locales and times are the same")
	return nil
}

const (
	releaseDir    = "build/release"
	defaultPrefix = "/usr/local"
)

// keyList is a flag that may be given several times.
type keyList []string

func (k *keyList) String() string     { return strings.Join(*k, ",") }
func (k *keyList) Set(v string) error { *k = append(*k, v); return nil }

func runRelease(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("release", flag.ContinueOnError)
	version := fs.String("version", "", "MAJOR.MINOR.PATCH[-PRERELEASE]")
	skip := fs.Bool("skip-repro", false, "do not build twice more to compare")
	var keys keyList
	fs.Var(&keys, "key", "sign with this key (several allowed; none makes a throw-away key)")
	if err := parse(env, fs, args, false); err != nil {
		return err
	}
	v, err := manifest.ParseVersion(*version)
	if err != nil {
		env.logf("stubimage release: --version: %v", err)
		return errUsage
	}
	p, tc, err := project(ctx, env)
	if err != nil {
		return err
	}
	if _, modified := release.Commit(ctx, p.Root); modified && !v.Prerelease() {
		return fmt.Errorf("the tree differs from its commit: release %s could not be rebuilt; commit first, or use a version such as %s-dev", v, v)
	}
	signers, done, err := loadSigners(env, keys)
	if err != nil {
		return err
	}
	defer done()
	out := filepath.Join(p.Root, releaseDir, "xenvtpm-"+v.String())
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	set := release.Set{Images: filepath.Join(out, verify.ImagesDir), Host: filepath.Join(out, verify.HostDir), Trust: filepath.Join(out, verify.TrustDir)}
	if err := buildImages(ctx, env, p, tc, set.Images, v.String()); err != nil {
		return err
	}
	if err := summary(env, set.Images); err != nil {
		return err
	}
	if *skip {
		env.logf("release: NOT compared with a second build")
	} else if err := reproduce(ctx, env, p.Root, set.Images, false); err != nil {
		return err
	}
	if err := release.Fill(ctx, set.Host, p.Root); err != nil {
		return err
	}
	// The signatures are over all of it, the policy that asks for them included.
	if err := trustFor(set.Trust, signers, len(keys) == 0); err != nil {
		return err
	}
	if err := release.Describe(ctx, set, p.Root, v.String(), "", tc); err != nil {
		return err
	}
	for _, s := range signers {
		name, err := release.Sign(set.Images, s)
		if err != nil {
			return err
		}
		env.logf("release: %s by %s", name, ssh.FingerprintSHA256(s.PublicKey()))
	}
	return finishRelease(env, out)
}

// loadSigners opens the keys, or makes one that is forgotten.
func loadSigners(env *env, keys []string) (signers []ssh.Signer, done func(), err error) {
	var opened []func()
	done = func() {
		for _, f := range opened {
			f()
		}
	}
	for _, key := range keys {
		signer, closed, err := sshsig.LoadSigner(key, env.getenv("SSH_AUTH_SOCK"))
		if err != nil {
			done()
			return nil, nil, err
		}
		signers, opened = append(signers, signer), append(opened, closed)
	}
	if len(keys) == 0 {
		env.logf("release: no --key: signing with a throw-away key, good for a trial only")
		signer, err := release.ThrowAway()
		if err != nil {
			return nil, nil, err
		}
		signers = append(signers, signer)
	}
	return signers, done, nil
}

// trustFor writes the policy that asks for all signers.
func trustFor(dir string, signers []ssh.Signer, throwAway bool) error {
	comment := "the signers of this release"
	if throwAway {
		comment = "a throw-away key: for a trial only"
	}
	var public []ssh.PublicKey
	for _, s := range signers {
		public = append(public, s.PublicKey())
	}
	return release.Trust(dir, public, comment)
}

// finishRelease verifies the folder as a host will.
func finishRelease(env *env, out string) error {
	policy, err := verify.LoadPolicy(filepath.Join(out, verify.TrustDir))
	if err != nil {
		return err
	}
	start := time.Now()
	r, err := verify.ReadRelease(out, policy)
	if err != nil {
		return err
	}
	env.logf("release: verified in %d ms", time.Since(start).Milliseconds())
	current := filepath.Join(filepath.Dir(out), "current")
	os.Remove(current) // an older link, if any: Symlink reports what matters
	if err := os.Symlink(filepath.Base(out), current); err != nil {
		return err
	}
	fmt.Fprintf(env.out, "OK %s: release %s, commit %.12s, %d images, %d files for a host, signed by %s\n", out, r.Manifest.Version, r.Manifest.Commit,
		len(r.Manifest.Images), len(r.Host), signerNames(r.Signers))
	return nil
}

func runInstall(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("install", flag.ContinueOnError)
	from := fs.String("from", releaseDir+"/current", "release folder")
	destdir := fs.String("destdir", "", "root of the installation, for packaging")
	prefix := fs.String("prefix", defaultPrefix, "where programs and images go")
	if err := parse(env, fs, args, false); err != nil {
		return err
	}
	if err := given(fs); err != nil {
		return err
	}
	return release.Install(*from, *destdir, *prefix, env.logf)
}
