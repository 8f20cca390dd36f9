package toolchain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"

	"xenvtpm/tools/tamago/port"
)

// goRelease is the Go release that the port fits and that the pinned tamago
// module pairs with.
const goRelease = "go1.26"

// Inputs is everything a derived toolchain is made from.
type Inputs struct {
	GoVersion     string `json:"goVersion"`     // of the SDK, such as go1.26.8
	TamagoVersion string `json:"tamagoVersion"` // of the module with the contract
	Goos          string `json:"goosSHA256"`    // of the contract's goos package
	Port          string `json:"portSHA256"`    // of package port
	Host          string `json:"host"`          // where the tools run, GOOS/GOARCH

	project *Project
}

// Project is where the parts of a build are.
type Project struct {
	GOROOT        string // the installed SDK
	GoVersion     string // its version
	Root          string // folder of the main module
	Path          string // path of the main module
	TamagoVersion string // of the module with the contract
	TamagoDir     string // where that module is
}

func (p *Project) goosDir() string { return filepath.Join(p.TamagoDir, "goos") }

// Hash covers what decides the images' bytes: not the host.
func (in *Inputs) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n", in.GoVersion, in.TamagoVersion, in.Goos, in.Port)
	return fmt.Sprintf("%x", h.Sum(nil))
}

// Version is the Go version that tools and images made from in report.
func (in *Inputs) Version() string {
	return fmt.Sprintf("%s-tamago.%s", in.GoVersion, in.Hash()[:12])
}

// Name is the folder of the toolchain.
func (in *Inputs) Name() string {
	return in.Version() + "-" + strings.ReplaceAll(in.Host, "/", "-")
}

// collect names everything that a toolchain for the project around dir is made
// from.
func collect(ctx context.Context, dir string) (*Inputs, error) {
	p, err := LookUp(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := checkRelease(p.GoVersion); err != nil {
		return nil, err
	}
	in := &Inputs{GoVersion: p.GoVersion, TamagoVersion: p.TamagoVersion, Port: port.Hash(),
		Host: runtime.GOOS + "/" + runtime.GOARCH, project: p}
	in.Goos, err = hashDir(p.goosDir())
	return in, err
}

// LookUp asks the installed go command about the main module around dir.
func LookUp(ctx context.Context, dir string) (*Project, error) {
	run := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = dir
		// The caller may be set up for the target; these questions are
		// about the host.
		cmd.Env = clean(os.Environ(), "GOOS", "GOARCH", "GOFLAGS", "GOROOT")
		b, err := output(cmd)
		if err != nil {
			return nil, fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
		}
		return b, nil
	}
	b, err := run("env", "-json", "GOROOT", "GOVERSION", "GOMOD")
	if err != nil {
		return nil, err
	}
	var env struct{ GOROOT, GOVERSION, GOMOD string }
	if err := json.Unmarshal(b, &env); err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	if env.GOMOD == "" || env.GOMOD == os.DevNull {
		return nil, fmt.Errorf("toolchain: not inside a Go module: run it in the project's tree")
	}
	p := &Project{GOROOT: env.GOROOT, GoVersion: env.GOVERSION, Root: filepath.Dir(env.GOMOD)}
	return p, p.addModules(run)
}

func checkRelease(version string) error {
	if version == goRelease || strings.HasPrefix(version, goRelease+".") {
		return nil
	}
	return fmt.Errorf("toolchain: the port fits %s, the installed go command is %s: "+
		"install %s or name a TamaGo go command with TAMAGO", goRelease, version, goRelease)
}

// addModules finds the main module and the one with the contract, which is
// downloaded where it is not in the module cache.
func (p *Project) addModules(run func(...string) ([]byte, error)) error {
	list := func(module ...string) ([]string, error) {
		b, err := run(append([]string{"list", "-m", "-f", "{{.Path}}\n{{.Version}}\n{{.Dir}}\n"}, module...)...)
		return strings.Split(string(b)+"\n\n\n", "\n"), err
	}
	got, err := list()
	if err != nil {
		return err
	}
	p.Path = got[0]
	if got, err = list(Module); err != nil {
		return err
	}
	if got[2] == "" {
		if _, err := run("mod", "download", Module); err != nil {
			return err
		}
		if got, err = list(Module); err != nil {
			return err
		}
	}
	if p.TamagoVersion, p.TamagoDir = got[1], got[2]; p.TamagoDir == "" {
		return fmt.Errorf("toolchain: module %s %s is not in the module cache: run go mod download", Module, p.TamagoVersion)
	}
	return nil
}

// hashDir hashes the names and contents of a folder's files.
func hashDir(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	h := sha256.New()
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", e.Name(), len(b))
		h.Write(b)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// clean is env without the named variables.
func clean(env []string, names ...string) []string {
	var out []string
next:
	for _, kv := range env {
		for _, name := range names {
			if strings.HasPrefix(kv, name+"=") {
				continue next
			}
		}
		out = append(out, kv)
	}
	return out
}

func trimSpace(b []byte) []byte { return bytes.TrimSpace(b) }
