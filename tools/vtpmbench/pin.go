package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// confine lets all threads of the processes run on the given processors only. A command that takes five
// microseconds where client and TPM share a processor takes thirty where one has to interrupt the other's, and
// which of the two happens is the scheduler's choice, for seconds at a time.
func confine(cpus *unix.CPUSet, pids ...int) error {
	for _, pid := range pids {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return err
		}
		for _, e := range tasks {
			tid, err := strconv.Atoi(e.Name())
			if err != nil {
				return err
			}
			// A thread that has just ended needs no processor.
			if err := unix.SchedSetaffinity(tid, cpus); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("confining thread %d of process %d: %w", tid, pid, err)
			}
		}
	}
	return nil
}

// oneOf is the last of the processors: the first often serves the machine's interrupts.
func oneOf(all *unix.CPUSet) *unix.CPUSet {
	var one unix.CPUSet
	for cpu := len(all)*64 - 1; cpu >= 0; cpu-- {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	return &one
}
