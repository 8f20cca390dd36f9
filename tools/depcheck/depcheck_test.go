package depcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
	Module     *struct{ Path string }
}

// list runs go list with the tamago tag: stock Go then shows metal packages
// too, although it cannot build them.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-tags", "tamago", "-json=ImportPath,Imports,Deps,Standard,Module"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func folder(path string) (string, bool) { return strings.CutPrefix(path, Module+"/") }

func TestImportsGoDown(t *testing.T) {
	pkgs := list(t, "./...")
	edges := 0
	for _, p := range pkgs {
		from, ok := folder(p.ImportPath)
		if !ok {
			continue
		}
		if _, err := LayerOf(from); err != nil {
			t.Error(err)
		}
		for _, imp := range p.Imports {
			to, ok := folder(imp)
			if !ok {
				continue
			}
			edges++
			if err := CheckImport(from, to); err != nil {
				t.Error(err)
			}
			if err := CheckXenFree(from, to); err != nil {
				t.Error(err)
			}
		}
	}
	if edges < 20 {
		t.Fatalf("only %d edges seen: go list did not show the project", edges)
	}
}

func TestImageModules(t *testing.T) {
	for _, p := range list(t, "-deps", "./vtpm-stub", "./vtpmmgr-stub", "./boot/smoke/...") {
		if p.Standard || p.Module == nil || p.Module.Path == Module {
			continue
		}
		if !ImageModule(p.Module.Path) {
			t.Errorf("%s: module %s is not allowed in an image", p.ImportPath, p.Module.Path)
		}
	}
}

func TestCheckImport(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"board/xen/ring", "board/xen/shm", true},
		{"board/xen/shm", "board/xen/ring", false},
		{"drivers/tpmback", "board/xen/xenstore", true},
		{"drivers/tpmback", "vtpm-stub/tpm2", false},
		{"vtpm-stub/service", "drivers/tpmback", true},
		{"vtpm-stub/service", "board/xenpvh", false},
		{"vtpm-stub", "board/xenpvh", true},
		{"vtpm-stub/service", "vtpm-stub", false},
		{"drivers/tis", "board/xen/xentest", false},
		{"board/xenpvh", "drivers/tis", false},
		{"tools/vtpmd", "vtpm-stub/tpm2", true},
		{"tools/vtpmd", "board/xenpvh", false},
		{"vtpm-stub/tpm2", "tools/vtpmd", false},
	} {
		if err := CheckImport(c.from, c.to); (err == nil) != c.ok {
			t.Errorf("CheckImport(%s, %s) = %v, want ok %v", c.from, c.to, err, c.ok)
		}
	}
	if CheckXenFree("vtpm-stub/tpm2/codec", "board/xen/shm") == nil {
		t.Error("engine may import Xen code")
	}
	if _, err := LayerOf("unknown/folder"); err == nil {
		t.Error("an unknown folder has a layer")
	}
}
