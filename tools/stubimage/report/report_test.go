package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	for name, tt := range map[string]struct {
		file, text string
		want       int
	}{
		"empty":        {"a.go", "", 0},
		"comments":     {"a.go", "// x\n\n/* y\n z */\npackage a // p\n", 1},
		"code":         {"a.go", "package a\n\nfunc f() {\n\tg() // x\n}\n", 4},
		"raw string":   {"a.go", "package a\n\nvar s = `1\n\n3`\n", 4},
		"asm":          {"a.s", "// x\n#include \"y.h\"\n\nTEXT f(SB),4,$0\n\tRET // z\n", 3},
		"asm comments": {"a.s", "/* a\nb\n*/\nTEXT f(SB),4,$0 /* c\n d */ RET\n/* e */ NOP\n", 3},
	} {
		file := filepath.Join(t.TempDir(), tt.file)
		if err := os.WriteFile(file, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := Lines(file); err != nil || got != tt.want {
			t.Errorf("%s: %d lines, %v, want %d", name, got, err, tt.want)
		}
	}
}

func TestPackageOf(t *testing.T) {
	for symbol, want := range map[string]string{
		"runtime.mallocgc": "runtime",
		"crypto/internal/fips140/aes.(*Block).Encrypt":  "crypto/internal/fips140/aes",
		"github.com/google/go-tpm/tpm2.Marshal[go.x/y]": "github.com/google/go-tpm/tpm2",
		"gopkg.in/yaml%2ev3.Unmarshal":                  "gopkg.in/yaml.v3",
		"main.main":                                     "main",
		"type:*int":                                     "",
		"xenvtpm/vtpm-stub/tpm2.(*TPM).Execute.func1":   "xenvtpm/vtpm-stub/tpm2",
	} {
		if got := PackageOf(symbol); got != want {
			t.Errorf("%s: %q, want %q", symbol, got, want)
		}
	}
}

func TestPrint(t *testing.T) {
	im := &Image{Name: "x", Total: 100, Tables: 10, BSS: 5, Modules: []Module{{"example.org/m", "v1.0.0", "h1:abc="}}, Packages: []Package{
		{Path: "xenvtpm/a", Module: "xenvtpm", Lines: 7, Bytes: 50},
		{Path: "runtime", Module: "std", Lines: 9, Bytes: 25},
		{Path: "crypto/aes", Module: "std", Lines: 3, Bytes: 10},
		{Path: "example.org/m/p", Module: "example.org/m", Version: "v1.0.0", Lines: 1, Bytes: 5},
	}}
	var b bytes.Buffer
	if err := Print(&b, im, "xenvtpm", 2); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"this project", "Go runtime", "crypto", "example.org/m v1.0.0", "line tables", "20", "xenvtpm/a", "example.org/m v1.0.0 h1:abc="} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "crypto/aes") {
		t.Errorf("more than two packages in\n%s", &b)
	}
}
