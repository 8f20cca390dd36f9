package initramfs

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ModuleList is the file in an archive that names its kernel modules, one a
// line, in the order in which they must be loaded.
const ModuleList = "etc/lab/modules"

// Modules adds kernel modules of the tree's kernel and the modules they
// depend on, and writes ModuleList. A module that is built into the kernel is skipped.
// Modules are stored uncompressed. Those in optional, and what only they need, are not listed.
func (b *Builder) Modules(version string, names, optional []string) {
	set, err := indexModules(filepath.Join(b.tree, "lib/modules", version))
	if err != nil {
		b.fail(err)
		return
	}
	var order []string
	for i, n := range append(slices.Clone(names), optional...) {
		b.fail(set.visit(n, func(m *module) {
			if i < len(names) {
				order = append(order, "/lib/modules/"+m.name+".ko")
			}
			b.Text("lib/modules/"+m.name+".ko", string(m.image), 0o644)
		}))
	}
	b.Text(ModuleList, strings.Join(order, "\n")+"\n", 0o644)
}

type module struct {
	name  string
	file  string
	image []byte
	done  bool
}

type moduleSet struct {
	files   map[string]*module
	builtin map[string]bool
}

// moduleName maps a file name to the name that dependencies use.
func moduleName(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(base, "-", "_")
}

func indexModules(dir string) (*moduleSet, error) {
	s := &moduleSet{files: make(map[string]*module), builtin: make(map[string]bool)}
	list, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	for f := range strings.FieldsSeq(string(list)) {
		s.builtin[moduleName(f)] = true
	}
	err = filepath.WalkDir(filepath.Join(dir, "kernel"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), ".ko") {
			n := moduleName(p)
			s.files[n] = &module{name: n, file: p}
		}
		return err
	})
	return s, err
}

// visit calls f for the module's dependencies and then for itself, once each over the life of the set.
func (s *moduleSet) visit(name string, f func(*module)) error {
	name = moduleName(name)
	m := s.files[name]
	if m == nil {
		if s.builtin[name] {
			return nil
		}
		return fmt.Errorf("the kernel package has no module %s", name)
	}
	if m.done {
		return nil
	}
	m.done = true
	var err error
	if m.image, err = readModule(m.file); err != nil {
		return err
	}
	deps, err := moduleDepends(m.image)
	if err != nil {
		return fmt.Errorf("%s: %w", m.file, err)
	}
	for _, d := range deps {
		if err := s.visit(d, f); err != nil {
			return fmt.Errorf("%s needs %w", name, err)
		}
	}
	f(m)
	return nil
}

// readModule returns the ELF image of a module file, decompressed.
func readModule(file string) ([]byte, error) {
	tool := map[string]string{".xz": "xz", ".zst": "zstd", ".gz": "gzip"}[path.Ext(file)]
	if tool == "" {
		return os.ReadFile(file)
	}
	out, err := exec.Command(tool, "-dc", file).Output()
	if err != nil {
		return nil, fmt.Errorf("decompressing %s with %s: %w", file, tool, err)
	}
	return out, nil
}

// moduleDepends reads the depends= entry of a module's .modinfo section.
func moduleDepends(image []byte) (deps []string, err error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sec := f.Section(".modinfo")
	if sec == nil {
		return nil, errors.New("no .modinfo section: not a kernel module")
	}
	info, err := io.ReadAll(io.LimitReader(sec.Open(), 1<<20))
	if err != nil {
		return nil, err
	}
	return parseDepends(info), nil
}

func parseDepends(info []byte) []string {
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		list, ok := strings.CutPrefix(string(entry), "depends=")
		if ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}
