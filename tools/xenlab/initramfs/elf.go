package initramfs

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// libraryDirs are the folders in which Debian's loader looks.
var libraryDirs = []string{
	"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "lib", "usr/lib",
}

// Program adds programs of the tree, given by their path below its root,
// with the loader and all shared libraries they need, each under its own path.
func (b *Builder) Program(names ...string) {
	for _, n := range names {
		b.elf(n)
	}
}

// Library adds shared libraries by their file names. It is needed for those that programs
// open at run time.
func (b *Builder) Library(names ...string) {
	for _, n := range names {
		p, err := b.findLibrary(n)
		if err != nil {
			b.fail(err)
			continue
		}
		b.elf(p)
	}
}

// elf adds one ELF file by its path in the tree, and what it needs.
func (b *Builder) elf(name string) {
	name = cleanPath(name)
	if b.Has(name) {
		return
	}
	host, err := b.resolve(name)
	if err != nil {
		b.fail(err)
		return
	}
	needed, interp, err := elfNeeds(host)
	if err != nil {
		b.fail(fmt.Errorf("%s: %w", name, err))
		return
	}
	b.Copy(name, host, 0o755)
	if interp != "" {
		b.elf(interp)
	}
	b.Library(needed...)
}

func cleanPath(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// resolve follows symbolic links inside the tree, taking absolute targets as
// relative to its root, and returns the host path of the file.
func (b *Builder) resolve(name string) (string, error) {
	for range 16 {
		host := filepath.Join(b.tree, name)
		st, err := os.Lstat(host)
		if err != nil {
			return "", err
		}
		if st.Mode()&os.ModeSymlink == 0 {
			return host, nil
		}
		target, err := os.Readlink(host)
		if err != nil {
			return "", err
		}
		if !path.IsAbs(target) {
			target = path.Join("/", path.Dir(name), target)
		}
		name = cleanPath(target)
	}
	return "", fmt.Errorf("%s: too many symbolic links", name)
}

func (b *Builder) findLibrary(soname string) (string, error) {
	for _, dir := range libraryDirs {
		name := path.Join(dir, soname)
		if _, err := b.resolve(name); err == nil {
			return name, nil
		}
	}
	return "", fmt.Errorf("no package of the tree has the library %s", soname)
}

// elfNeeds returns the sonames an ELF file is linked with and its loader.
func elfNeeds(host string) (needed []string, interp string, err error) {
	f, err := elf.Open(host)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		raw := make([]byte, p.Filesz)
		if _, err := p.ReadAt(raw, 0); err != nil {
			return nil, "", err
		}
		interp = strings.TrimRight(string(raw), "\x00")
	}
	needed, err = f.ImportedLibraries()
	return needed, interp, err
}
