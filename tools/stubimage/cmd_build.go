package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"xenvtpm/tools/stubimage/build"
	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/release"
	"xenvtpm/tools/stubimage/report"
	"xenvtpm/tools/tamago/toolchain"
)

// devVersion is the release version of images that are no release.
const devVersion = "0.0.0-dev"

// project finds the source tree and the toolchain.
func project(ctx context.Context, env *env) (*toolchain.Project, *toolchain.Toolchain, error) {
	p, err := toolchain.LookUp(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	tc, err := toolchain.Find(ctx, toolchain.Config{Dir: p.Root, Logf: env.logf})
	return p, tc, err
}

func runBuild(ctx context.Context, env *env, args []string) error {
	fs := flag.NewFlagSet("build", flag.ContinueOnError)
	out := fs.String("out", imagesDir, "folder for the images")
	smoke := fs.String("smoke-out", "build/smoke", "folder for the smoke kernels; empty builds none")
	version := fs.String("version", devVersion, "version for the manifest")
	trust := fs.String("trust", "", "sign with a throw-away key, and put the policy that accepts it into this folder (default OUT.trust; - signs nothing)")
	most := fs.Int("packages", 5, "how many packages of each image to list; 0 prints sizes only")
	if err := parse(env, fs, args, false); err != nil {
		return err
	}
	if *trust == "" {
		*trust = filepath.Clean(*out) + ".trust"
	}
	p, tc, err := project(ctx, env)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := buildImages(ctx, env, p, tc, *out, *version); err != nil {
		return err
	}
	if *smoke != "" {
		if err := buildSmoke(ctx, env, p, tc, *smoke); err != nil {
			return err
		}
	}
	if *trust != "-" {
		if err := signBuild(env, *out, *trust); err != nil {
			return err
		}
	}
	env.logf("images: %.1f s with %s", time.Since(start).Seconds(), tc.Version)
	if *most > 0 {
		cfg := build.Config{Root: p.Root, Toolchain: tc, Logf: env.logf}
		if err := inspect(ctx, env, cfg, p.Path, build.Release, *most); err != nil {
			return err
		}
	}
	return summary(env, *out)
}

// signBuild signs a build that is no release, so that whoever boots it can
// check that it is still what was built. The key is forgotten at once: the
// policy in trust accepts this build and no other.
func signBuild(env *env, images, trust string) error {
	signer, err := release.ThrowAway()
	if err != nil {
		return err
	}
	if _, err := release.Sign(images, signer); err != nil {
		return err
	}
	env.logf("images: signed with a throw-away key, which %s accepts", trust)
	return release.Trust(trust, []ssh.PublicKey{signer.PublicKey()}, "the throw-away key of one build, for tests only")
}

// inspect prints what images are made of: parts, modules, largest packages.
func inspect(ctx context.Context, env *env, cfg build.Config, module string, images []build.Image, most int) error {
	for _, im := range images {
		r, err := report.Inspect(ctx, cfg, im)
		if err != nil {
			return fmt.Errorf("%s: %w", im.Name, err)
		}
		if err := report.Print(env.out, r, module, most); err != nil {
			return err
		}
		fmt.Fprintln(env.out)
	}
	return nil
}

func readManifest(dir string) (*manifest.Manifest, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifest.File))
	if err != nil {
		return nil, err
	}
	return manifest.Decode(b)
}

// buildImages builds the release images and describes them.
func buildImages(ctx context.Context, env *env, p *toolchain.Project, tc *toolchain.Toolchain, out, version string) error {
	env.logf("images: building in %s", out)
	if err := clearFolder(out); err != nil {
		return err
	}
	cfg := build.Config{Root: p.Root, Out: abs(out), Toolchain: tc, Gzip: true, Logf: env.logf}
	if err := build.Build(ctx, cfg, build.Release); err != nil {
		return err
	}
	return release.Describe(ctx, release.Set{Images: out}, p.Root, version, "", tc)
}

func buildSmoke(ctx context.Context, env *env, p *toolchain.Project, tc *toolchain.Toolchain, out string) error {
	kernels, err := build.Smoke(p.Root)
	if err != nil {
		return err
	}
	env.logf("images: building %d smoke kernels in %s", len(kernels), out)
	return build.Build(ctx, build.Config{Root: p.Root, Out: abs(out), Toolchain: tc, Logf: env.logf}, kernels)
}

// clearFolder removes the files of an earlier build, signatures of another
// manifest among them, and nothing that is no file.
func clearFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func abs(dir string) string {
	if a, err := filepath.Abs(dir); err == nil {
		return a
	}
	return dir
}

// limit is the size that a stripped image should not exceed.
const limit = 6 << 20

// summary prints a line for each image.
func summary(env *env, dir string) error {
	for _, im := range build.Release {
		st, err := os.Stat(filepath.Join(dir, im.Name))
		if err != nil {
			return err
		}
		gz, err := os.Stat(filepath.Join(dir, im.Name+".gz"))
		if err != nil {
			return err
		}
		note := ""
		if st.Size() > limit {
			note = fmt.Sprintf("  over %d MB: see stubimage report", limit>>20)
		}
		fmt.Fprintf(env.out, "%-14s %8d bytes  %8d compressed%s\n", im.Name, st.Size(), gz.Size(), note)
	}
	return nil
}
