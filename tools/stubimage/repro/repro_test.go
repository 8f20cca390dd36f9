package repro

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sum(c string) string { return strings.Repeat(c, 64) }

func TestCompare(t *testing.T) {
	a := map[string]string{"x": sum("1"), "y": sum("2")}
	lines, err := compare("images", a, map[string]string{"y": sum("2"), "x": sum("1")}, false)
	if err != nil || len(lines) != 2 || lines[0] != sum("1")+"  x" {
		t.Errorf("%v %v", lines, err)
	}
	for name, b := range map[string]map[string]string{
		"changed": {"x": sum("1"), "y": sum("3")},
		"missing": {"x": sum("1")},
		"extra":   {"x": sum("1"), "y": sum("2"), "z": sum("4")},
		"empty":   {},
	} {
		if _, err := compare("images", a, b, false); !errors.Is(err, ErrDiffers) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if lines, err := compare("tools", a, a, true); err != nil || len(lines) != 1 || lines[0] != "tools: 2 files" {
		t.Errorf("%v %v", lines, err)
	}
}

func TestHashTree(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "abc")
	write(t, filepath.Join(dir, "d/b"), "")
	write(t, filepath.Join(dir, "d/lock"), "x")
	sums, err := hashTree(dir, func(name string) bool { return name != "d/lock" })
	if err != nil || len(sums) != 2 || sums["a"] != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" || sums["d/b"] == "" {
		t.Errorf("%v %v", sums, err)
	}
	if _, err := hashTree(filepath.Join(dir, "gone"), nil); err == nil {
		t.Error("no folder, no error")
	}
}

func TestCopySource(t *testing.T) {
	when := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, git := range []bool{false, true} {
		from, to := t.TempDir(), filepath.Join(t.TempDir(), "a b/src")
		write(t, filepath.Join(from, "go.mod"), "module x")
		write(t, filepath.Join(from, "p/q.go"), "package p")
		write(t, filepath.Join(from, "build/images/old"), "old")
		write(t, filepath.Join(from, ".gitignore"), "/build/\n")
		t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(from))
		if git {
			cmd := exec.Command("git", "init", "-q")
			cmd.Dir = from
			if err := cmd.Run(); err != nil {
				t.Skip("no git")
			}
		}
		if err := copySource(t.Context(), from, to, when); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(filepath.Join(to, "p/q.go"))
		if err != nil || !st.ModTime().Equal(when) {
			t.Errorf("git %v: %v %v", git, st, err)
		}
		for _, name := range []string{"build", ".git"} {
			if _, err := os.Stat(filepath.Join(to, name)); err == nil {
				t.Errorf("git %v: %s was copied", git, name)
			}
		}
	}
}

// The two surroundings must differ, or the comparison shows nothing.
func TestSurroundingsDiffer(t *testing.T) {
	a, b := both[0], both[1]
	if a.tree == b.tree || a.umask == b.umask || a.mtime.Equal(b.mtime) || len(b.env) <= len(a.env) {
		t.Errorf("%+v\n%+v", a, b)
	}
	for _, kv := range a.env {
		for _, other := range b.env {
			if kv == other {
				t.Errorf("%s in both", kv)
			}
		}
	}
}
