package build

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xenvtpm/tools/tamago/toolchain"
)

// fakeGo is a go command that answers env -json and fails otherwise.
func fakeGo(t *testing.T) *toolchain.Toolchain {
	t.Helper()
	file := filepath.Join(t.TempDir(), "go")
	script := "#!/bin/sh\nif [ \"$1 $2\" = 'env -json' ]; then echo '{\"GOPROXY\":\"https://proxy.example.org\",\"GOCACHE\":\"/c\",\"GOPRIVATE\":\"\"}'; exit; fi\necho broken >&2; exit 3\n"
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return &toolchain.Toolchain{Go: file}
}

// Nothing of a user's Go setup reaches a build but where modules come from.
func TestCommandEnvironment(t *testing.T) {
	cfg := Config{Root: t.TempDir(), Toolchain: fakeGo(t), Env: []string{"PATH=/bin:/usr/bin", "HOME=/h", "GOFLAGS=-tags=evil", "GOAMD64=v4",
		"GOEXPERIMENT=rangefunc", "GOFIPS140=latest", "GOWORK=/w", "GODEBUG=x=1", "GOROOT=/r", "CGO_CFLAGS=-O0", "GOENV=/e", "GOOS=linux"}}
	cmd, err := Command(t.Context(), cfg, "build")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"GOFLAGS", "GOAMD64", "GOEXPERIMENT", "GOFIPS140", "GODEBUG", "GOROOT", "CGO_CFLAGS", "GOPRIVATE"} {
		if slices.ContainsFunc(cmd.Env, func(kv string) bool { return strings.HasPrefix(kv, bad+"=") }) {
			t.Errorf("%s is left in %v", bad, cmd.Env)
		}
	}
	for _, want := range []string{"PATH=/bin:/usr/bin", "HOME=/h", "GOPROXY=https://proxy.example.org", "GOCACHE=/c", "GOENV=off", "GOWORK=off",
		"GOOS=tamago", "GOARCH=amd64", "CGO_ENABLED=0", "GOTOOLCHAIN=local"} {
		if !slices.Contains(cmd.Env, want) {
			t.Errorf("%s is not in %v", want, cmd.Env)
		}
	}
	if slices.Contains(cmd.Env, "GOOS=linux") {
		t.Error("two values of GOOS")
	}
}

func TestBuildError(t *testing.T) {
	out := t.TempDir()
	cfg := Config{Root: t.TempDir(), Out: out, Toolchain: fakeGo(t)}
	if err := Build(t.Context(), cfg, []Image{{"x", "./x"}}); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("error %v does not say what the compiler said", err)
	}
	if left, _ := os.ReadDir(out); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := Build(t.Context(), cfg, nil); err == nil {
		t.Error("nothing to build, no error")
	}
}

func TestCompress(t *testing.T) {
	in := bytes.Repeat([]byte("image "), 1000)
	a, err := Compress(in)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Compress(in)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("not the same twice: %v", err)
	}
	r, err := gzip.NewReader(bytes.NewReader(a))
	if err != nil {
		t.Fatal(err)
	}
	if !r.ModTime.IsZero() || r.Name != "" || r.Comment != "" {
		t.Errorf("header %+v", r.Header)
	}
	if out, err := io.ReadAll(r); err != nil || !bytes.Equal(out, in) {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "x")
	for _, text := range []string{"one", "two"} {
		if err := WriteFile(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil || string(b) != text {
			t.Errorf("%q %v", b, err)
		}
	}
	if st, _ := os.Stat(name); st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", st.Mode())
	}
	if err := WriteFile(filepath.Join(dir, "gone", "x"), nil, 0o644); err == nil {
		t.Error("no folder, no error")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSmoke(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"metal/main.go": "//go:build tamago\n\npackage main\n",
		"lib/lib.go":    "//go:build tamago\n\npackage lib\n",
		"host/main.go":  "//go:build !tamago\n\npackage main\n",
		"README.md":     "x",
	} {
		file := filepath.Join(root, "boot", "smoke", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Smoke(root)
	if err != nil || len(got) != 1 || got[0] != (Image{"metal", "./boot/smoke/metal"}) {
		t.Errorf("%v, %v", got, err)
	}
}
