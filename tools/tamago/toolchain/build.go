package toolchain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"xenvtpm/tools/tamago/port"
)

// rebuilt are the tools that have to know the target.
var rebuilt = []string{"cmd/go", "cmd/compile", "cmd/asm", "cmd/link"}

// probe are the packages whose port is proven by compiling them: the ones with
// code for each operating system.
var probe = []string{"runtime", "os", "os/signal", "os/exec", "net", "time", "crypto/rand", "crypto/x509"}

// build makes a whole toolchain in dir.
func build(ctx context.Context, dir string, in *Inputs, logf func(string, ...any)) error {
	logf("toolchain: making %s from %s (one to three minutes, once)", in.Version(), in.project.GOROOT)
	if err := copySDK(ctx, in.project.GOROOT, dir); err != nil {
		return fmt.Errorf("toolchain: copy of %s: %w", in.project.GOROOT, err)
	}
	logf("toolchain: adding GOOS=tamago")
	if err := port.Apply(dir, in.project.goosDir(), in.Version()); err != nil {
		return err
	}
	logf("toolchain: rebuilding %s", strings.Join(rebuilt, ", "))
	if err := buildTools(ctx, dir, in); err != nil {
		return err
	}
	logf("toolchain: compiling the standard library for GOOS=tamago")
	t := &Toolchain{Go: filepath.Join(dir, "bin", "go")}
	if err := run(t.Command(ctx, append([]string{"build", "-trimpath"}, probe...)...), dir); err != nil {
		return fmt.Errorf("toolchain: the port does not fit %s: %w", in.GoVersion, err)
	}
	b, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, stampName), append(b, '\n'), 0o644)
}

// buildTools compiles the tools with the stock go command from the changed
// tree, beside the stock tools that compile them, then moves them into place.
func buildTools(ctx context.Context, dir string, in *Inputs) error {
	out := filepath.Join(dir, "new")
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	args := append([]string{"build", "-trimpath", "-o", out + "/"}, rebuilt...)
	cmd := exec.CommandContext(ctx, filepath.Join(in.project.GOROOT, "bin", "go"), args...)
	// Nothing of the caller's setup may get into the tools.
	cmd.Env = append(clean(os.Environ(), "GOFLAGS", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GODEBUG", "GOFIPS140", "GOTOOLDIR"),
		"GOROOT="+dir, "GOTOOLCHAIN=local", "GOWORK=off", "CGO_ENABLED=0")
	if err := run(cmd, filepath.Join(dir, "src")); err != nil {
		return fmt.Errorf("toolchain: build of the tools: %w", err)
	}
	tools := filepath.Join(dir, "pkg", "tool", strings.ReplaceAll(in.Host, "/", "_"))
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return err
	}
	for _, pkg := range rebuilt {
		name, to := filepath.Base(pkg), tools
		if name == "go" {
			to = filepath.Join(dir, "bin")
		}
		if err := os.Rename(filepath.Join(out, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return os.Remove(out)
}

// run runs cmd in dir; its output is part of the error.
func run(cmd *exec.Cmd, dir string) error {
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "PWD="+dir)
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, trimSpace(b))
	}
	return nil
}

// copySDK copies what a go command needs at run time: sources without tests,
// assembler headers, tools. Distributions link these folders together from
// several places, so links are followed.
func copySDK(ctx context.Context, goroot, dir string) error {
	for _, name := range []string{"src", "pkg/include", "pkg/tool"} {
		from, err := filepath.EvalSymlinks(filepath.Join(goroot, name))
		if err != nil {
			return err
		}
		if err := copyTree(ctx, from, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"VERSION", "go.env"} {
		err := copyFile(filepath.Join(goroot, name), filepath.Join(dir, name))
		if err != nil && !(name == "go.env" && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

func copyTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && d.Name() == "testdata":
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case strings.HasSuffix(d.Name(), "_test.go"):
			return nil
		}
		return copyFile(name, filepath.Join(to, rel))
	})
}

// copyFile copies contents and the executable bit; the source may be read-only.
func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	st, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644|st.Mode().Perm()&0o111)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		return err
	}
	return dst.Close()
}

// lock takes the file lock that keeps two processes from making the same
// toolchain. The kernel drops it when the holder dies.
func lock(ctx context.Context, name string, logf func(string, ...any)) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for told := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if !told {
			logf("toolchain: waiting for another process that is making it")
			told = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
