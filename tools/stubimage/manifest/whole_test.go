package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// optional are the fields that a manifest may leave out; the folder is then held to
// what is there.
var optional = []string{"expires", "images[0].gzip", "toolchain.sdk", "toolchain.port"}

// places names every field of a document, and every element of its lists.
func places(doc any, at string) (all []string) {
	switch v := doc.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			in := strings.TrimPrefix(at+"."+name, ".")
			all = append(append(all, in), places(v[name], in)...)
		}
	case []any:
		for i, e := range v {
			all = append(all, places(e, fmt.Sprintf("%s[%d]", at, i))...)
		}
	}
	return all
}

// without returns the document with one place left out, or null there.
func without(t *testing.T, text []byte, place string, null bool) []byte {
	t.Helper()
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(v any, at string)
	walk = func(v any, at string) {
		switch v := v.(type) {
		case map[string]any:
			for name, e := range v {
				in := strings.TrimPrefix(at+"."+name, ".")
				if in != place {
					walk(e, in)
				} else if null {
					v[name] = nil
				} else {
					delete(v, name)
				}
			}
		case []any:
			for i, e := range v {
				walk(e, fmt.Sprintf("%s[%d]", at, i))
			}
		}
	}
	walk(doc, "")
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What is left out of a manifest does not mean what is convenient: every field, in
// turn, is missing, or null.
func TestNothingMayBeLeftOut(t *testing.T) {
	text, err := good().Encode()
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	all := places(doc, "")
	if len(all) < 45 {
		t.Fatalf("only %d fields were found", len(all))
	}
	for _, place := range all {
		want := slices.Contains(optional, place)
		if _, err := Decode(without(t, text, place, false)); (err == nil) != want {
			t.Errorf("without %s: %v", place, err)
		}
		if _, err := Decode(without(t, text, place, true)); err == nil {
			t.Errorf("%s is null, and accepted", place)
		}
	}
	for _, place := range optional {
		if !slices.Contains(all, place) {
			t.Errorf("a manifest has no %s", place)
		}
	}
}

// Manifests of the first format, as releases have them, are read as ever. They
// describe images alone.
func TestFormat1(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "images-1.json"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if m.Format != Format1 || m.Image("vtpm-stub") == nil || m.Image("vtpmmgr-stub") == nil || len(m.Host)+len(m.Trust) != 0 {
		t.Errorf("%+v", m)
	}
	with := strings.Replace(string(text), `"files": [`, `"host": [{"name":"sbin/x","size":1,"sha256":"`+strings.Repeat("0", 64)+`","sha384":"`+strings.Repeat("0", 96)+`","mode":"0755"}], "files": [`, 1)
	if _, err := Decode([]byte(with)); err == nil || !strings.Contains(err.Error(), "has no files of a host") {
		t.Errorf("host files in format 1: %v", err)
	}
	if _, err := Decode(without(t, text, "modified", false)); err == nil {
		t.Error("modified may be left out of format 1")
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"sbin/a": 0o700, "share/x/b": 0o600} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Folder(dir)
	if err != nil || len(got) != 2 || got[0].Name != "sbin/a" || got[0].Perm() != 0o755 || got[1].Name != "share/x/b" || got[1].Perm() != 0o644 {
		t.Errorf("%+v %v", got, err)
	}
	if err := os.Symlink("a", filepath.Join(dir, "sbin/b")); err != nil {
		t.Fatal(err)
	}
	if _, err := Folder(dir); err == nil || !strings.Contains(err.Error(), "not a plain file") {
		t.Errorf("a link: %v", err)
	}
}
