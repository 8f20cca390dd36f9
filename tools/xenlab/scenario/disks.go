package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xenvtpm/tools/xenlab/debs"
	"xenvtpm/tools/xenlab/dom0"
)

// Sizes of the machine's disks. Both files are sparse.
const (
	dataMB  = 384 // dom0's persistent disk
	filesMB = 256 // what dom0 reads only
)

// makeFS makes a raw image with an ext4 file system, filled from the folder
// content unless that is empty.
func makeFS(ctx context.Context, name string, mb int64, content string) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	if err := errors.Join(f.Truncate(mb<<20), f.Close()); err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	args := []string{"-q", "-F"}
	if content != "" {
		args = append(args, "-d", content)
	}
	out, err := exec.CommandContext(ctx, debs.LookPath("mkfs.ext4"), append(args, name)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("xenlab: mkfs.ext4 %s: %w: %s", name, err, out)
	}
	return nil
}

// makeDisks makes the two disks of a scenario's machine.
func (r *runner) makeDisks(ctx context.Context) error {
	stage := filepath.Join(r.dir, "files")
	defer os.RemoveAll(stage)
	inDom0 := func(name string) string { return filepath.Join(stage, strings.TrimPrefix(name, dom0.FilesDir)) }
	if r.s.needsRelease() {
		if err := r.w.packRelease(stage); err != nil {
			return err
		}
	}
	for name, file := range r.s.Images {
		if r.s.needsRelease() && slices.Contains(stubs, name) {
			continue // in the release's folder
		}
		if err := copyFile(filepath.Join(inDom0(dom0.ImageDir), name+".elf"), file); err != nil {
			return err
		}
	}
	if r.s.Guest {
		guest := inDom0(dom0.GuestDir)
		if err := copyFile(filepath.Join(guest, "vmlinux"), r.w.GuestKernel); err != nil {
			return err
		}
		if err := r.w.guestInitrd(filepath.Join(guest, "initrd")); err != nil {
			return err
		}
		if err := r.w.guestInitrd(filepath.Join(guest, "initrd-tools"), r.w.Tools); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(stage, 0o755); err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	if r.s.Fill != nil {
		start := time.Now()
		if err := r.s.Fill(ctx, stage, r.tpmState()); err != nil {
			return err
		}
		r.say("prepared on the host in %.1f s", time.Since(start).Seconds())
	}
	r.files, r.disk = filepath.Join(r.dir, "files.img"), filepath.Join(r.dir, "disk.img")
	if err := makeFS(ctx, r.files, filesMB, stage); err != nil {
		return err
	}
	return makeFS(ctx, r.disk, dataMB, "")
}

func copyFile(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("xenlab: copying %s: %w", from, err)
	}
	return nil
}
