package clienttest

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// suite is the test suite of another module, of which we keep no copy.
type suite struct {
	module, version string
	replace         map[string]string // file in the copy: its content
	edit            func(name string, content []byte) []byte
	args            []string
	differ          []string // tests that fail, and should
}

// TestGoTPM runs go-tpm's own tests against vtpmd.
func TestGoTPM(t *testing.T) {
	runSuite(t, suite{
		module: "github.com/google/go-tpm", version: "v0.9.8",
		replace: map[string]string{
			"go.mod": "module github.com/google/go-tpm\n\ngo 1.22\n\nrequire (\n\tgithub.com/google/go-cmp v0.5.9\n\tgolang.org/x/sys v0.8.0\n)\n",
			"tpm2/transport/simulator/open.go": `package simulator

import "github.com/google/go-tpm/tpm2/transport"

func OpenSimulator() (transport.TPMCloser, error) {
	s, err := Get()
	if err != nil {
		return nil, err
	}
	return transport.FromReadWriteCloser(s), nil
}
`,
			"tpm2/transport/simulator/simulator.go": simulator(t),
		},
		args: []string{"./tpm2/..."},
		// docs/tpm2.md, "Where clients expect something else".
		differ: []string{
			"TestTestParms/rsa3072_-_unsupported", "TestTestParms/rsa4096_-_unsupported",
		},
	})
}

// TestGoAttestation runs go-attestation's tests against vtpmd.
func TestGoAttestation(t *testing.T) {
	runSuite(t, suite{
		module: "github.com/google/go-attestation", version: "v0.6.1",
		replace: map[string]string{
			"tools/go.mod":                 "module github.com/google/go-tpm-tools\n\ngo 1.24\n",
			"tools/simulator/simulator.go": simulator(t),
		},
		edit: func(name string, content []byte) []byte {
			switch name {
			case "go.mod":
				return append(content, "\nreplace github.com/google/go-tpm-tools => ./tools\n"...)
			case "attest/attest_simulated_test.go":
				// The simulator needs cgo, vtpmd does not.
				_, rest, _ := bytes.Cut(content, []byte("\npackage attest"))
				return append([]byte("package attest"), rest...)
			}
			return content
		},
		args: []string{"./attest", "./attributecert"},
	})
}

func simulator(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("testdata/simulator/simulator.go")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func runSuite(t *testing.T, s suite) {
	if testing.Short() {
		t.Skip("long")
	}
	src := moduleDir(t, s.module+"@"+s.version)
	dir := t.TempDir()
	copyTree(t, src, dir, s.edit)
	for name, content := range s.replace {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-mod=mod", "-v", "-count=1"}, s.args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0", "VTPMD="+vtpmd)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	judge(t, s, string(out), err)
}

var result = regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+)`)

// judge wants every test to pass but those that are known to differ, and those to fail.
func judge(t *testing.T, s suite, out string, err error) {
	t.Helper()
	counts, wrong := map[string]int{}, 0
	for _, m := range result.FindAllStringSubmatch(out, -1) {
		counts[m[1]]++
		known := slices.Contains(s.differ, m[2])
		above := slices.ContainsFunc(s.differ, func(d string) bool { return strings.HasPrefix(d, m[2]+"/") })
		switch {
		case m[1] == "FAIL" && !known && !above:
			t.Errorf("%s fails", m[2])
			wrong++
		case m[1] == "PASS" && known:
			t.Errorf("%s passes now; take it off the list", m[2])
		}
	}
	if counts["PASS"] < 10 || strings.Contains(out, "[build failed]") || strings.Contains(out, "\npanic: ") {
		t.Errorf("only %d tests passed: %v", counts["PASS"], err)
		wrong++
	}
	if wrong > 0 {
		t.Logf("%s", out[max(0, len(out)-30_000):])
	}
	t.Logf("%s %s: %v", s.module, s.version, counts)
}

// moduleDir downloads a module through the Go module proxy, if it isn't there yet.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = t.TempDir() // outside of our module
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	out, err := cmd.Output()
	var m struct{ Dir, Error string }
	if e := json.Unmarshal(out, &m); e != nil || m.Dir == "" {
		if required() {
			t.Fatalf("%s: %v %v %s", module, err, e, m.Error)
		}
		t.Skipf("%s cannot be downloaded: %v %s", module, err, m.Error)
	}
	return m.Dir
}

func copyTree(t *testing.T, from, to string, edit func(string, []byte) []byte) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if edit != nil {
			b = edit(filepath.ToSlash(rel), b)
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}
