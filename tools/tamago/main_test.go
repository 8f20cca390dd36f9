package main

import (
	"strings"
	"testing"

	"xenvtpm/tools/tamago/toolchain"
)

// TestImagesUseContractOnly is the cross-check: nothing in any image depends on
// our port of the toolchain.
func TestImagesUseContractOnly(t *testing.T) {
	if code, err := check(t.Context(), nil); code != 0 || err != nil {
		t.Fatalf("exit code %d: %v", code, err)
	}
}

func TestImagesFound(t *testing.T) {
	p, err := toolchain.LookUp(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := images(p.Root)
	if err != nil {
		t.Fatal(err)
	}
	all := " " + strings.Join(dirs, " ") + " "
	for _, want := range []string{"vtpm-stub", "vtpmmgr-stub", "boot/smoke/hello"} {
		if !strings.Contains(all, " "+want+" ") {
			t.Errorf("%s is not among %s", want, all)
		}
	}
	if _, err := images(t.TempDir()); err == nil {
		t.Error("an empty tree has images")
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"nonsense"}, {"path", "x"}, {"info", "x"}} {
		if code, err := run(t.Context(), args); code != 2 || err == nil {
			t.Errorf("%v: %d %v", args, code, err)
		}
	}
	if code, err := run(t.Context(), []string{"check", "gone"}); code != 2 || err == nil {
		t.Errorf("a folder that is not there: %d %v", code, err)
	}
}
