package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// awakeArg makes this program keep a processor busy with what no other task wants.
const awakeArg = "-keep-a-processor-awake"

// stayAwake runs in the scheduler's idle class, which every other task displaces at
// once, until it is killed.
func stayAwake() error {
	runtime.LockOSThread()
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0); err != nil {
		return err
	}
	for parent := os.Getppid(); os.Getppid() == parent; {
		for from := time.Now(); time.Since(from) < 100*time.Millisecond; {
			continue
		}
	}
	return nil
}

// keepAwake starts one such process per processor. Without them a processor that waits
// for an answer sleeps after some ten microseconds, and a virtual one takes fifty and
// more to wake: what takes a little longer then seems to take much longer.
func keepAwake() (stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var all []*exec.Cmd
	stop = func() error {
		var errs []error
		for _, p := range all {
			errs = append(errs, p.Process.Kill())
			var exit *exec.ExitError
			if err := p.Wait(); !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
				errs = append(errs, fmt.Errorf("a process that keeps a processor awake ended by itself: %w", err))
			}
		}
		return errors.Join(errs...)
	}
	for range runtime.NumCPU() {
		p := exec.Command(self, awakeArg)
		p.Stderr = os.Stderr
		if err := p.Start(); err != nil {
			return nil, errors.Join(err, stop())
		}
		all = append(all, p)
	}
	return stop, nil
}
