// Package port turns a copy of the Go SDK's tree into one that also knows
// GOOS=tamago on amd64, the freestanding target whose contract is package goos
// of github.com/usbarmory/tamago.
//
// The port is three kinds of change, all in the tables of this package: new
// files (embedded under _goroot), files made from one of the SDK's own
// js/wasm or wasip1 variants, and small edits. Every edit states the text it
// expects, so that an SDK whose text has moved is refused by name.
package port

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

//go:embed all:_goroot
var files embed.FS

//go:embed port.go constraint.go tables.go
var sources embed.FS

// Tag is the build tag and GOOS value of the port.
const Tag = "tamago"

// Apply ports the tree at goroot. goosDir is the directory of the contract's
// goos package, which becomes runtime/goos; version replaces the Go version
// that the tools and their output carry, so that no build cache can mistake
// this toolchain for the stock one.
func Apply(goroot, goosDir, version string) error {
	src := filepath.Join(goroot, "src")
	for _, step := range []func(string) error{addFiles, copyVariants, retag, applyEdits} {
		if err := step(src); err != nil {
			return err
		}
	}
	if err := addGoos(src, goosDir); err != nil {
		return err
	}
	return setVersion(goroot, version)
}

// Hash identifies the port: its embedded files, tables and code.
func Hash() string {
	h := sha256.New()
	for _, fsys := range []embed.FS{files, sources} {
		var names []string
		fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				names = append(names, p)
			}
			return err
		})
		sort.Strings(names)
		for _, name := range names {
			b, _ := fsys.ReadFile(name) // embedded: cannot fail
			fmt.Fprintf(h, "%s %d\n", name, len(b))
			h.Write(b)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// addFiles writes the embedded files.
func addFiles(src string) error {
	const root = "_goroot/src"
	return fs.WalkDir(files, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		return create(src, strings.TrimPrefix(name, root+"/"), b)
	})
}

// copyVariants makes a tamago file from another target's.
func copyVariants(src string) error {
	for _, v := range variants {
		b, err := os.ReadFile(filepath.Join(src, v.from))
		if err != nil {
			return fmt.Errorf("port: the SDK lacks %s, which the port copies: %w", v.from, err)
		}
		for _, r := range v.replace {
			if b, err = replaceOnce(b, r.old, r.new); err != nil {
				return fmt.Errorf("port: %s: %w", v.from, err)
			}
		}
		b, err = setConstraint(b, tagExpr(Tag))
		if err != nil {
			return fmt.Errorf("port: %s: %w", v.from, err)
		}
		if err := create(src, variantName(v.from), b); err != nil {
			return err
		}
	}
	return nil
}

// variantName maps dir/x_js.go, dir/x_wasm.go and dir/x_wasip1.go to
// dir/x_tamago.go.
func variantName(from string) string {
	base := path.Base(from)
	return path.Join(path.Dir(from), base[:strings.LastIndex(base, "_")]+"_"+Tag+".go")
}

// retag changes build constraints, by file and for whole folders.
func retag(src string) error {
	for _, t := range retags {
		if err := retagFile(filepath.Join(src, t.file), t.change); err != nil {
			return fmt.Errorf("port: %s: %w", t.file, err)
		}
	}
	for _, dir := range likeJS {
		if err := retagDir(filepath.Join(src, dir)); err != nil {
			return fmt.Errorf("port: %s: %w", dir, err)
		}
	}
	return nil
}

func retagDir(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	changed := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		switch err := retagFile(name, like("js")); err {
		case nil:
			changed++
		case errNotTagged:
		default:
			return fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
	}
	if changed == 0 {
		return fmt.Errorf("no file has a build constraint on js any more")
	}
	return nil
}

func applyEdits(src string) error {
	for _, e := range edits {
		name := filepath.Join(src, e.file)
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("port: %w", err)
		}
		if b, err = replaceOnce(b, e.old, e.new); err != nil {
			return fmt.Errorf("port: %s: %w", e.file, err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// addGoos puts the contract's goos package at its place in the standard
// library.
func addGoos(src, goosDir string) error {
	names, err := filepath.Glob(filepath.Join(goosDir, "*"))
	if err != nil {
		return err
	}
	n := 0
	for _, name := range names {
		if ext := filepath.Ext(name); ext != ".go" && ext != ".s" {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := create(src, path.Join("runtime/goos", filepath.Base(name)), b); err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		return fmt.Errorf("port: no Go files in %s: is this github.com/usbarmory/tamago's package goos?", goosDir)
	}
	return nil
}

// setVersion gives the tree a version of its own in both places that have one.
func setVersion(goroot, version string) error {
	vfile := filepath.Join(goroot, "VERSION")
	b, err := os.ReadFile(vfile)
	if err != nil {
		return err
	}
	stock, rest, _ := strings.Cut(string(b), "\n")
	if err := os.WriteFile(vfile, []byte(version+"\n"+rest), 0o644); err != nil {
		return err
	}
	const boot = "src/internal/buildcfg/zbootstrap.go"
	bfile := filepath.Join(goroot, boot)
	if b, err = os.ReadFile(bfile); err != nil {
		return err
	}
	b, err = replaceOnce(b, "const version = `"+stock+"`", "const version = `"+version+"`")
	if err != nil {
		return fmt.Errorf("port: %s: %w", boot, err)
	}
	return os.WriteFile(bfile, b, 0o644)
}

// create writes a new file and refuses to replace one that the SDK has.
func create(src, name string, b []byte) error {
	file := filepath.Join(src, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("port: new file: %w", err)
	}
	if _, err := f.Write(b); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// replaceOnce replaces the only occurrence of old.
func replaceOnce(b []byte, old, new string) ([]byte, error) {
	switch n := bytes.Count(b, []byte(old)); n {
	case 1:
		return bytes.Replace(b, []byte(old), []byte(new), 1), nil
	case 0:
		return nil, fmt.Errorf("text to change not found: %q", old)
	default:
		return nil, fmt.Errorf("text to change found %d times, expected once: %q", n, old)
	}
}
