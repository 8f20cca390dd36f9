// Package toolchain finds or makes the go command that builds GOOS=tamago
// images.
//
// TAMAGO in the environment names one and wins. Otherwise a toolchain is
// derived from the installed Go SDK: a copy of its tree in the project's cache
// folder, changed by package port, with go, compile, asm and link rebuilt. The
// copy's name is a hash of everything it is made from, so that it is made once
// and a stale one is never used. Nothing is fetched but Go modules.
package toolchain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Module is the module that has the board contract (package goos).
const Module = "github.com/usbarmory/tamago"

// Config says where to look and to whom to talk. The zero value is usable.
type Config struct {
	// Dir is a folder in the main module; empty is the current one.
	Dir string
	// Cache is the cache folder. Empty: XENVTPM_CACHE of the environment, or
	// .cache at the root of the main module.
	Cache string
	// Logf takes progress lines; nil is silent.
	Logf func(format string, args ...any)
}

// Toolchain is a go command that knows GOOS=tamago GOARCH=amd64.
type Toolchain struct {
	// Go is the path of the go command.
	Go string `json:"go"`
	// Derived says that it was made here rather than named by TAMAGO.
	Derived bool `json:"derived"`
	// Version is the version that images carry; for a toolchain named by
	// TAMAGO it is what its go command reports.
	Version string `json:"version"`
	// Inputs is what a derived toolchain was made from.
	Inputs *Inputs `json:"inputs,omitempty"`
}

// Find returns the toolchain to use, making it where needed. Making takes one
// to three minutes; finding a made one takes a fraction of a second.
func Find(ctx context.Context, cfg Config) (*Toolchain, error) {
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	if name := os.Getenv("TAMAGO"); name != "" {
		t, err := named(ctx, name)
		if err == nil && !strings.Contains(t.Version, goRelease) {
			cfg.Logf("toolchain: TAMAGO is %s; the images are made and tested with %s", t.Version, goRelease)
		}
		return t, err
	}
	in, err := collect(ctx, cfg.Dir)
	if err != nil {
		return nil, err
	}
	cache := cfg.Cache
	if cache == "" {
		if cache, err = CacheDir(in.project.Root); err != nil {
			return nil, err
		}
	}
	return derive(ctx, filepath.Join(cache, "tamago"), in, cfg.Logf)
}

// CacheDir is the project's cache folder for a main module at root.
func CacheDir(root string) (string, error) {
	if dir := os.Getenv("XENVTPM_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	return filepath.Join(root, ".cache"), nil
}

// Env is the environment of a build with t: the caller's, made to target
// GOOS=tamago and freed of what would lead the go command to another SDK.
func (t *Toolchain) Env() []string {
	return append(clean(os.Environ(), "GOROOT", "GOTOOLDIR"), t.Target()...)
}

// Target is the part of Env that selects the target.
func (t *Toolchain) Target() []string {
	return []string{"GOTOOLCHAIN=local", "GOOS=tamago", "GOARCH=amd64", "GOOSPKG=" + Module, "CGO_ENABLED=0"}
}

// Command is a go command of t with the build environment.
func (t *Toolchain) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.Go, args...)
	cmd.Env = t.Env()
	return cmd
}

// named checks the go command that TAMAGO names.
func named(ctx context.Context, name string) (*Toolchain, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("TAMAGO=%s: %w", name, err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	t := &Toolchain{Go: path}
	if _, err := output(t.Command(ctx, "list", "runtime/goos")); err != nil {
		return nil, fmt.Errorf("TAMAGO=%s does not know GOOS=tamago GOARCH=amd64: %w", name, err)
	}
	b, err := output(t.Command(ctx, "env", "GOVERSION"))
	if err != nil {
		return nil, fmt.Errorf("TAMAGO=%s: %w", name, err)
	}
	t.Version = string(b)
	return t, nil
}

// derive returns the toolchain of in below dir, making it under a lock.
func derive(ctx context.Context, dir string, in *Inputs, logf func(string, ...any)) (*Toolchain, error) {
	final := filepath.Join(dir, in.Name())
	if t, err := open(final, in); err == nil {
		return t, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("toolchain cache: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"), logf)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if t, err := open(final, in); err == nil { // another process made it
		return t, nil
	}
	prune(dir, final)
	start := time.Now()
	tmp, err := os.MkdirTemp(dir, "tmp-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := build(ctx, tmp, in, logf); err != nil {
		return nil, err
	}
	os.RemoveAll(final) // a damaged one: open refused it
	if err := os.Rename(tmp, final); err != nil {
		return nil, err
	}
	logf("toolchain: ready after %d s in %s", int(time.Since(start).Seconds()), final)
	return open(final, in)
}

const stampName = "tamago-toolchain.json"

// open accepts a made toolchain whose stamp says what in says.
func open(dir string, in *Inputs) (*Toolchain, error) {
	stamp := filepath.Join(dir, stampName)
	b, err := os.ReadFile(stamp)
	if err != nil {
		return nil, err
	}
	var have Inputs
	if err := json.Unmarshal(b, &have); err != nil {
		return nil, fmt.Errorf("%s: %w", stamp, err)
	}
	if have.Hash() != in.Hash() {
		return nil, fmt.Errorf("%s: made from something else", stamp)
	}
	goCmd := filepath.Join(dir, "bin", "go")
	if _, err := os.Stat(goCmd); err != nil {
		return nil, err
	}
	now := time.Now()
	os.Chtimes(stamp, now, now) // the time of last use, for prune; best effort
	return &Toolchain{Go: goCmd, Derived: true, Version: in.Version(), Inputs: in}, nil
}

// keepUnused is how long a toolchain that nothing asks for stays in the cache.
const keepUnused = 7 * 24 * time.Hour

// prune removes what killed runs left and toolchains long unused. The caller
// holds the lock. A failure to remove is not worth a failed build.
func prune(dir, final string) {
	tmps, _ := filepath.Glob(filepath.Join(dir, "tmp-*"))
	for _, tmp := range tmps {
		os.RemoveAll(tmp)
	}
	stamps, _ := filepath.Glob(filepath.Join(dir, "*", stampName))
	for _, stamp := range stamps {
		st, err := os.Stat(stamp)
		if err == nil && filepath.Dir(stamp) != final && time.Since(st.ModTime()) > keepUnused {
			os.RemoveAll(filepath.Dir(stamp))
		}
	}
}

// output runs cmd and returns its trimmed standard output; an error carries
// what the command said.
func output(cmd *exec.Cmd) ([]byte, error) {
	b, err := cmd.Output()
	if err != nil {
		return nil, explain(err)
	}
	return trimSpace(b), nil
}

func explain(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, trimSpace(exit.Stderr))
	}
	return err
}
