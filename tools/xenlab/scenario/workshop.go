// Package scenario is the host's side of the lab: it gathers what a machine
// boots, runs a scenario's phases one power-on after another, and collects what dom0 proves.
package scenario

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"xenvtpm/tools/xenlab/debs"
	"xenvtpm/tools/xenlab/dom0"
	"xenvtpm/tools/xenlab/initramfs"
	"xenvtpm/tools/xenlab/machine"
)

// Workshop knows the folders of the project and prepares what all scenarios share.
type Workshop struct {
	Root  string // of the repository
	Cache string // downloads and what is made of them only
	Build string // build output: helpers, logs
	// Images is the folder with the images of vtpm-stub, vtpmmgr-stub and, as smoke-NAME, the smoke kernels.
	Images string
	Policy string // folder; it has to accept the images. Empty is Images with .trust behind it
	Logf   func(format string, a ...any)

	tree    *debs.Tree
	Xen     string // uncompressed hypervisor
	Kernel  string // the distribution's image, for dom0
	Version string // of the kernel
	Dom0    string // archive: toolstack and modules
	Guest   string // archive: the guest's modules
	Tools   string // archive: tpm2-tools and OpenSSL
	// GuestKernel is the same kernel, unpacked.
	GuestKernel string

	initBin string
	ctlBin  string // vtpmctl, for dom0
	guestIn string
	uroot   string
}

// dom0Modules are what dom0 needs of the kernel package.
var dom0Modules = []string{
	"xen-privcmd", "xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-blkback", "loop",
	"virtio_pci", "virtio_blk", "virtio_console", "ext4", "crc32c_generic",
}

// dom0Optional are modules that some steps load.
var dom0Optional = []string{"xen-tpmfront"}

// guestModules are what the Debian guest needs.
var guestModules = []string{"xen-tpmfront"}

// dom0Programs are relative to the folder of Xen's tools.
var dom0Programs = []string{"xl", "xenstored", "xenconsoled", "xen-init-dom0", "xenstore-control", "libxl-save-helper"}

// dom0Common are the toolstack's programs that carry no version in their path.
var dom0Common = []string{"usr/bin/xenstore-read", "usr/bin/xenstore-write", "usr/bin/xenstore-ls",
	"usr/bin/xenstore-rm", "usr/bin/xenstore-exists"}

// NewWorkshop finds the repository around the current folder. cache may be empty.
func NewWorkshop(cache string, logf func(string, ...any)) (*Workshop, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("xenlab: %w", err)
	}
	for !isRepository(root) {
		parent := filepath.Dir(root)
		if parent == root {
			return nil, errors.New("xenlab: run it inside a checkout of xenvtpm")
		}
		root = parent
	}
	if cache == "" {
		cache = filepath.Join(root, ".cache")
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return nil, fmt.Errorf("xenlab: %w", err)
	}
	build := filepath.Join(root, "build")
	return &Workshop{Root: root, Cache: cache, Build: build, Images: filepath.Join(build, "images"), Logf: logf}, nil
}

func isRepository(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && strings.HasPrefix(string(b), "module xenvtpm\n")
}

// Deps obtains the Debian packages and installs the host's tools that are missing.
func (w *Workshop) Deps(ctx context.Context, refresh bool) error {
	c := &debs.Cache{Dir: filepath.Join(w.Cache, "debs"), Logf: w.Logf}
	if _, err := c.InstallHostTools(ctx, debs.HostTools); err != nil {
		return err
	}
	var err error
	if w.tree, err = c.Obtain(ctx, refresh); err != nil {
		return err
	}
	if w.Kernel, w.Version, err = w.tree.Kernel(); err != nil {
		return err
	}
	return nil
}

// TestTools installs the programs that the project's tests run against.
func (w *Workshop) TestTools(ctx context.Context) error {
	c := &debs.Cache{Dir: filepath.Join(w.Cache, "debs"), Logf: w.Logf}
	_, err := c.InstallHostTools(ctx, debs.TestTools)
	return err
}

