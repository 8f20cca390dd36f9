package toolchain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func inputs() *Inputs {
	return &Inputs{GoVersion: "go1.26.8", TamagoVersion: "v1.26.4", Goos: "aa", Port: "bb", Host: "linux/amd64"}
}

// made writes what a finished toolchain looks like.
func made(t *testing.T, dir string, in *Inputs) string {
	t.Helper()
	final := filepath.Join(dir, in.Name())
	if err := os.MkdirAll(filepath.Join(final, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{stampName: b, "bin/go": []byte("#!/bin/sh\n")} {
		if err := os.WriteFile(filepath.Join(final, name), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return final
}

func TestOpen(t *testing.T) {
	in := inputs()
	dir := t.TempDir()
	final := made(t, dir, in)
	tc, err := open(final, in)
	if err != nil || tc.Go != filepath.Join(final, "bin/go") || tc.Version != in.Version() || !tc.Derived {
		t.Fatalf("%+v, %v", tc, err)
	}
	for name, change := range map[string]func(*Inputs){
		"Go":     func(in *Inputs) { in.GoVersion = "go1.26.9" },
		"tamago": func(in *Inputs) { in.TamagoVersion = "v1.26.5" },
		"goos":   func(in *Inputs) { in.Goos = "ab" },
		"port":   func(in *Inputs) { in.Port = "bc" },
	} {
		other := inputs()
		change(other)
		if _, err := open(final, other); err == nil {
			t.Errorf("a toolchain of another %s is accepted", name)
		}
		if other.Name() == in.Name() {
			t.Errorf("another %s has the same folder", name)
		}
	}
	if err := os.Remove(filepath.Join(final, "bin/go")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(final, in); err == nil {
		t.Error("a toolchain without go is accepted")
	}
	if err := os.WriteFile(filepath.Join(final, stampName), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := open(final, in); err == nil {
		t.Error("a damaged stamp is accepted")
	}
}

func TestCheckRelease(t *testing.T) {
	for version, ok := range map[string]bool{"go1.26": true, "go1.26.8": true, "go1.25.9": false, "go1.27": false, "go1.260.1": false, "devel": false} {
		if err := checkRelease(version); (err == nil) != ok {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	ctx := context.Background()
	unlock, err := lock(ctx, name, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	told := 0
	if _, err := lock(short, name, func(string, ...any) { told++ }); !errors.Is(err, context.DeadlineExceeded) || told != 1 {
		t.Fatalf("a held lock: %v, told %d times", err, told)
	}
	got := make(chan error, 1)
	go func() {
		unlock, err := lock(ctx, name, t.Logf)
		if err == nil {
			unlock()
		}
		got <- err
	}()
	time.Sleep(20 * time.Millisecond)
	unlock()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func TestPrune(t *testing.T) {
	dir, in := t.TempDir(), inputs()
	final := made(t, dir, in)
	old, recent := inputs(), inputs()
	old.Port, recent.Port = "cc", "dd"
	oldDir, recentDir := made(t, dir, old), made(t, dir, recent)
	for _, d := range []string{final, oldDir} {
		past := time.Now().Add(-2 * keepUnused)
		if err := os.Chtimes(filepath.Join(d, stampName), past, past); err != nil {
			t.Fatal(err)
		}
	}
	left := filepath.Join(dir, "tmp-1")
	if err := os.Mkdir(left, 0o755); err != nil {
		t.Fatal(err)
	}
	prune(dir, final)
	for d, want := range map[string]bool{final: true, oldDir: false, recentDir: true, left: false} {
		if _, err := os.Stat(d); (err == nil) != want {
			t.Errorf("%s: %v, want it kept: %v", filepath.Base(d), err, want)
		}
	}
}

func TestNamed(t *testing.T) {
	t.Setenv("TAMAGO", filepath.Join(t.TempDir(), "gone"))
	if _, err := Find(t.Context(), Config{}); err == nil || !strings.Contains(err.Error(), "TAMAGO=") {
		t.Errorf("a missing command: %v", err)
	}
	stock, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command in PATH")
	}
	t.Setenv("TAMAGO", stock)
	if _, err := Find(t.Context(), Config{}); err == nil || !strings.Contains(err.Error(), "does not know GOOS=tamago") {
		t.Errorf("the stock go command: %v", err)
	}
}

func TestOutsideModule(t *testing.T) {
	t.Setenv("TAMAGO", "")
	if _, err := Find(t.Context(), Config{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "module") {
		t.Errorf("outside a module: %v", err)
	}
}

func TestCopyTree(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
	for name, mode := range map[string]os.FileMode{"a/x.go": 0o444, "a/x_test.go": 0o644, "a/testdata/y": 0o644, "tool": 0o555} {
		file := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyTree(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"a/x.go": 0o644, "tool": 0o755, "a/x_test.go": 0, "a/testdata/y": 0} {
		st, err := os.Stat(filepath.Join(to, name))
		if (err == nil) != (want != 0) || err == nil && st.Mode().Perm()&0o700 != want&0o700 { // the rest is the umask's
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
}

// TestExercise builds testdata/exercise with the toolchain and runs it as a
// Linux process, in both memory layouts, and to its several ends.
func TestExercise(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a toolchain where there is none")
	}
	tc, err := Find(t.Context(), Config{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, mode, tags string
		code             int
		want             string
	}{
		{"all", "", "", 0, "SUCCESS"},
		{"all tiny", "", "tiny", 0, "SUCCESS"},
		{"panic", "panic", "tiny", 2, "panic: on purpose"},
		{"idle for good", "deadlock", "tiny", 7, "idle for good"},
		{"exit", "exit3", "tiny", 3, ""},
		{"out of memory", "oom", "", 2, "out of memory"},
		{"out of memory tiny", "oom", "tiny", 2, "out of memory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out := exercise(t, tc, tt.mode, tt.tags)
			if code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, want %d with %q:\n%.3000s", code, tt.code, tt.want, out)
			}
		})
	}
	t.Run("nil dereference", func(t *testing.T) {
		// The user space board takes no signals: the kernel ends the process.
		if code, out := exercise(t, tc, "nil", "tiny"); code != -int(syscall.SIGSEGV) {
			t.Errorf("exit code %d\n%.3000s", code, out)
		}
	})
}

// TestStackPlace runs exercise on boards that enter the runtime on another stack
// than the contract has: each is the user space board with a line of its entry
// changed. The runtime must refuse all of them.
func TestStackPlace(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a toolchain where there is none")
	}
	tc, err := Find(t.Context(), Config{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	const entry = "\tSUBQ\tBX, SP\n"
	for name, line := range map[string]string{
		"below the heap": "\tMOVQ\truntime∕goos·RamStart(SB), SP\n\tADDQ\t$0x20000, SP\n",
		"inside":         "\tSUBQ\tBX, SP\n\tSUBQ\t$0x10000, SP\n",
	} {
		t.Run(name, func(t *testing.T) {
			mod := otherBoard(t, tc, entry, line)
			code, out := exercise(t, tc, "", "tiny", "-modfile="+mod)
			if want := "first stack is not where the contract has it"; code == 0 || !strings.Contains(out, want) {
				t.Errorf("exit code %d, want a death with %q:\n%.3000s", code, want, out)
			}
		})
	}
}

// otherBoard copies the tamago module, changes the entry of its user space board
// and returns a go.mod that uses the copy.
func otherBoard(t *testing.T, tc *Toolchain, from, to string) string {
	t.Helper()
	p := tc.Inputs.project
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "tamago"), os.DirFS(p.TamagoDir)); err != nil {
		t.Fatal(err)
	}
	asm := filepath.Join(dir, "tamago", "user", "linux", "syscall_amd64.s")
	b, err := os.ReadFile(asm)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(b), from) != 1 {
		t.Fatalf("%s has no line %q", asm, from)
	}
	write := func(name string, b []byte) {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(asm, 0o644); err != nil {
		t.Fatal(err)
	}
	write(asm, []byte(strings.Replace(string(b), from, to, 1)))
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(p.Root, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "go.mod" {
			b = fmt.Appendf(b, "\nreplace %s => %q\n", Module, filepath.Join(dir, "tamago"))
		}
		write(filepath.Join(dir, name), b)
	}
	return filepath.Join(dir, "go.mod")
}

// exercise returns the exit code, negative for a signal, and all output.
func exercise(t *testing.T, tc *Toolchain, mode, tags string, flags ...string) (int, string) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "exercise")
	args := append([]string{"build", "-trimpath", "-tags", tags, "-ldflags", "-s -w -X main.mode=" + mode, "-o", bin}, flags...)
	cmd := tc.Command(t.Context(), append(args, "./testdata/exercise")...)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b, err := exec.CommandContext(ctx, bin).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, string(b)
	case !errors.As(err, &exit):
		t.Fatal(err)
	}
	if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
		return -int(ws.Signal()), string(b)
	}
	return exit.ExitCode(), string(b)
}

// TestRefusesOtherGOOSPKG: the derived toolchain has one contract built in.
func TestRefusesOtherGOOSPKG(t *testing.T) {
	if testing.Short() || os.Getenv("TAMAGO") != "" {
		t.Skip("needs a derived toolchain")
	}
	tc, err := Find(t.Context(), Config{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	cmd := tc.Command(t.Context(), "build", "runtime/goos")
	cmd.Env = append(cmd.Env, "GOOSPKG=example.org/other")
	b, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(b), "GOOSPKG=example.org/other") {
		t.Fatalf("%v: %s", err, b)
	}
}
