// Package contract checks that images depend on nothing of a TamaGo toolchain
// but what package goos of github.com/usbarmory/tamago documents, so that any
// toolchain which implements it builds and boots them.
//
// It walks the packages of the main module that an image imports, as
// GOOS=tamago GOARCH=amd64 selects them, and looks at everything by which
// source can reach into a runtime: imports, linknames, assembler symbols and
// build tags.
package contract

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/build"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// Checker holds what is allowed.
type Checker struct {
	root    string // of the main module
	module  string // its path
	hooks   map[string]bool
	tags    map[string]bool
	ctx     build.Context
	seen    map[string]bool
	found   []Violation
	visited int
}

// A Violation is one reach beyond the contract.
type Violation struct {
	Pos  string // file:line
	What string
}

func (v Violation) String() string { return v.Pos + ": " + v.What }

// symbols that are part of the contract without being named in package goos:
// the entry that a board provides and the one that it returns to.
var symbols = map[string]bool{"cpuinit": true, "_rt0_tamago_start": true}

// forbidden are standard packages whose API differs between operating systems:
// what one GOOS=tamago has there another may lack.
var forbidden = map[string]string{
	"syscall": "package syscall differs between GOOS=tamago implementations",
	"plugin":  "there are no plugins",
	"C":       "there is no cgo",
}

// New makes a checker for the module at root with the given path. tamagoDir is
// the directory of the tamago module, goroot that of a stock SDK.
func New(root, module, tamagoDir, goroot string) (*Checker, error) {
	hooks, err := exported(filepath.Join(tamagoDir, "goos"))
	if err != nil {
		return nil, err
	}
	tags, err := boardTags(tamagoDir)
	if err != nil {
		return nil, err
	}
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH, ctx.GOROOT = "tamago", "amd64", goroot
	ctx.CgoEnabled = false
	ctx.BuildTags = []string{"linkcpuinit", "tiny"}
	return &Checker{root: root, module: module, hooks: hooks, tags: tags, ctx: ctx, seen: map[string]bool{}}, nil
}

// Check walks from the package in dir, relative to the module's root.
func (c *Checker) Check(dir string) error {
	return c.walk(filepath.ToSlash(filepath.Join(c.module, dir)))
}

// Result returns what was found and how many packages were looked at.
func (c *Checker) Result() ([]Violation, int) {
	sort.Slice(c.found, func(i, j int) bool { return c.found[i].Pos < c.found[j].Pos })
	return slices.Compact(c.found), c.visited
}

func (c *Checker) report(pos, format string, args ...any) {
	c.found = append(c.found, Violation{pos, fmt.Sprintf(format, args...)})
}

func (c *Checker) walk(path string) error {
	if c.seen[path] {
		return nil
	}
	c.seen[path] = true
	rel := strings.TrimPrefix(strings.TrimPrefix(path, c.module), "/")
	pkg, err := c.ctx.ImportDir(filepath.Join(c.root, filepath.FromSlash(rel)), 0)
	if err != nil {
		return fmt.Errorf("%s for GOOS=tamago: %w", path, err)
	}
	c.visited++
	for _, name := range slices.Concat(pkg.GoFiles, pkg.SFiles) {
		if err := c.file(filepath.Join(pkg.Dir, name)); err != nil {
			return err
		}
	}
	if err := c.entry(pkg); err != nil {
		return err
	}
	for _, imp := range pkg.Imports {
		switch {
		case imp == c.module || strings.HasPrefix(imp, c.module+"/"):
			if err := c.walk(imp); err != nil {
				return err
			}
		case !strings.Contains(strings.SplitN(imp, "/", 2)[0], "."):
			c.standard(pkg, imp)
		}
	}
	return nil
}

// standard accepts the packages of the stock standard library and the
// contract's own.
func (c *Checker) standard(pkg *build.Package, imp string) {
	pos := c.rel(pkg.ImportPos[imp][0].Filename, pkg.ImportPos[imp][0].Line)
	if why := forbidden[imp]; why != "" {
		c.report(pos, "imports %s: %s", imp, why)
		return
	}
	if imp == "runtime/goos" {
		return
	}
	if _, err := os.Stat(filepath.Join(c.ctx.GOROOT, "src", filepath.FromSlash(imp))); err != nil {
		c.report(pos, "imports %s, which the stock standard library does not have", imp)
	}
}

