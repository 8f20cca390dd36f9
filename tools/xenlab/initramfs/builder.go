// Package initramfs builds the cpio archives that the lab's machines boot:
// one for dom0 and one for its Debian guest. Programs come with the shared
// libraries they need, kernel modules with the modules they depend on; both
// are found in an unpacked tree of Debian packages by reading the ELF files,
// so no list of them has to be kept.
package initramfs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// Builder collects the files of one archive. The first error sticks and is
// returned by WriteFile.
type Builder struct {
	tree    string // root of the unpacked packages; may be empty
	records map[string]cpio.Record
	open    []*os.File
	err     error
}

// New returns an empty archive. tree is the folder in which Program, Library and Modules look.
func New(tree string) *Builder {
	return &Builder{tree: tree, records: make(map[string]cpio.Record)}
}

func (b *Builder) fail(err error) {
	if b.err == nil && err != nil {
		b.err = fmt.Errorf("initramfs: %w", err)
	}
}

// add puts a record and its parent folders into the archive.
func (b *Builder) add(r cpio.Record) {
	r.Name = cpio.Normalize(r.Name)
	for dir := path.Dir(r.Name); dir != "." && dir != "/"; dir = path.Dir(dir) {
		if _, ok := b.records[dir]; !ok {
			b.records[dir] = cpio.Directory(dir, 0o755)
		}
	}
	b.records[r.Name] = r
}

// Has reports whether the archive has an entry of this name.
func (b *Builder) Has(name string) bool {
	_, ok := b.records[cpio.Normalize(name)]
	return ok
}

// Dir adds an empty folder.
func (b *Builder) Dir(names ...string) {
	for _, n := range names {
		b.add(cpio.Directory(cpio.Normalize(n), 0o755))
	}
}

// Text adds a file with the given content.
func (b *Builder) Text(name, content string, perm uint64) {
	b.add(cpio.StaticFile(name, content, perm))
}

// Link adds a symbolic link.
func (b *Builder) Link(name, target string) { b.add(cpio.Symlink(name, target)) }

// Device adds a character device.
func (b *Builder) Device(name string, major, minor uint64) {
	b.add(cpio.CharDev(name, 0o600, major, minor))
}

// Copy adds a file of the host under the given name.
func (b *Builder) Copy(name, from string, perm uint64) {
	f, err := os.Open(from)
	if err != nil {
		b.fail(err)
		return
	}
	b.open = append(b.open, f)
	st, err := f.Stat()
	if err != nil {
		b.fail(err)
		return
	}
	if !st.Mode().IsRegular() {
		b.fail(fmt.Errorf("%s is not a regular file", from))
		return
	}
	b.add(cpio.Record{ReaderAt: f, Info: cpio.Info{
		Name: name, Mode: cpio.S_IFREG | perm, FileSize: uint64(st.Size()), NLink: 1,
	}})
}

// WriteFile writes the archive. Entries are sorted and carry no times, owners or inode
// numbers, so the same input gives the same bytes.
func (b *Builder) WriteFile(name string) (err error) {
	defer func() {
		for _, f := range b.open {
			_ = f.Close() // opened for reading only
		}
	}()
	if b.err != nil {
		return b.err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	tmp := name + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	buf := bufio.NewWriterSize(f, 1<<20)
	err = errors.Join(b.write(buf), buf.Flush(), f.Close())
	if err != nil {
		return fmt.Errorf("initramfs: writing %s: %w", name, err)
	}
	return os.Rename(tmp, name)
}

func (b *Builder) write(buf *bufio.Writer) error {
	names := make([]string, 0, len(b.records))
	for n := range b.records {
		names = append(names, n)
	}
	// A folder sorts before what is in it.
	sort.Strings(names)
	w := cpio.Newc.Writer(buf)
	for i, n := range names {
		r := cpio.MakeReproducible(b.records[n])
		r.Ino = uint64(i + 1)
		if err := w.WriteRecord(r); err != nil {
			return err
		}
	}
	return cpio.WriteTrailer(w)
}

// Concat writes the archives parts one after another to name, which the Linux kernel
// unpacks in that order, later files replacing earlier ones.
func Concat(name string, parts ...string) error {
	out, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	for _, p := range parts {
		if err = appendFile(out, p); err != nil {
			break
		}
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("initramfs: writing %s: %w", name, err)
	}
	return nil
}

func appendFile(out *os.File, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	n, err := out.ReadFrom(in)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	// The kernel looks for the next archive at a multiple of four bytes.
	_, err = out.WriteString(strings.Repeat("\x00", int(-n&3)))
	return errors.Join(err, in.Close())
}
