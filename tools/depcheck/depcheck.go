// Package depcheck holds the project's import rules as data. Its test fails on
// any import that points up, that lets a pure package reach metal, or that
// brings a new module into an image. The rules are DESIGN.md "Folders"; do not
// extend an allow-list just to make the test pass.
package depcheck

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the import path prefix of this module.
const Module = "xenvtpm"

// Layer orders the packages; a package imports only lower layers, or its own
// layer where [sameLayer] says so.
type Layer int

// Layers, lowest first.
const (
	Data      Layer = iota // constants, wire formats
	Mechanism              // rings, clients, primitives
	Driver                 // device protocol state machines
	Engine                 // TPM engines, manager, stores, services
	Metal                  // tamago only: board, hypercalls
	Main                   // the images
	Host                   // programs and libraries for Linux
	Test                   // helpers that only _test files import
)

func (l Layer) String() string {
	return [...]string{"data", "mechanism", "driver", "engine", "metal", "main", "host", "test"}[l]
}

// rules maps a folder to its layer; the longest matching prefix wins.
var rules = map[string]Layer{
	"board/xen/abi":       Data,
	"board/xen/shm":       Data,
	"board/xen":           Mechanism,
	"board/xen/xentest":   Test,
	"board/xen/hypercall": Metal,
	"board/xenpvh":        Metal,
	"boot/startinfo":      Mechanism,
	"boot/pvh":            Metal,
	"boot/smoke":          Main,
	"drivers/tpmid":       Data,
	"drivers/tpmwire":     Data,
	"drivers":             Driver,
	"drivers/drivertest":  Test,
	"vtpm-stub":           Engine,
	"vtpm-stub/tpmcrypto": Mechanism,
	"vtpmmgr-stub":        Engine,
	"vtpmmgr-stub/proto":  Data,
	"tools":               Host,
	"xl-configs":          Host,
}

// mains are the image packages; exactly these, not what lies below them.
var mains = []string{"vtpm-stub", "vtpmmgr-stub"}

// imageModules are the only modules an image may contain.
var imageModules = []string{
	"github.com/usbarmory/tamago",
	"github.com/google/go-tpm",
	"golang.org/x/crypto",
	"golang.org/x/sys", // x/crypto's CPU feature detection
	"filippo.io/nistec",
	"filippo.io/mldsa",  // ML-DSA keys: docs/audit.md
	"filippo.io/bigmod", // RSA without padding: docs/audit.md
}

// LayerOf returns the layer of a folder below the module root.
func LayerOf(dir string) (Layer, error) {
	if slices.Contains(mains, dir) {
		return Main, nil
	}
	for p := dir; p != "" && p != "."; {
		if l, ok := rules[p]; ok {
			return l, nil
		}
		i := strings.LastIndexByte(p, '/')
		if i < 0 {
			break
		}
		p = p[:i]
	}
	return 0, fmt.Errorf("%s: no layer is named for this folder; add it to tools/depcheck", dir)
}

// CheckImport reports whether package from may import package to (both
// folders below the module root).
func CheckImport(from, to string) error {
	lf, err := LayerOf(from)
	if err != nil {
		return err
	}
	lt, err := LayerOf(to)
	if err != nil {
		return err
	}
	switch {
	case lt == Test && lf != Test:
		return fmt.Errorf("%s (%v) imports %s: only tests may", from, lf, to)
	case lf == Test:
		if lt <= Driver || lt == Test {
			return nil
		}
	case lt == Main:
		return fmt.Errorf("%s imports the main package %s", from, to)
	case lf == Host:
		if lt != Metal {
			return nil
		}
	case lf == Metal:
		if lt <= Mechanism || lt == Metal {
			return nil
		}
	case lf == Main:
		if lt <= Metal {
			return nil
		}
	case lt <= lf:
		return nil
	}
	return fmt.Errorf("%s (%v) imports %s (%v): imports go down only", from, lf, to, lt)
}

// pureOfXen are the folders that must not know that Xen exists.
var pureOfXen = []string{
	"vtpm-stub/tpm2", "vtpm-stub/tpm12", "vtpm-stub/tpmcrypto", "vtpm-stub/state",
	"vtpmmgr-stub/proto", "vtpmmgr-stub/store", "vtpmmgr-stub/hwtpm", "vtpmmgr-stub/manager",
}

// CheckXenFree reports an import of Xen code by an engine.
func CheckXenFree(from, to string) error {
	for _, p := range pureOfXen {
		if (from == p || strings.HasPrefix(from, p+"/")) && strings.HasPrefix(to, "board/") {
			return fmt.Errorf("%s imports %s: engines and manager do not know that Xen exists", from, to)
		}
	}
	return nil
}

// ImageModule reports whether a module may be part of an image.
func ImageModule(path string) bool { return slices.Contains(imageModules, path) }
