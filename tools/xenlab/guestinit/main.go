// Command guestinit is process 1 of the lab's Debian guest, and also the
// program that its kernel calls when the toolstack asks for a shutdown or a reboot.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/xenlab/guest"
	"xenvtpm/tools/xenlab/pid1"
)

func main() {
	switch filepath.Base(os.Args[0]) {
	case "poweroff":
		fmt.Fprintln(os.Stderr, guest.PowerOff())
		os.Exit(1)
	case "reboot":
		fmt.Fprintln(os.Stderr, guest.Reboot())
		os.Exit(1)
	}
	if err := pid1.Mount(); err != nil {
		fmt.Println("guestinit:", err)
	}
	if err := pid1.LoadModules(); err != nil {
		fmt.Println("guestinit:", err)
	}
	guest.Main(os.Stdout)
	cmdline, _ := os.ReadFile("/proc/cmdline") // guest.Main has reported an error already
	if strings.Contains(string(cmdline), "lab.then=poweroff") {
		fmt.Println("guestinit:", guest.PowerOff())
	}
	reap()
}

// reap waits for the programs that the kernel starts, for ever.
func reap() {
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil {
			time.Sleep(50 * time.Millisecond)
		}
	}
}
