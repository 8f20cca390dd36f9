// Package dom0 is the lab's side inside domain 0: it brings Xen's toolstack
// up from an initramfs, runs one job of the host and reports on it. It runs
// as root on an emulated machine that is thrown away afterwards, so a step
// that fails ends the job instead of being repaired.
package dom0

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/xenlab/initramfs"
)

// Folders and files of the archive.
const (
	JobFile   = "/etc/lab/job.json"
	ImageDir  = "/images"  // our images, NAME.elf
	GuestDir  = "/guest"   // vmlinuz and initrd of the Debian guest
	DataDir   = "/data"    // the persistent disk
	runDir    = "/run/lab" // generated configurations
	BlockPath = "/etc/xen/scripts/block"
)

type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

var mounts = []mount{
	{"proc", "/proc", "proc", 0, ""},
	{"sysfs", "/sys", "sysfs", 0, ""},
	{"devtmpfs", "/dev", "devtmpfs", 0, ""},
	{"devpts", "/dev/pts", "devpts", 0, "mode=0620,ptmxmode=0666"},
	{"tmpfs", "/run", "tmpfs", 0, "mode=0755"},
	{"tmpfs", "/tmp", "tmpfs", 0, ""},
}

// Mount mounts the kernel's file systems. It is needed before anything else, in dom0 and in
// guests alike.
func Mount() error {
	for _, m := range mounts {
		if err := mountOne(m); err != nil {
			return err
		}
	}
	return nil
}

func mountOne(m mount) error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
		return fmt.Errorf("lab: mounting %s on %s: %w", m.fstype, m.target, err)
	}
	return nil
}

// LoadModules loads the kernel modules that the archive lists.
func LoadModules() error {
	list, err := os.ReadFile("/" + initramfs.ModuleList)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	var errs []error
	for name := range strings.FieldsSeq(string(list)) {
		if err := loadModule(name); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func loadModule(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("lab: loading %s: %w", filepath.Base(name), err)
	}
	return nil
}

// startToolstack brings up xenstored, dom0's own records and xenconsoled.
func startToolstack() error {
	for _, d := range []string{"/run/xen", "/run/lock", "/run/lab", "/run/xenstored",
		"/var/lib/xen/dump", "/var/lib/xenstored", "/var/log/xen/console"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	if err := mountOne(mount{"xenfs", "/proc/xen", "xenfs", 0, ""}); err != nil {
		return err
	}
	if _, err := run(20*time.Second, "xenstored", "--pid-file", "/run/xen/xenstored.pid"); err != nil {
		return err
	}
	if err := waitFor(20*time.Second, "xenstored's socket", func() bool {
		_, err := os.Stat("/run/xenstored/socket")
		return err == nil
	}); err != nil {
		return err
	}
	if _, err := run(20*time.Second, "xen-init-dom0"); err != nil {
		return err
	}
	_, err := run(20*time.Second, "xenconsoled", "--pid-file=/run/xen/xenconsoled.pid",
		"--log=all", "--log-dir=/var/log/xen/console")
	return err
}

// mountData mounts the machine's persistent disk. Dirty pages stay in memory until somebody
// flushes them, so that a power cut shows every missing flush.
func mountData() error {
	for _, s := range []struct{ name, value string }{
		{"dirty_writeback_centisecs", "0"}, {"dirty_expire_centisecs", "360000"},
		{"dirty_background_ratio", "90"}, {"dirty_ratio", "95"},
	} {
		if err := os.WriteFile("/proc/sys/vm/"+s.name, []byte(s.value), 0o644); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	return mountOne(mount{"/dev/vda", DataDir, "ext4", unix.MS_NOATIME, "commit=3600"})
}

// waitFor polls until ok returns true.
func waitFor(limit time.Duration, what string, ok func() bool) error {
	return waitEvery(20*time.Millisecond, limit, what, ok)
}

func waitEvery(interval, limit time.Duration, what string, ok func() bool) error {
	end := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(end) {
			return fmt.Errorf("waited %v for %s in vain", limit, what)
		}
		time.Sleep(interval)
	}
	return nil
}

// run executes a program of dom0 with a time limit and returns its output.
func run(limit time.Duration, args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	// A daemon inherits the descriptors, so a pipe would never end: use a file.
	out, err := os.CreateTemp("", "out")
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	timer := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	inTime := timer.Stop()
	text, rerr := os.ReadFile(out.Name())
	switch {
	case !inTime:
		err = fmt.Errorf("lab: %q did not end within %v:\n%s", strings.Join(args, " "), limit, text)
	case err != nil:
		err = fmt.Errorf("lab: %q: %w:\n%s", strings.Join(args, " "), err, strings.TrimSpace(string(text)))
	}
	return string(text), errors.Join(err, rerr)
}

// Environment is that of the worker. Xen's programs have a folder of their own that carries
// the version; the archive has a link to it.
func Environment() []string {
	return []string{"PATH=/usr/lib/xen/bin:/usr/sbin:/usr/bin:/sbin:/bin:/bbin", "HOME=/", "LC_ALL=C"}
}
