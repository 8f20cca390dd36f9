// Package pid1 is what the lab's first processes have in common: they mount the
// kernel's file systems and load the kernel modules that their archive lists.
package pid1

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/xenlab/initramfs"
)

// FS is a file system to be mounted.
type FS struct {
	Type, Source, Target string
	Flags                uintptr
	Data                 string
}

var kernelFS = []FS{
	{Type: "proc", Source: "proc", Target: "/proc"},
	{Type: "sysfs", Source: "sysfs", Target: "/sys"},
	{Type: "devtmpfs", Source: "devtmpfs", Target: "/dev"},
	{Type: "devpts", Source: "devpts", Target: "/dev/pts", Data: "mode=0620,ptmxmode=0666"},
	{Type: "tmpfs", Source: "tmpfs", Target: "/run", Data: "mode=0755"},
	{Type: "tmpfs", Source: "tmpfs", Target: "/tmp"},
}

// Mount mounts the kernel's file systems. It is needed before anything else, in dom0 and in
// guests alike.
func Mount() error {
	for _, m := range kernelFS {
		if err := MountOne(m); err != nil {
			return err
		}
	}
	return nil
}

// MountOne makes the mount point and mounts one file system.
func MountOne(m FS) error {
	if err := os.MkdirAll(m.Target, 0o755); err != nil {
		return fmt.Errorf("pid1: %w", err)
	}
	if err := unix.Mount(m.Source, m.Target, m.Type, m.Flags, m.Data); err != nil {
		return fmt.Errorf("pid1: mounting %s on %s: %w", m.Type, m.Target, err)
	}
	return nil
}

// LoadModules loads the kernel modules that the archive lists.
func LoadModules() error {
	list, err := os.ReadFile("/" + initramfs.ModuleList)
	if err != nil {
		return fmt.Errorf("pid1: %w", err)
	}
	var errs []error
	for name := range strings.FieldsSeq(string(list)) {
		if err := LoadModule(name); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Optional is the path of a module that the archive has and does not list.
func Optional(name string) string { return "/lib/modules/" + name + ".ko" }

// LoadModule loads one kernel module; one that is loaded already is no error.
func LoadModule(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("pid1: %w", err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("pid1: loading %s: %w", filepath.Base(name), err)
	}
	return nil
}
