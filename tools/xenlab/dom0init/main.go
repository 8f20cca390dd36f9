// Command dom0init is process 1 of the lab's dom0. It reaps orphans while a
// child of its own does the work, and it is also the hotplug script that
// libxl calls for disks.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/xenlab/dom0"
	"xenvtpm/tools/xenlab/pid1"
)

func main() {
	switch {
	case filepath.Base(os.Args[0]) == filepath.Base(dom0.BlockPath):
		if len(os.Args) < 2 {
			fail(fmt.Errorf("block: no action"))
		}
		if err := dom0.Block(os.Args[1], os.Getenv("XENBUS_PATH")); err != nil {
			fail(err)
		}
	case os.Getpid() == 1:
		err := initMain()
		fmt.Fprintln(os.Stderr, "xenlab:", err)
		time.Sleep(time.Second) // for the console
		// The host sees at once that the machine is off, and says so.
		fail(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	default:
		dom0.Main()
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// initMain starts the worker and waits for every process that ends. It returns when the worker has
// ended, which it never does by itself.
func initMain() error {
	if err := pid1.Mount(); err != nil {
		return err
	}
	worker, err := os.StartProcess("/proc/self/exe", []string{"dom0init", "worker"}, &os.ProcAttr{
		Env:   dom0.Environment(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err == unix.ECHILD {
			return fmt.Errorf("no process is left")
		}
		if err == nil && pid == worker.Pid {
			return fmt.Errorf("the worker ended with status %#x", uint32(status))
		}
	}
}
