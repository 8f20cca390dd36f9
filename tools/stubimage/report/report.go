// Package report says what is inside an image: which packages its bytes belong
// to, and how many lines of code one has to trust.
package report

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"xenvtpm/tools/stubimage/build"
)

// A Package is a Go package of an image.
type Package struct {
	Path    string
	Module  string // "std" for the standard library
	Version string
	Lines   int   // of code: not blank, not comment
	Bytes   int64 // of the image, by symbol
}

// A Module is a Go module of an image, with its hash as go.sum has it.
type Module struct{ Path, Version, Sum string }

// An Image is what is inside one image.
type Image struct {
	Name     string
	Packages []Package // by size, the largest first
	Modules  []Module
	// Tables are bytes of no package: line tables, type data, strings,
	// headers. BSS is memory, not bytes of the file.
	Tables, Total, BSS int64
}

// Inspect builds im once more with symbols and looks at it.
func Inspect(ctx context.Context, cfg build.Config, im build.Image) (*Image, error) {
	dir, err := os.MkdirTemp("", "stubimage-report-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file, err := build.Unstripped(ctx, cfg, im, dir)
	if err != nil {
		return nil, err
	}
	packages, err := list(ctx, cfg, im)
	if err != nil {
		return nil, err
	}
	out := &Image{Name: im.Name}
	if err := sizes(file, packages, out); err != nil {
		return nil, err
	}
	for _, p := range packages {
		out.Packages = append(out.Packages, *p)
	}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for _, m := range info.Deps {
		out.Modules = append(out.Modules, Module{m.Path, m.Version, m.Sum})
	}
	slices.SortFunc(out.Packages, func(a, b Package) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Path, b.Path))
	})
	return out, nil
}

// list asks the go command for the packages of an image and counts their
// lines.
func list(ctx context.Context, cfg build.Config, im build.Image) (map[string]*Package, error) {
	cmd, err := build.Command(ctx, cfg, "list", "-deps", "-json=ImportPath,Name,Dir,Standard,GoFiles,SFiles,Module",
		"-tags="+strings.Join(build.Tags, ","), im.Package)
	if err != nil {
		return nil, err
	}
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	packages := map[string]*Package{}
	for dec := json.NewDecoder(bytes.NewReader(b)); ; {
		var p struct {
			ImportPath, Name, Dir string
			Standard              bool
			GoFiles, SFiles       []string
			Module                *struct{ Path, Version string }
		}
		if err := dec.Decode(&p); err == io.EOF {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		pkg := &Package{Path: p.ImportPath, Module: "std"}
		if p.Module != nil {
			pkg.Module, pkg.Version = p.Module.Path, p.Module.Version
		}
		for _, f := range slices.Concat(p.GoFiles, p.SFiles) {
			n, err := Lines(filepath.Join(p.Dir, f))
			if err != nil {
				return nil, err
			}
			pkg.Lines += n
		}
		key := p.ImportPath
		if p.Name == "main" {
			key = "main" // as the linker calls it
		}
		packages[key] = pkg
	}
}

// Lines counts the lines of a Go or assembler file that hold code.
func Lines(name string) (int, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	if !strings.HasSuffix(name, ".go") {
		return asmLines(src), nil
	}
	var s scanner.Scanner
	fset := token.NewFileSet()
	file := fset.AddFile(name, -1, len(src))
	s.Init(file, src, func(token.Position, string) {}, 0)
	count, last := 0, 0
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return count, nil
		}
		if tok == token.SEMICOLON && lit == "\n" {
			continue
		}
		// A raw string's lines all count.
		for l, end := file.Line(pos), file.Line(pos)+strings.Count(lit, "\n"); l <= end; l++ {
			if l > last {
				count, last = count+1, l
			}
		}
	}
}

func asmLines(src []byte) int {
	count, comment := 0, false
	for scan := bufio.NewScanner(bytes.NewReader(src)); scan.Scan(); {
		line := strings.TrimSpace(scan.Text())
		if comment {
			_, rest, ok := strings.Cut(line, "*/")
			comment, line = !ok, strings.TrimSpace(rest)
		}
		if before, rest, ok := strings.Cut(line, "/*"); ok && !strings.Contains(rest, "*/") {
			comment, line = true, strings.TrimSpace(before)
		}
		if line != "" && !strings.HasPrefix(line, "//") {
			count++
		}
	}
	return count
}

// sizes shares the bytes of the file out to the packages.
func sizes(file string, packages map[string]*Package, out *Image) error {
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		return err
	}
	for _, s := range f.Sections {
		switch {
		case s.Flags&elf.SHF_ALLOC == 0:
		case s.Type == elf.SHT_NOBITS:
			out.BSS += int64(s.Size)
		default:
			out.Total += int64(s.Size)
		}
	}
	var shared int64
	sort.Slice(symbols, func(i, j int) bool { return symbols[i].Value < symbols[j].Value })
	for _, s := range symbols {
		if int(s.Section) >= len(f.Sections) || s.Section == elf.SHN_UNDEF || f.Sections[s.Section].Type == elf.SHT_NOBITS {
			continue
		}
		if p := packages[PackageOf(s.Name)]; p != nil && elf.ST_TYPE(s.Info) != elf.STT_SECTION && !table(s.Name) {
			p.Bytes += int64(s.Size)
			shared += int64(s.Size)
		}
	}
	out.Tables = out.Total - shared
	return nil
}

// table reports symbols that mark whole tables rather than a package's own
// data.
func table(symbol string) bool {
	switch symbol {
	case "runtime.pclntab", "runtime.types", "runtime.etypes", "runtime.rodata", "runtime.findfunctab", "runtime.text", "runtime.etext":
		return true
	}
	return false
}

// PackageOf returns the package path in a Go symbol's name: up to the first
// dot behind the last slash, unescaped (cmd/internal/objabi.PathToPrefix).
func PackageOf(symbol string) string {
	name, _, _ := strings.Cut(symbol, "[") // type arguments have slashes too
	name, _, _ = strings.Cut(name, "(")
	slash := strings.LastIndex(name, "/")
	dot := strings.Index(name[slash+1:], ".")
	if dot < 0 {
		return ""
	}
	path := name[:slash+1+dot]
	if p, err := url.PathUnescape(path); err == nil {
		path = p
	}
	return path
}
