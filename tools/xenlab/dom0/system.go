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
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/xenlab/pid1"
)

// Folders and files of the archive.
const (
	JobFile  = "/etc/lab/job.json"
	FilesDir = "/lab"               // a read-only disk from the host
	ImageDir = FilesDir + "/images" // single images, NAME.elf
	// ReleaseDir has the images of the manager and the vTPM, as they are installed, and TrustDir the policy that
	// accepts them.
	ReleaseDir = FilesDir + "/release"
	TrustDir   = FilesDir + "/trust"
	GuestDir   = FilesDir + "/guest" // vmlinux and initrd of the Debian guest
	DataDir    = "/data"             // the persistent disk
	runDir     = "/run/lab"          // generated configurations
	BlockPath  = "/etc/xen/scripts/block"
)

// startToolstack brings up xenstored, dom0's own records and xenconsoled.
func startToolstack() error {
	for _, d := range []string{"/run/xen", "/run/lock", "/run/lab", "/run/xenstored",
		"/var/lib/xen/dump", "/var/lib/xenstored", "/var/log/xen/console"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	if err := pid1.MountOne(pid1.FS{Type: "xenfs", Target: "/proc/xen"}); err != nil {
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

// mountDisks mounts the host's files and the machine's persistent disk. Dirty pages stay in memory until somebody
// flushes them, so that a power cut shows every missing flush.
func mountDisks() error {
	if err := pid1.MountOne(pid1.FS{Type: "ext4", Source: "/dev/vdb", Target: FilesDir, Flags: unix.MS_RDONLY}); err != nil {
		return err
	}
	for _, s := range []struct{ name, value string }{
		{"dirty_writeback_centisecs", "0"}, {"dirty_expire_centisecs", "360000"},
		{"dirty_background_ratio", "90"}, {"dirty_ratio", "95"},
	} {
		if err := os.WriteFile("/proc/sys/vm/"+s.name, []byte(s.value), 0o644); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	return pid1.MountOne(pid1.FS{Type: "ext4", Source: "/dev/vda", Target: DataDir,
		Flags: unix.MS_NOATIME, Data: "commit=3600"})
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
