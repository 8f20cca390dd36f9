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

// daemonize starts this program again in the background and returns when that
// one serves. Descriptors on the command line are inherited.
func daemonize(args []string) error {
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
	if msg := string(report); msg != "ok" {
		if msg == "" {
			msg = "the daemon ended before it served"
		}
		return errors.New(strings.TrimPrefix(msg, "vtpmd: "))
	}
	return nil
}

// reportReady tells a waiting parent how the start went; without one it does
// nothing.
func reportReady(err error) {
	fd, e := strconv.Atoi(os.Getenv(readyEnv))
	if e != nil {
		return
	}
	_ = os.Unsetenv(readyEnv)
	f := os.NewFile(uintptr(fd), "ready")
	msg := "ok"
	if err != nil {
		msg = err.Error()
	}
	_, _ = f.WriteString(msg) // the parent may be gone; nobody else to tell
	_ = f.Close()
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

// runAs gives up root for a user.
func runAs(name string) error {
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
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("--runas %s: %w", name, err)
	}
	return nil
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
