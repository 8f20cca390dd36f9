package contract

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const goodBoard = `//go:build tamago && !linkramsize

package board

import (
	"runtime/goos"
	_ "unsafe"
)

//go:linkname ramSize runtime/goos.RamSize
var ramSize uint64

//go:linkname own mod/other.own
func own()

func init() { goos.Idle = nil }
`

const goodAsm = `//go:build tamago

TEXT cpuinit(SB),4,$0
	MOVQ	runtime∕goos·RamStart(SB), SP	// not runtime·g0(SB)
	ADDQ	runtime∕goos·RamSize(SB), SP
	SUBQ	runtime∕goos·RamStackOffset(SB), SP
	MOVQ	·local(SB), AX
	MOVQ	$·file<>(SB), AX
	JMP	_rt0_tamago_start(SB)
`

// tree writes a main module and a tamago module with a small contract.
func tree(t *testing.T, files map[string]string) *Checker {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{
		"tamago/goos/goos.go": "package goos\nvar RamStart, RamSize, RamStackOffset uint\nfunc CPUinit()\nvar Idle func(int64)\n",
		"tamago/b/b.go":       "//go:build linkcpuinit || linkramsize\npackage b\n",
		"goroot/src/fmt/a.go": "package fmt\n",
		"mod/img/main.go":     "package main\nimport (\"fmt\"; \"mod/board\")\nfunc main() { fmt.Print(); board.X() }\n",
		"mod/board/board.go":  goodBoard,
		"mod/board/board.s":   goodAsm,
		"mod/board/host.go":   "//go:build !tamago\n\npackage board\n\n//go:linkname bad runtime.never\n",
	}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := New(filepath.Join(dir, "mod"), "mod", filepath.Join(dir, "tamago"), filepath.Join(dir, "goroot"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAccepts(t *testing.T) {
	c := tree(t, nil)
	// The board imports "unsafe", which has no folder in the small tree.
	os.MkdirAll(filepath.Join(c.ctx.GOROOT, "src", "unsafe"), 0o755)
	if err := c.Check("img"); err != nil {
		t.Fatal(err)
	}
	found, n := c.Result()
	if len(found) != 0 || n != 2 {
		t.Fatalf("looked at %d packages, found %v", n, found)
	}
}

func TestRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ file, text, want string }{
		"linkname into the runtime": {"mod/board/x.go", "package board\n\n//go:linkname f runtime.nanotime\nfunc f() int64\n", "mod/board/x.go:3: linkname of runtime.nanotime"[4:]},
		"hook that is not one":      {"mod/board/x.go", "package board\n\n//go:linkname f runtime/goos.Preempt\nfunc f()\n", "linkname of runtime/goos.Preempt"},
		"runtime symbol in asm":     {"mod/board/x.s", "TEXT ·f(SB),4,$0\n\tCALL runtime·morestack(SB)\n", "board/x.s:2: assembler symbol runtime·morestack"},
		"hook misspelt in asm":      {"mod/board/x.s", "\tCALL runtime∕goos·Hwinit9(SB)\n", "runtime∕goos·Hwinit9"},
		"stack below the image":     {"mod/board/board.s", "TEXT cpuinit(SB),4,$0\n\tMOVQ runtime∕goos·RamStart(SB), SP\n\tADDQ runtime∕goos·RamSize(SB), SP\n\tJMP _rt0_tamago_start(SB)\n", "RamStackOffset"},
		"global symbol in asm":      {"mod/board/x.s", "\tJMP _rt0_amd64(SB)\n", "assembler symbol _rt0_amd64"},
		"ABIInternal runtime":       {"mod/board/x.s", "\tJMP runtime·goexit<ABIInternal>(SB)\n", "runtime·goexit"},
		"offset from a symbol":      {"mod/board/x.s", "\tMOVQ runtime·m0+8(SB), AX\n", "runtime·m0"},
		"unknown tag":               {"mod/board/x.go", "//go:build tamago && ourport\n\npackage board\n", ""},
		"unknown tag chosen":        {"mod/board/x.go", "//go:build tamago && !ourport\n\npackage board\n", "build tag ourport"},
		"package of our port":       {"mod/board/x.go", "package board\n\nimport _ \"runtime/hooks\"\n", "imports runtime/hooks"},
		"syscall":                   {"mod/board/x.go", "package board\n\nimport _ \"syscall\"\n", "imports syscall"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tree(t, map[string]string{tt.file: tt.text})
			os.MkdirAll(filepath.Join(c.ctx.GOROOT, "src", "unsafe"), 0o755)
			if err := c.Check("img"); err != nil {
				t.Fatal(err)
			}
			found, _ := c.Result()
			if tt.want == "" { // the file is not part of the image
				if len(found) != 0 {
					t.Fatalf("found %v", found)
				}
				return
			}
			if len(found) != 1 || !strings.Contains(found[0].String(), tt.want) {
				t.Fatalf("found %v, want one with %q", found, tt.want)
			}
		})
	}
}

func TestMissingPackage(t *testing.T) {
	c := tree(t, map[string]string{"mod/img/main.go": "package main\nimport _ \"mod/gone\"\nfunc main() {}\n"})
	if err := c.Check("img"); err == nil || !strings.Contains(err.Error(), "mod/gone") {
		t.Fatalf("error %v", err)
	}
}

func TestNoContract(t *testing.T) {
	if _, err := New(t.TempDir(), "mod", t.TempDir(), runtime.GOROOT()); err == nil {
		t.Fatal("a tamago module without package goos is accepted")
	}
}
