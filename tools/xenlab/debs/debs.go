// Package debs obtains what the lab boots from Debian's archive: the Xen
// hypervisor, its tools, a kernel and their libraries. Packages are resolved
// by apt from the metadata of the running distribution, downloaded into the
// project's cache folder and unpacked there. Nothing is installed, and no
// version is named: the next release of the distribution brings its own.
package debs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// Roots are the packages that the lab asks for. Everything else follows from
// their dependencies.
var Roots = []string{"xen-system-amd64", "linux-image-amd64", "tpm2-tools", "openssl"}

// Cache is a folder that holds downloaded and unpacked packages.
type Cache struct {
	Dir  string                        // created when missing
	Logf func(format string, a ...any) // progress; nil is silent
}

// Tree is a folder with the unpacked packages of one resolution.
type Tree struct {
	Root string // absolute path; below it usr/, boot/, lib/ ...
	Key  string // names the set of package versions
}

const stampName = ".complete"

func (c *Cache) logf(format string, a ...any) {
	if c.Logf != nil {
		c.Logf(format, a...)
	}
}

// Obtain returns the unpacked tree of the packages in Roots. With refresh
// false a tree that an earlier call left behind is used without asking apt;
// otherwise apt is asked anew and only what changed is downloaded.
func (c *Cache) Obtain(ctx context.Context, refresh bool) (*Tree, error) {
	if !refresh {
		if t, err := c.current(); err == nil {
			return t, nil
		}
	}
	release, err := c.alone(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if !refresh { // another run may have got it meanwhile
		if t, err := c.current(); err == nil {
			return t, nil
		}
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, "archives"), 0o755); err != nil {
		return nil, fmt.Errorf("debs: %w", err)
	}
	c.logf("asking apt for %s", strings.Join(Roots, ", "))
	all, err := c.resolve(ctx)
	if err != nil {
		return nil, err
	}
	pkgs := wanted(all)
	if err := c.download(ctx, pkgs); err != nil {
		return nil, err
	}
	t := &Tree{Key: key(pkgs)}
	t.Root = filepath.Join(c.Dir, "tree-"+t.Key)
	if err := c.unpack(ctx, t, pkgs); err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.currentFile(), []byte(t.Key+" "+strings.Join(Roots, " ")+"\n"), 0o644); err != nil {
		return nil, fmt.Errorf("debs: %w", err)
	}
	return t, nil
}

func (c *Cache) currentFile() string { return filepath.Join(c.Dir, "current") }

// current is the tree that was obtained last, if it was for the same Roots.
func (c *Cache) current() (*Tree, error) {
	b, err := os.ReadFile(c.currentFile())
	if err != nil {
		return nil, err
	}
	f := strings.Fields(string(b))
	if len(f) == 0 || !slices.Equal(f[1:], Roots) {
		return nil, errors.New("debs: the last tree was for other packages")
	}
	t := &Tree{Key: f[0]}
	t.Root = filepath.Join(c.Dir, "tree-"+t.Key)
	_, err = os.Stat(filepath.Join(t.Root, stampName))
	return t, err
}

// key names a set of package files, independent of their order.
func key(pkgs []Package) string {
	names := make([]string, len(pkgs))
	for i, p := range pkgs {
		names[i] = p.File
	}
	sort.Strings(names)
	sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
	return hex.EncodeToString(sum[:6])
}

// One returns the only file of the tree that matches a pattern relative to
// its root, preferring the highest name when there are several.
func (t *Tree) One(pattern string) (string, error) {
	m, err := filepath.Glob(filepath.Join(t.Root, pattern))
	if err != nil {
		return "", err
	}
	if len(m) == 0 {
		return "", fmt.Errorf("debs: no package has a file %s", pattern)
	}
	sort.Strings(m)
	return m[len(m)-1], nil
}

// Kernel returns the kernel image and its version string.
func (t *Tree) Kernel() (image, version string, err error) {
	image, err = t.One("boot/vmlinuz-*")
	return image, strings.TrimPrefix(filepath.Base(image), "vmlinuz-"), err
}

// Hypervisor returns the gzip-compressed Xen multiboot image.
func (t *Tree) Hypervisor() (string, error) { return t.One("boot/xen-*.gz") }

// XenBin returns the folder, relative to the root, that holds Xen's tools.
func (t *Tree) XenBin() (string, error) {
	xl, err := t.One("usr/lib/xen-*/bin/xl")
	if err != nil {
		return "", err
	}
	return filepath.Rel(t.Root, filepath.Dir(xl))
}

var errNoApt = errors.New("debs: apt-get was not found: the lab takes Xen and Linux from Debian's archive and needs a Debian system")
