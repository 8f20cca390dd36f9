package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"xenvtpm/tools/vtpmd/options"
)

// readyEnv names the descriptor on which a daemon tells its parent that it
// serves, or why it can't.
const readyEnv = "VTPMD_READY_FD"

// readyOK begins the report of a daemon that serves; what it has to say follows.
const readyOK = "ok\n"

// daemonize starts this program again in the background and returns when that
// one serves, with what that one has to say on standard output. Descriptors on
// the command line are inherited.
func daemonize(args []string, stdout io.Writer) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only read
	self, err := os.Executable()
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }() // nothing was written
	// A duplicate is not closed on exec; its number is what the child is told.
	ready, err := syscall.Dup(int(w.Fd()))
	if err != nil {
		return err
	}
	attr := &syscall.ProcAttr{
		Env: append(os.Environ(), readyEnv+"="+strconv.Itoa(ready)),
		// Whoever started us may wait for the end of our standard error.
		Files: []uintptr{null.Fd(), null.Fd(), null.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	_, err = syscall.ForkExec(self, append([]string{self}, args...), attr)
	if err = errors.Join(err, syscall.Close(ready), w.Close()); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	report, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if text, ok := strings.CutPrefix(string(report), readyOK); ok {
		_, err := io.WriteString(stdout, text)
		return err
	}
	if len(report) == 0 {
		return errors.New("the daemon ended before it served")
	}
	return errors.New(strings.TrimPrefix(string(report), "vtpmd: "))
}

// reportReady tells how the start went: a waiting parent, or standard output where there is none.
// A failure without a parent is left to the caller.
func reportReady(err error, text string, stdout io.Writer) error {
	fd, e := strconv.Atoi(os.Getenv(readyEnv))
	if e != nil {
		if err == nil {
			_, err = io.WriteString(stdout, text)
		}
		return err
	}
	_ = os.Unsetenv(readyEnv)
	f := os.NewFile(uintptr(fd), "ready")
	msg := readyOK + text
	if err != nil {
		msg = err.Error()
	}
	_, _ = f.WriteString(msg) // the parent may be gone; nobody else to tell
	return errors.Join(err, f.Close())
}

func isDaemonChild() bool { return os.Getenv(readyEnv) != "" }

// writePID writes the process number where the command line says.
func writePID(o *options.Options) error {
	pid := []byte(strconv.Itoa(os.Getpid()) + "\n")
	if o.PIDFile != "" {
		return os.WriteFile(o.PIDFile, pid, 0o644)
	}
	if o.PIDFD < 0 {
		return nil
	}
	f := os.NewFile(uintptr(o.PIDFD), "pid")
	_, err := f.Write(pid)
	return errors.Join(err, f.Close())
}

// runAs gives up root for a user; with forNow so that asRoot can get it back.
func runAs(name string, forNow bool) error {
	if name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("--runas: %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("--runas: %w", err)
	}
	keep := uid
	if forNow {
		keep = -1 // real and saved user stay
	}
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setresuid(keep, uid, keep)); err != nil {
		return fmt.Errorf("--runas %s: %w", name, err)
	}
	return nil
}

// asRoot does what only root may do after a runAs for now, and gives up root for good.
func asRoot(name string, do func() error) error {
	if name == "" {
		return do()
	}
	if err := syscall.Setresuid(-1, 0, -1); err != nil {
		return fmt.Errorf("--runas %s: %w", name, err)
	}
	return errors.Join(do(), runAs(name, false))
}

// openLog returns the log function of the command line.
func openLog(spec options.LogSpec) (func(string, ...any), error) {
	out := io.Writer(os.Stderr)
	switch {
	case spec.File == "-":
		return func(string, ...any) {}, nil
	case spec.File != "":
		mode := os.O_WRONLY | os.O_CREATE | os.O_APPEND
		if spec.Truncate {
			mode |= os.O_TRUNC
		}
		f, err := os.OpenFile(spec.File, mode, 0o640)
		if err != nil {
			return nil, fmt.Errorf("--log: %w", err)
		}
		out = f
	case spec.FD >= 0:
		out = os.NewFile(uintptr(spec.FD), "log")
	}
	prefix := spec.Prefix
	return func(format string, a ...any) {
		fmt.Fprintf(out, "%s%s\n", prefix, fmt.Sprintf(format, a...))
	}, nil
}
