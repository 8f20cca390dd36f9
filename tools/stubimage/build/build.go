// Package build makes the stub domain images from source, so that the same
// tree gives the same bytes whatever the folder, user, time or cache.
package build

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/build"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"xenvtpm/tools/stubimage/elfnote"
	"xenvtpm/tools/tamago/toolchain"
)

// Flags of the go command for every image. Addresses: the first megabyte of a
// PVH guest holds page tables and what Xen put there (boot/pvh), the image
// starts with its headers at 1 MiB and its code a page later.
var (
	Tags    = []string{"linkcpuinit", "tiny"}
	LDFlags = []string{"-s", "-w", "-buildid=", "-T", "0x101000", "-R", "0x1000"}
)

// Flags are the build flags as one list, the way the manifest records them.
func Flags() []string {
	return []string{"-trimpath", "-buildvcs=false", "-tags=" + strings.Join(Tags, ","), "-ldflags=" + strings.Join(LDFlags, " ")}
}

// An Image is a program that boots as a guest.
type Image struct {
	Name    string // also the name of its file
	Package string // import path relative to the module, such as ./vtpm-stub
}

// Release are the images that are signed and installed.
var Release = []Image{{"vtpm-stub", "./vtpm-stub"}, {"vtpmmgr-stub", "./vtpmmgr-stub"}}

// Smoke lists the test kernels of the tree at root.
func Smoke(root string) ([]Image, error) {
	entries, err := os.ReadDir(filepath.Join(root, "boot", "smoke"))
	if err != nil {
		return nil, err
	}
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = "tamago", "amd64", false
	var images []Image
	for _, e := range entries {
		pkg, err := ctx.ImportDir(filepath.Join(root, "boot", "smoke", e.Name()), 0)
		if e.IsDir() && err == nil && pkg.IsCommand() {
			images = append(images, Image{e.Name(), "./boot/smoke/" + e.Name()})
		}
	}
	return images, nil
}

// Config of a build.
type Config struct {
	Root      string // of the source tree
	Out       string // folder for the images; made if needed
	Toolchain *toolchain.Toolchain
	Gzip      bool                 // also write NAME.gz
	Env       []string             // replaces the caller's environment where not nil
	Logf      func(string, ...any) // progress; nil is silent
}

// Build makes the images in cfg.Out. On an error nothing there has changed but
// whole files.
func Build(ctx context.Context, cfg Config, images []Image) error {
	if len(images) == 0 {
		return errors.New("no image to build")
	}
	if err := os.MkdirAll(cfg.Out, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cfg.Out, ".build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := link(ctx, cfg, images, tmp, LDFlags); err != nil {
		return err
	}
	for _, im := range images {
		if err := finish(cfg, im, filepath.Join(tmp, path.Base(im.Package))); err != nil {
			return fmt.Errorf("%s: %w", im.Name, err)
		}
	}
	return nil
}

// link runs the go command once for all images.
func link(ctx context.Context, cfg Config, images []Image, dir string, ldflags []string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-tags=" + strings.Join(Tags, ","),
		"-ldflags=" + strings.Join(ldflags, " "), "-o", dir + "/"}
	for _, im := range images {
		args = append(args, im.Package)
	}
	cmd, err := Command(ctx, cfg, args...)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// kept are the settings of a user's go command that say where modules come
// from and where work is cached. None of them can change an image: go.sum
// decides what a module is, and the cache is keyed by contents.
var kept = []string{"GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GOINSECURE", "GOMODCACHE", "GOCACHE", "GOPATH", "GOAUTH"}

// Command is a go command for the images in the source tree. Of everything
// else that could reach an image, GOFLAGS, GOAMD64, GOEXPERIMENT, GOFIPS140,
// GOWORK and the like, in the environment or in the go command's own
// configuration file, nothing is left.
func Command(ctx context.Context, cfg Config, args ...string) (*exec.Cmd, error) {
	base := cfg.Env
	if base == nil {
		base = os.Environ()
	}
	ask := cfg.Toolchain.Command(ctx, append([]string{"env", "-json"}, kept...)...)
	ask.Env = append(append([]string{}, base...), "GOTOOLCHAIN=local", "GOFLAGS=-mod=readonly")
	ask.Dir = cfg.Root
	b, err := ask.Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	var have map[string]string
	if err := json.Unmarshal(b, &have); err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	cmd := cfg.Toolchain.Command(ctx, args...)
	cmd.Env = append(clean(base, have), cfg.Toolchain.Target()...)
	cmd.Dir = cfg.Root
	return cmd, nil
}

// clean is the environment without settings that could reach what is built.
func clean(base []string, have map[string]string) (env []string) {
	for _, kv := range base {
		if !strings.HasPrefix(kv, "GO") && !strings.HasPrefix(kv, "CGO_") {
			env = append(env, kv)
		}
	}
	for _, name := range kept {
		if have[name] != "" {
			env = append(env, name+"="+have[name])
		}
	}
	return append(env, "GOENV=off", "GOWORK=off")
}

// HostTools builds programs for a Xen host from packages of the tree at root, into
// dir. Like images, they depend on the source, the Go release and the modules only.
func HostTools(ctx context.Context, root, dir string, packages []string) error {
	ask := exec.CommandContext(ctx, "go", append([]string{"env", "-json"}, kept...)...)
	ask.Dir = root
	b, err := ask.Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	var have map[string]string
	if err := json.Unmarshal(b, &have); err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", dir + "/"}, packages...)...)
	cmd.Dir = root
	cmd.Env = append(clean(os.Environ(), have), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-mod=readonly")
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("host tools: %w\n%s", err, b)
	}
	return nil
}

// finish adds the PVH note and puts the image and its compressed form in
// place.
func finish(cfg Config, im Image, linked string) error {
	image, err := os.ReadFile(linked)
	if err != nil {
		return err
	}
	if image, _, err = elfnote.Add(image); err != nil {
		return err
	}
	if err := WriteFile(filepath.Join(cfg.Out, im.Name), image, 0o644); err != nil {
		return err
	}
	if !cfg.Gzip {
		return nil
	}
	packed, err := Compress(image)
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(cfg.Out, im.Name+".gz"), packed, 0o644)
}

// Compress makes the gzip form of an image, without name, time or owner, so
// that it depends on the image and the Go release alone.
func Compress(image []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(image); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// WriteFile replaces a file as a whole.
func WriteFile(name string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(mode)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// Unstripped links im once more into dir, with its symbols, for looking at.
func Unstripped(ctx context.Context, cfg Config, im Image, dir string) (string, error) {
	var ldflags []string
	for _, f := range LDFlags {
		if f != "-s" && f != "-w" {
			ldflags = append(ldflags, f)
		}
	}
	err := link(ctx, cfg, []Image{im}, dir, append(ldflags, "-w"))
	return filepath.Join(dir, path.Base(im.Package)), err
}
