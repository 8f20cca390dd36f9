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

const releaseDir = "build/release"

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
	out := filepath.Join(p.Root, releaseDir, "xenvtpm-"+v.String())
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	images := filepath.Join(out, release.ImagesDir)
	if err := buildImages(ctx, env, p, tc, images, v.String()); err != nil {
		return err
	}
	if err := summary(env, images); err != nil {
		return err
	}
	if *skip {
		env.logf("release: NOT compared with a second build")
	} else if err := reproduce(ctx, env, p.Root, images, false); err != nil {
		return err
	}
	if err := signRelease(env, out, keys); err != nil {
		return err
	}
	return finishRelease(ctx, env, out, p.Root)
}

// signRelease signs with all keys and writes the policy that asks for them.
func signRelease(env *env, out string, keys []string) error {
	images, comment := filepath.Join(out, release.ImagesDir), "the signers of this release"
	var public []ssh.PublicKey
	sign := func(signer ssh.Signer) error {
		name, err := release.Sign(images, signer)
		if err != nil {
			return err
		}
		public = append(public, signer.PublicKey())
		env.logf("release: %s by %s", name, ssh.FingerprintSHA256(signer.PublicKey()))
		return nil
	}
	for _, key := range keys {
		signer, done, err := sshsig.LoadSigner(key, env.getenv("SSH_AUTH_SOCK"))
		if err != nil {
			return err
		}
		err = sign(signer)
		done()
		if err != nil {
			return err
		}
	}
	if len(keys) == 0 {
		env.logf("release: no --key: signing with a throw-away key, good for a trial only")
		comment = "a throw-away key: for a trial only"
		signer, err := release.ThrowAway()
		if err != nil {
			return err
		}
		if err := sign(signer); err != nil {
			return err
		}
	}
	return release.Trust(filepath.Join(out, release.TrustDir), public, comment)
}

// finishRelease verifies the folder as a host will, and adds the rest.
func finishRelease(ctx context.Context, env *env, out, root string) error {
	policy, err := verify.LoadPolicy(filepath.Join(out, release.TrustDir))
	if err != nil {
		return err
	}
	start := time.Now()
	r, err := verify.Dir(filepath.Join(out, release.ImagesDir), policy)
	if err != nil {
		return err
	}
	env.logf("release: verified in %d ms", time.Since(start).Milliseconds())
	missing, err := release.Fill(ctx, out, root)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		env.logf("release: this tree has no tools %s", strings.Join(missing, ", "))
	}
	current := filepath.Join(filepath.Dir(out), "current")
	os.Remove(current) // an older link, if any: Symlink reports what matters
	if err := os.Symlink(filepath.Base(out), current); err != nil {
		return err
	}
	fmt.Fprintf(env.out, "OK %s: release %s, commit %.12s, signed by %s\n", out, r.Manifest.Version, r.Manifest.Commit, signerNames(r.Signers))
	return nil
}

func runInstall(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("install", flag.ContinueOnError)
	from := fs.String("from", releaseDir+"/current", "release folder")
	destdir := fs.String("destdir", "", "root of the installation, for packaging")
	prefix := fs.String("prefix", "/usr/local", "where programs and images go")
	if err := parse(env, fs, args, false); err != nil {
		return err
	}
	return release.Install(*from, *destdir, *prefix, env.logf)
}
