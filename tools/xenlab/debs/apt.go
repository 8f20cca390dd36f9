package debs

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package is one file of Debian's archive.
type Package struct {
	Name    string
	Version string
	File    string // as apt names it in its archives folder
}

// resolve asks apt for the closure of Roots against an empty system, so that
// the answer does not depend on what this machine has installed.
func (c *Cache) resolve(ctx context.Context) ([]Package, error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, errNoApt
	}
	status := filepath.Join(c.Dir, "empty-status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, fmt.Errorf("debs: %w", err)
	}
	// apt does not name the packages that lie in its archives folder already.
	empty := filepath.Join(c.Dir, "empty-archives")
	if err := os.MkdirAll(filepath.Join(empty, "partial"), 0o755); err != nil {
		return nil, fmt.Errorf("debs: %w", err)
	}
	args := []string{"apt-get", "-y", "--no-install-recommends", "--print-uris",
		"-o", "Dir::State::status=" + status,
		"-o", "Dir::Cache::archives=" + empty + "/",
		// A cache for another system's state must not replace the real one.
		"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "Debug::NoLocking=1", "install"}
	args = append(args, Roots...)
	out, err := run(ctx, c.Dir, args...)
	if err != nil {
		// A fresh machine has no package lists yet.
		c.logf("apt knows no such packages yet: apt-get update")
		if err := c.privileged(ctx, "apt-get", "update"); err != nil {
			return nil, err
		}
		if out, err = run(ctx, c.Dir, args...); err != nil {
			return nil, err
		}
	}
	pkgs := parseURIs(string(out))
	if len(pkgs) == 0 {
		return nil, fmt.Errorf("debs: apt-get --print-uris named no packages for %s", strings.Join(Roots, ", "))
	}
	return pkgs, nil
}

// parseURIs reads the lines of apt-get --print-uris:
// 'uri' name_version_arch.deb size hash.
func parseURIs(out string) []Package {
	var pkgs []Package
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[0], "'") || !strings.HasSuffix(f[1], ".deb") {
			continue
		}
		part := strings.SplitN(strings.TrimSuffix(f[1], ".deb"), "_", 3)
		if len(part) != 3 {
			continue
		}
		version, err := url.PathUnescape(part[1])
		if err != nil {
			continue
		}
		pkgs = append(pkgs, Package{Name: part[0], Version: version, File: f[1]})
	}
	return pkgs
}

// wanted drops from a closure what only an installed system needs: the shell
// tools, Python and init scripts. What stays are programs that the lab runs and shared libraries.
func wanted(all []Package) []Package {
	var keep []Package
	for _, p := range all {
		switch {
		case strings.Contains(p.Name, "python"):
		case strings.HasPrefix(p.Name, "lib"), strings.HasPrefix(p.Name, "zlib"),
			strings.HasPrefix(p.Name, "xen"), strings.HasPrefix(p.Name, "linux-image-"),
			p.Name == "tpm2-tools", p.Name == "openssl":
			keep = append(keep, p)
		}
	}
	return keep
}

// download fetches the packages that are not in the archives folder yet.
// apt checks their hashes against the signed lists.
func (c *Cache) download(ctx context.Context, pkgs []Package) error {
	dir := filepath.Join(c.Dir, "archives")
	args := []string{"apt-get", "-q", "-o", "APT::Sandbox::User=root", "download"}
	n := len(args)
	for _, p := range pkgs {
		if _, err := os.Stat(filepath.Join(dir, p.File)); err != nil {
			args = append(args, p.Name+"="+p.Version)
		}
	}
	if len(args) == n {
		return nil
	}
	c.logf("downloading %d Debian packages into %s", len(args)-n, dir)
	return c.patiently(ctx, func() error {
		_, err := run(ctx, dir, args...)
		return err
	})
}

// unpack extracts the packages into t.Root. The tree appears under its name only when it is complete.
func (c *Cache) unpack(ctx context.Context, t *Tree, pkgs []Package) error {
	if _, err := os.Stat(filepath.Join(t.Root, stampName)); err == nil {
		return nil
	}
	c.logf("unpacking %d packages", len(pkgs))
	tmp := t.Root + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("debs: %w", err)
	}
	for _, p := range pkgs {
		file := filepath.Join(c.Dir, "archives", p.File)
		if _, err := run(ctx, c.Dir, "dpkg-deb", "-x", file, tmp); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(tmp, stampName), nil, 0o644); err != nil {
		return fmt.Errorf("debs: %w", err)
	}
	if err := os.RemoveAll(t.Root); err != nil {
		return fmt.Errorf("debs: %w", err)
	}
	return os.Rename(tmp, t.Root)
}

// Tool is a program of the host system that the lab starts, or a file by its full path.
type Tool struct{ Program, Package string }

// HostTools have to be installed system-wide: they run on the host itself.
var HostTools = []Tool{
	{"qemu-system-x86_64", "qemu-system-x86"},
	{"swtpm", "swtpm"},
	{"swtpm_setup", "swtpm-tools"},
	{"mkfs.ext4", "e2fsprogs"},
}

// InstallHostTools installs the packages of those HostTools that are missing and returns
// their names.
func (c *Cache) InstallHostTools(ctx context.Context, tools []Tool) ([]string, error) {
	var missing []string
	for _, t := range tools {
		if LookPath(t.Program) == "" {
			missing = append(missing, t.Package)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, fmt.Errorf("%s: not installed, and %w", strings.Join(missing, ", "), errNoApt)
	}
	c.logf("installing system-wide with apt-get: %s", strings.Join(missing, " "))
	install := append([]string{"apt-get", "install", "-y", "--no-install-recommends"}, missing...)
	if c.privileged(ctx, install...) == nil {
		return missing, nil
	}
	c.logf("trying again after apt-get update")
	if err := c.privileged(ctx, "apt-get", "update"); err != nil {
		return nil, err
	}
	return missing, c.privileged(ctx, install...)
}

// LookPath finds a program in PATH or in the system folders, which an
// ordinary user's PATH lacks. It returns "" when there is none. A full path is that of any file.
func LookPath(program string) string {
	if filepath.IsAbs(program) {
		if st, err := os.Stat(program); err != nil || !st.Mode().IsRegular() {
			return ""
		}
		return program
	}
	if p, err := exec.LookPath(program); err == nil {
		return p
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return p
		}
	}
	return ""
}

// privileged runs a command as root, through sudo when needed, and waits for apt's
// locks.
func (c *Cache) privileged(ctx context.Context, args ...string) error {
	if os.Geteuid() != 0 {
		sudo, err := exec.LookPath("sudo")
		if err != nil {
			return fmt.Errorf("debs: %q must run as root and there is no sudo: run it yourself, then try again", strings.Join(args, " "))
		}
		args = append([]string{sudo, "-n", "env", "DEBIAN_FRONTEND=noninteractive"}, args...)
	} else {
		args = append([]string{"env", "DEBIAN_FRONTEND=noninteractive"}, args...)
	}
	return c.patiently(ctx, func() error {
		_, err := run(ctx, "/", args...)
		return err
	})
}

// run executes a command and returns its standard output; the error carries the end of its standard error.
func run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		msg := strings.TrimSpace(stderr.String())
		if len(msg) > 1500 {
			msg = "... " + msg[len(msg)-1500:]
		}
		return nil, fmt.Errorf("debs: %s: %w\n%s", strings.Join(args, " "), err, msg)
	}
	return stdout.Bytes(), nil
}
