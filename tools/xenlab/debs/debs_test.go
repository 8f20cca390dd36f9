package debs

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const uris = `Reading package lists...
Building dependency tree...
The following NEW packages will be installed:
  libc6 xen-utils-4.17
'http://mirror/debian/pool/main/x/xen/xen-utils-4.17_4.17.7%2b13_amd64.deb' xen-utils-4.17_4.17.7+13_amd64.deb 1372500 SHA256:00
'http://mirror/debian/pool/main/z/zlib/zlib1g_1.2.13_amd64.deb' zlib1g_1%3a1.2.13.dfsg-1_amd64.deb 86000 SHA256:00
'http://mirror/debian/pool/main/p/libpython3.11_amd64.deb' libpython3.11-stdlib_3.11.2-6_amd64.deb 1 SHA256:00
'http://mirror/debian/pool/main/a/adduser_3.134_all.deb' adduser_3.134_all.deb 1 SHA256:00
'http://mirror/broken' nothing.deb 1 SHA256:00
`

func TestParseURIs(t *testing.T) {
	got := parseURIs(uris)
	want := []Package{
		{"xen-utils-4.17", "4.17.7+13", "xen-utils-4.17_4.17.7+13_amd64.deb"},
		{"zlib1g", "1:1.2.13.dfsg-1", "zlib1g_1%3a1.2.13.dfsg-1_amd64.deb"},
		{"libpython3.11-stdlib", "3.11.2-6", "libpython3.11-stdlib_3.11.2-6_amd64.deb"},
		{"adduser", "3.134", "adduser_3.134_all.deb"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("parseURIs = %+v\nwant %+v", got, want)
	}
}

func TestWantedKeepsLibrariesAndTools(t *testing.T) {
	var names []string
	for _, p := range wanted(parseURIs(uris)) {
		names = append(names, p.Name)
	}
	if want := []string{"xen-utils-4.17", "zlib1g"}; !slices.Equal(names, want) {
		t.Errorf("wanted = %v, want %v", names, want)
	}
}

func TestKeyIgnoresOrderAndSeesVersions(t *testing.T) {
	a := []Package{{File: "a_1_amd64.deb"}, {File: "b_1_amd64.deb"}}
	b := []Package{a[1], a[0]}
	if key(a) != key(b) {
		t.Error("the key depends on the order of packages")
	}
	b[0].File = "b_2_amd64.deb"
	if key(a) == key(b) {
		t.Error("the key does not depend on a package's version")
	}
}

// A tree without its stamp is the rest of an interrupted run and must not be
// used.
func TestObtainUsesOnlyCompleteTrees(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	root := filepath.Join(c.Dir, "tree-k")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.currentFile(), []byte("k "+strings.Join(Roots, " ")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.current(); err == nil {
		t.Fatal("a tree without a stamp was accepted")
	}
	if err := os.WriteFile(filepath.Join(root, stampName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tree, err := c.Obtain(context.Background(), false)
	if err != nil || tree.Root != root {
		t.Fatalf("Obtain = %+v, %v; want root %s", tree, err, root)
	}
	// A tree that was obtained when the lab needed other packages.
	for _, old := range []string{"", "k\n", "k " + strings.Join(Roots[1:], " ") + "\n"} {
		if err := os.WriteFile(c.currentFile(), []byte(old), 0o644); err != nil {
			t.Fatal(err)
		}
		if tree, err := c.current(); err == nil {
			t.Errorf("%q was accepted: %+v", old, tree)
		}
	}
}

func TestKernelVersionComesFromTheFileName(t *testing.T) {
	tree := &Tree{Root: t.TempDir()}
	if err := os.Mkdir(filepath.Join(tree.Root, "boot"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tree.Kernel(); err == nil {
		t.Error("a tree without a kernel gave no error")
	}
	name := filepath.Join(tree.Root, "boot", "vmlinuz-6.12.9-amd64")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	image, version, err := tree.Kernel()
	if err != nil || image != name || version != "6.12.9-amd64" {
		t.Errorf("Kernel = %q, %q, %v", image, version, err)
	}
}

// What a test needs may be a file that is no program.
func TestLookPath(t *testing.T) {
	file := filepath.Join(t.TempDir(), "firmware.fd")
	if got := LookPath(file); got != "" {
		t.Errorf("before it is there: %q", got)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := LookPath(file); got != file {
		t.Errorf("%q", got)
	}
	if got := LookPath(filepath.Dir(file)); got != "" {
		t.Errorf("a folder: %q", got)
	}
	if LookPath("sh") == "" || LookPath("no-such-program") != "" {
		t.Error("programs in PATH")
	}
}