func (c *Checker) rel(name string, line int) string {
	if r, err := filepath.Rel(c.root, name); err == nil {
		name = filepath.ToSlash(r)
	}
	return fmt.Sprintf("%s:%d", name, line)
}

// file looks at the lines of one file.
func (c *Checker) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for n := 1; scan.Scan(); n++ {
		line, pos := scan.Text(), c.rel(name, n)
		switch {
		case constraint.IsGoBuild(line):
			c.constraint(pos, line)
		case strings.HasPrefix(line, "//go:linkname "):
			c.linkname(pos, strings.Fields(line))
		case strings.HasSuffix(name, ".s"):
			c.asm(pos, line)
		}
	}
	return scan.Err()
}

func (c *Checker) constraint(pos, line string) {
	expr, err := constraint.Parse(line)
	if err != nil {
		c.report(pos, "%v", err)
		return
	}
	expr.Eval(func(tag string) bool { // Eval asks for every tag
		c.tag(pos, tag)
		return true
	})
}

func (c *Checker) tag(pos, tag string) {
	if !c.tags[tag] && !strings.HasPrefix(tag, "go1.") {
		c.report(pos, "build tag %s is neither a Go target nor used by the tamago module", tag)
	}
}

// linkname takes the fields of //go:linkname local [target].
func (c *Checker) linkname(pos string, fields []string) {
	if len(fields) < 3 {
		return // marks a local symbol; reaches nowhere
	}
	target := fields[2]
	if strings.HasPrefix(target, c.module+"/") || strings.HasPrefix(target, "main.") {
		return
	}
	if name, ok := strings.CutPrefix(target, "runtime/goos."); ok && c.hooks[name] {
		return
	}
	c.report(pos, "linkname of %s, which the runtime/goos contract does not have", target)
}

var symbol = regexp.MustCompile(`([\w∕/.·~]+)(<[\w>]*>)?(\+\w+)?\(SB\)`)

// asm checks the symbols of a line of assembler. A symbol without a package
// prefix is the file's own package's; one without a middle dot is global.
func (c *Checker) asm(pos, line string) {
	line, _, _ = strings.Cut(line, "//")
	for _, m := range symbol.FindAllStringSubmatch(line, -1) {
		name := m[1]
		if m[2] == "<>" {
			continue // file-local
		}
		pkg, id, dotted := strings.Cut(name, "·")
		switch {
		case dotted && pkg == "":
		case dotted && pkg == "runtime∕goos" && c.hooks[id]:
		case !dotted && symbols[name]:
		default:
			c.report(pos, "assembler symbol %s is not part of the contract", name)
		}
	}
}

// exported lists the exported names of the contract package.
func exported(dir string) (map[string]bool, error) {
	pkgs, err := parser.ParseDir(token.NewFileSet(), dir, nil, 0)
	if err != nil {
		return nil, fmt.Errorf("contract package: %w", err)
	}
	names := map[string]bool{}
	for _, pkg := range pkgs {
		for _, f := range pkg.Files {
			for _, d := range f.Decls {
				addNames(names, d)
			}
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("contract package %s declares nothing", dir)
	}
	return names, nil
}

func addNames(names map[string]bool, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Name.IsExported() {
			names[d.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if v, ok := s.(*ast.ValueSpec); ok {
				for _, id := range v.Names {
					if id.IsExported() {
						names[id.Name] = true
					}
				}
			}
		}
	}
}

// boardTags are the tags that mean something to every toolchain and board: the
// targets, and those that the tamago module's own files use.
func boardTags(dir string) (map[string]bool, error) {
	tags := map[string]bool{"tamago": true, "amd64": true, "linux": true, "unix": true, "purego": true, "race": true}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, ".s") {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			if expr, err := constraint.Parse(strings.TrimSpace(line)); err == nil {
				expr.Eval(func(tag string) bool { tags[tag] = true; return true })
			}
		}
		return nil
	})
	return tags, err
}
