package initramfs

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
)

func read(t *testing.T, name string) map[string]cpio.Record {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	recs, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string]cpio.Record)
	for _, r := range recs {
		m[r.Name] = r
	}
	return m
}

func TestArchiveHasParentsAndIsReproducible(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	if err := os.WriteFile(src, []byte("payload"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := func(name string) string {
		b := New("")
		b.Text("/etc/lab/job.json", "{}", 0o644)
		b.Copy("init", src, 0o755)
		b.Link("sbin/init", "/init")
		b.Device("dev/console", 5, 1)
		out := filepath.Join(dir, name)
		if err := b.WriteFile(out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	one, two := build("a.cpio"), build("b.cpio")
	got := read(t, one)
	for _, name := range []string{"etc", "etc/lab", "etc/lab/job.json", "init", "sbin", "sbin/init", "dev", "dev/console"} {
		if _, ok := got[name]; !ok {
			t.Errorf("the archive lacks %s", name)
		}
	}
	if m := got["init"].Mode; m != cpio.S_IFREG|0o755 {
		t.Errorf("mode of init is %o", m)
	}
	a, _ := os.ReadFile(one)
	b, _ := os.ReadFile(two)
	if !bytes.Equal(a, b) {
		t.Error("two builds of the same archive differ")
	}
}

func TestFirstErrorIsReported(t *testing.T) {
	b := New(t.TempDir())
	b.Copy("x", "/nonexistent/file", 0o644)
	b.Text("y", "", 0o644)
	out := filepath.Join(t.TempDir(), "out")
	if err := b.WriteFile(out); err == nil {
		t.Error("a missing file gave no error")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a failed build left an archive behind")
	}
}

func TestConcatAligns(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"a": "12345", "b": "67"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out")
	if err := Concat(out, filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(out); string(got) != "12345\x00\x00\x0067\x00\x00" {
		t.Errorf("Concat wrote %q", got)
	}
}

func TestParseDepends(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"license=GPL\x00depends=scsi_mod,libata\x00name=x\x00", []string{"scsi_mod", "libata"}},
		{"depends=\x00", nil},
		{"author=depends=x\x00", nil},
		{"", nil},
	} {
		if got := parseDepends([]byte(c.in)); !slices.Equal(got, c.want) {
			t.Errorf("parseDepends(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

// Symbolic links of a package are relative to the tree, never to the host.
func TestResolveStaysInTheTree(t *testing.T) {
	tree := t.TempDir()
	if err := os.MkdirAll(filepath.Join(tree, "usr/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "usr/lib/real.so"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"usr/lib/abs.so": "/usr/lib/real.so", "usr/lib/rel.so": "real.so",
		"usr/lib/out.so": "../../../../etc/passwd", "usr/lib/loop.so": "loop.so",
	} {
		if err := os.Symlink(target, filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	b := New(tree)
	for _, name := range []string{"usr/lib/abs.so", "usr/lib/rel.so"} {
		got, err := b.resolve(name)
		if err != nil || got != filepath.Join(tree, "usr/lib/real.so") {
			t.Errorf("resolve(%s) = %s, %v", name, got, err)
		}
	}
	for _, name := range []string{"usr/lib/out.so", "usr/lib/loop.so"} {
		if got, err := b.resolve(name); err == nil {
			t.Errorf("resolve(%s) = %s, want an error", name, got)
		}
	}
}

func FuzzParseDepends(f *testing.F) {
	f.Add([]byte("license=GPL\x00depends=a,b\x00"))
	f.Add([]byte("depends="))
	f.Fuzz(func(t *testing.T, info []byte) {
		for _, d := range parseDepends(info) {
			if len(d) > len(info) {
				t.Fatalf("dependency %q is longer than the input", d)
			}
		}
	})
}
