package port

import (
	"go/build/constraint"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

func stockRoot(t *testing.T) string {
	t.Helper()
	b, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("go env GOROOT: %v", err)
	}
	return strings.TrimSpace(string(b))
}

// miniSDK copies the part of the installed SDK that the port touches, and a
// small goos package.
func miniSDK(t *testing.T) (goroot, goos string) {
	t.Helper()
	stock, goroot, goos := stockRoot(t), t.TempDir(), t.TempDir()
	names := []string{"VERSION", "src/internal/buildcfg/zbootstrap.go"}
	for _, v := range variants {
		names = append(names, "src/"+v.from)
	}
	for _, r := range retags {
		names = append(names, "src/"+r.file)
	}
	for _, e := range edits {
		names = append(names, "src/"+e.file)
	}
	for _, dir := range likeJS {
		files, err := filepath.Glob(filepath.Join(stock, "src", dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			names = append(names, "src/"+path.Join(dir, filepath.Base(f)))
		}
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(stock, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(goroot, name), string(b))
	}
	write(t, filepath.Join(goos, "goos.go"), "package goos\n")
	return goroot, goos
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// targets are tag sets for which the port must change nothing.
var targets = map[string][]string{
	"linux":   {"linux", "unix", "amd64", "gc"},
	"darwin":  {"darwin", "unix", "arm64", "gc"},
	"windows": {"windows", "amd64", "gc"},
	"plan9":   {"plan9", "amd64", "gc"},
	"js":      {"js", "wasm", "gc"},
	"wasip1":  {"wasip1", "wasm", "gc"},
	"tiny":    {"linux", "unix", "amd64", "gc", "tiny"},
}

func eval(t *testing.T, text string, tags []string) bool {
	t.Helper()
	_, _, expr, err := findConstraint([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return expr == nil || expr.Eval(func(tag string) bool {
		for _, have := range tags {
			if tag == have {
				return true
			}
		}
		return false
	})
}

func TestApply(t *testing.T) {
	goroot, goos := miniSDK(t)
	if err := Apply(goroot, goos, "go1.26.99-tamago.test"); err != nil {
		t.Fatal(err)
	}
	stock, changed := stockRoot(t), 0
	err := filepath.WalkDir(filepath.Join(goroot, "src"), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		rel, _ := filepath.Rel(goroot, name)
		old, err := os.ReadFile(filepath.Join(stock, rel))
		if err != nil { // a new file: only for the target, or marked as shared
			text := read(t, name)
			shared := strings.HasSuffix(name, "tamago_none.go") || strings.HasSuffix(name, "work/tamago.go") || strings.Contains(rel, "runtime/goos/")
			if !shared && eval(t, text, targets["linux"]) {
				t.Errorf("%s is part of a linux build", rel)
			}
			return nil
		}
		for target, tags := range targets {
			if eval(t, string(old), tags) != eval(t, read(t, name), tags) {
				t.Errorf("%s: the port changes whether %s builds it", rel, target)
			}
		}
		if string(old) != read(t, name) {
			changed++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if changed < len(retags) {
		t.Errorf("%d files changed", changed)
	}
	if v := read(t, filepath.Join(goroot, "VERSION")); !strings.HasPrefix(v, "go1.26.99-tamago.test\n") {
		t.Errorf("VERSION is %q", v)
	}
}

// A second application finds its own files in the way and must say so rather
// than make a strange tree.
func TestApplyTwice(t *testing.T) {
	goroot, goos := miniSDK(t)
	if err := Apply(goroot, goos, "go1.26.99-x"); err != nil {
		t.Fatal(err)
	}
	if err := Apply(goroot, goos, "go1.26.99-x"); err == nil {
		t.Fatal("applied twice")
	}
}

// Every edit must fail by name when the SDK's text has moved.
func TestMovedText(t *testing.T) {
	for _, e := range edits {
		goroot := t.TempDir()
		for _, other := range edits { // the files, each with all its old texts but e's
			name := filepath.Join(goroot, other.file)
			text := ""
			if b, err := os.ReadFile(name); err == nil {
				text = string(b)
			}
			if other.file != e.file || other.old != e.old {
				text += other.old + "\n~\n"
			}
			write(t, name, text)
		}
		err := applyEdits(goroot)
		if err == nil || !strings.Contains(err.Error(), e.file) || !strings.Contains(err.Error(), "not found") {
			t.Errorf("%s without its text: %v", e.file, err)
		}
	}
}

func TestMovedConstraint(t *testing.T) {
	goroot, goos := miniSDK(t)
	write(t, filepath.Join(goroot, "src/runtime/stubs3.go"), "package runtime\n")
	err := Apply(goroot, goos, "go1.26.99-x")
	if err == nil || !strings.Contains(err.Error(), "runtime/stubs3.go") {
		t.Fatalf("error %v", err)
	}
}

func TestMissingVariant(t *testing.T) {
	goroot, goos := miniSDK(t)
	if err := os.Remove(filepath.Join(goroot, "src", variants[0].from)); err != nil {
		t.Fatal(err)
	}
	err := Apply(goroot, goos, "go1.26.99-x")
	if err == nil || !strings.Contains(err.Error(), variants[0].from) {
		t.Fatalf("error %v", err)
	}
}

func TestNoGoos(t *testing.T) {
	goroot, _ := miniSDK(t)
	if err := Apply(goroot, t.TempDir(), "go1.26.99-x"); err == nil {
		t.Fatal("a toolchain without runtime/goos is made")
	}
}

func TestReplaceOnce(t *testing.T) {
	if _, err := replaceOnce([]byte("a b a"), "a", "c"); err == nil {
		t.Error("two occurrences accepted")
	}
	if _, err := replaceOnce([]byte("b"), "a", "c"); err == nil {
		t.Error("no occurrence accepted")
	}
	if b, err := replaceOnce([]byte("x a y"), "a", "c"); err != nil || string(b) != "x c y" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestLike(t *testing.T) {
	for _, tt := range []struct{ tag, in, want string }{
		{"js", "js && wasm", "(js && wasm) || tamago"},
		{"js", "unix || (js && wasm) || wasip1", "unix || (js && wasm) || tamago || wasip1"},
		{"js", "!js && !plan9", "!(js || tamago) && !plan9"},
		{"wasip1", "!wasip1", "!(wasip1 || tamago)"},
		{"wasm", "plan9 || wasm", "plan9 || wasm || tamago"},
	} {
		expr, err := constraint.Parse("//go:build " + tt.in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := like(tt.tag)(expr)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != tt.want {
			t.Errorf("like(%s) of %q is %q, want %q", tt.tag, tt.in, got, tt.want)
		}
	}
	if _, err := like("js")(nil); err != errNotTagged {
		t.Errorf("no constraint: %v", err)
	}
}

func TestHashStable(t *testing.T) {
	if a, b := Hash(), Hash(); a != b || len(a) != 64 {
		t.Fatalf("%s, %s", a, b)
	}
}
