package manifest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"xenvtpm/tools/stubimage/elfnote"
)

// program links a small program with a module of this project's in it, and
// adds the note.
func program(t *testing.T, dir, name string, note bool) {
	t.Helper()
	src := filepath.Join(dir, "src")
	for file, text := range map[string]string{
		"go.mod":  "module example.org/img\n\ngo 1.26\n",
		"main.go": "package main\n\nfunc main() {}\n",
	} {
		if err := os.MkdirAll(src, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(src, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", filepath.Join(dir, name), ".")
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=", "GOWORK=off")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if err := os.RemoveAll(src); err != nil {
		t.Fatal(err)
	}
	if !note {
		return
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if b, _, err = elfnote.Add(b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDescribe(t *testing.T) {
	if testing.Short() {
		t.Skip("links a program")
	}
	dir := t.TempDir()
	program(t, dir, "a-stub", true)
	if err := os.WriteFile(filepath.Join(dir, "a-stub.gz"), []byte("packed"), 0o644); err != nil {
		t.Fatal(err)
	}
	start := Manifest{Version: "1.0.0", Commit: "unknown", Toolchain: Toolchain{Go: runtime.Version(), Tamago: "v1.26.0"}}
	text, sbom, err := Describe(dir, []string{"a-stub"}, start)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	im := m.Image("a-stub")
	if im == nil || im.Package != "example.org/img" || !strings.HasPrefix(im.PVHEntry, "0x4") || im.Gzip == nil || im.Gzip.Size != 6 {
		t.Errorf("%+v", im)
	}
	if len(m.Files) != 1 || m.Files[0].Check(sbom) != nil {
		t.Errorf("files %+v", m.Files)
	}
	again, _, err := Describe(dir, []string{"a-stub"}, start)
	if err != nil || string(again) != string(text) {
		t.Errorf("the description is not the same twice: %v", err)
	}
	start.Toolchain.Go = ""
	if text, _, err := Describe(dir, []string{"a-stub"}, start); err != nil || !strings.Contains(string(text), `"go": "`+runtime.Version()) {
		t.Errorf("the image's own version is not taken: %v", err)
	}
	start.Toolchain.Go = "go1.0"
	if _, _, err := Describe(dir, []string{"a-stub"}, start); err == nil || !strings.Contains(err.Error(), "built with") {
		t.Errorf("another toolchain: %v", err)
	}
	if _, _, err := Describe(dir, []string{"b-stub"}, start); err == nil {
		t.Error("a missing image is described")
	}
	program(t, dir, "c-stub", false)
	if _, _, err := Describe(dir, []string{"c-stub"}, start); err == nil || !strings.Contains(err.Error(), "note") {
		t.Errorf("an image without a note: %v", err)
	}
}