// Prepare makes everything that does not depend on the scenario. shell adds u-root's userland.
func (w *Workshop) Prepare(ctx context.Context, shell bool) error {
	if err := w.Deps(ctx, false); err != nil {
		return err
	}
	steps := []func(context.Context) error{w.hypervisor, w.dom0Archive, w.guestArchive, w.guestKernel, w.helpers}
	if shell {
		steps = append(steps, w.userland)
	}
	for _, s := range steps {
		if err := s(ctx); err != nil {
			return err
		}
	}
	return nil
}

// made returns the name of a file in the cache that is made from the package tree and the
// given recipe, and whether it exists.
func (w *Workshop) made(what string, recipe ...string) (string, bool) {
	sum := sha256.Sum256([]byte(w.tree.Key + "\x00" + strings.Join(recipe, "\x00")))
	name := filepath.Join(w.Cache, "lab", what+"-"+hex.EncodeToString(sum[:6]))
	_, err := os.Stat(name)
	return name, err == nil
}

// hypervisor unpacks Xen: QEMU's multiboot loader wants the ELF file.
func (w *Workshop) hypervisor(context.Context) error {
	name, ok := w.made("xen")
	w.Xen = name
	if ok {
		return nil
	}
	gz, err := w.tree.Hypervisor()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	return gunzip(name, gz)
}

func gunzip(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return fmt.Errorf("xenlab: %s: %w", from, err)
	}
	out, err := os.Create(to + ".tmp")
	if err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	_, err = io.Copy(out, z)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("xenlab: unpacking %s: %w", from, err)
	}
	return os.Rename(to+".tmp", to)
}

func (w *Workshop) dom0Archive(context.Context) error {
	bin, err := w.tree.XenBin()
	if err != nil {
		return err
	}
	recipe := append(append([]string{"dom0 3", bin, machine.DomainCPUs}, dom0Modules...), dom0Programs...)
	name, ok := w.made("dom0.cpio", append(recipe, dom0Common...)...)
	w.Dom0 = name
	if ok {
		return nil
	}
	w.Logf("building dom0's archive: Xen's tools, kernel modules of %s", w.Version)
	b := initramfs.New(w.tree.Root)
	for _, p := range dom0Programs {
		b.Program(filepath.Join(bin, p))
	}
	b.Program(dom0Common...)
	b.Library("libgcc_s.so.1") // opened by pthread_cancel
	b.Modules(w.Version, dom0Modules, dom0Optional)
	b.Link("usr/lib/xen", "/"+bin+"/..")
	b.Text("etc/xen/xl.conf", "autoballoon=\"off\"\nvm.hvm.cpumask=\""+machine.DomainCPUs+"\"\n", 0o644)
	skeleton(b)
	return b.WriteFile(name)
}

// skeleton adds the folders and links that every Linux userland expects.
func skeleton(b *initramfs.Builder) {
	b.Dir("proc", "sys", "dev", "run", "tmp", "data", "root", "var/lib/xen", "var/log/xen")
	b.Device("dev/console", 5, 1)
	b.Link("var/run", "/run")
	b.Link("var/lock", "/run/lock")
	b.Text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)
	b.Text("etc/group", "root:x:0:\n", 0o644)
}

func (w *Workshop) guestArchive(context.Context) error {
	var ok1, ok2 bool
	w.Guest, ok1 = w.made("guest.cpio", append([]string{"guest 2"}, guestModules...)...)
	w.Tools, ok2 = w.made("tools.cpio", "tools 2")
	if ok1 && ok2 {
		return nil
	}
	w.Logf("building the guest's archives: kernel modules, tpm2-tools and OpenSSL")
	b := initramfs.New(w.tree.Root)
	b.Modules(w.Version, guestModules, nil)
	skeleton(b)
	if err := b.WriteFile(w.Guest); err != nil {
		return err
	}
	b = initramfs.New(w.tree.Root)
	b.Program("usr/bin/tpm2", "usr/bin/openssl")
	b.Library("libtss2-tcti-device.so.0") // opened by name
	links, err := filepath.Glob(filepath.Join(w.tree.Root, "usr/bin/tpm2_*"))
	if err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	for _, l := range links {
		b.Link("usr/bin/"+filepath.Base(l), "tpm2") // one program with many names
	}
	return b.WriteFile(w.Tools)
}

// helpers builds the programs that run as process 1 in dom0 and in the guest, and the tool that dom0 uses.
func (w *Workshop) helpers(ctx context.Context) error {
	dir := filepath.Join(w.Build, "lab", "bin")
	w.initBin, w.guestIn, w.ctlBin = filepath.Join(dir, "dom0init"), filepath.Join(dir, "guestinit"), filepath.Join(dir, "vtpmctl")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/",
		"./tools/xenlab/dom0init", "./tools/xenlab/guestinit", "./tools/vtpmctl")
	cmd.Dir = w.Root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("xenlab: building the lab's helpers: %w\n%s", err, out)
	}
	return nil
}

// userlandCommands are u-root's commands in the lab's shell.
var userlandCommands = []string{"gosh", "ls", "cat", "ps", "dmesg", "mount", "rm", "cp", "mkdir",
	"grep", "df", "echo", "tail", "sleep", "hexdump", "lsmod", "find", "more", "kill"}

// userland builds u-root's commands as one program. They are built inside u-root's own module,
// whose dependencies are not ours.
func (w *Workshop) userland(ctx context.Context) error {
	find := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/u-root/u-root")
	find.Dir = w.Root
	out, err := find.Output()
	if err != nil {
		return fmt.Errorf("xenlab: finding u-root: %w", err)
	}
	dir := strings.TrimSpace(string(out))
	name, ok := w.made("uroot.cpio", append([]string{dir}, userlandCommands...)...)
	w.uroot = name
	if ok {
		return nil
	}
	w.Logf("building u-root's userland for the shell")
	args := []string{"run", "-mod=mod", ".", "-o", name + ".tmp", "-initcmd=", "-defaultsh=gosh"}
	for _, c := range userlandCommands {
		args = append(args, "./cmds/core/"+c)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("xenlab: building u-root's userland: %w\n%s", err, out)
	}
	return os.Rename(name+".tmp", name)
}

// guestInitrd makes the guest's archive complete with its process 1 and further archives.
func (w *Workshop) guestInitrd(name string, more ...string) error {
	b := initramfs.New("")
	b.Copy("init", w.guestIn, 0o755)
	b.Link("sbin/poweroff", "/init") // the kernel calls them
	b.Link("sbin/reboot", "/init")
	part := name + ".part"
	if err := b.WriteFile(part); err != nil {
		return err
	}
	defer os.Remove(part)
	return initramfs.Concat(name, append([]string{w.Guest, part}, more...)...)
}

// dom0Initrd makes an archive for one power-on: the job on top of dom0's archive.
func (w *Workshop) dom0Initrd(dir, job string) (string, error) {
	b := initramfs.New("")
	b.Copy("init", w.initBin, 0o755)
	b.Copy("usr/bin/vtpmctl", w.ctlBin, 0o755)
	b.Link(strings.TrimPrefix(dom0.BlockPath, "/"), "/init")
	b.Text(dom0.JobFile, job, 0o644)
	part := filepath.Join(dir, "overlay.cpio")
	if err := b.WriteFile(part); err != nil {
		return "", err
	}
	defer os.Remove(part)
	parts := []string{w.Dom0}
	if w.uroot != "" {
		parts = append(parts, w.uroot)
	}
	name := filepath.Join(dir, "dom0.initrd")
	return name, initramfs.Concat(name, append(parts, part)...)
}
