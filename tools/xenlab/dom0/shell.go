package dom0

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// shellStep runs u-root's shell on the console until the person leaves it.
func shellStep(l *Lab) error {
	tty, err := os.OpenFile("/dev/hvc0", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer tty.Close()
	l.Logf("images are in %s, the guest in %s; leave the shell with exit", ImageDir, GuestDir)
	cmd := exec.Command("/bbin/gosh")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TERM=vt100")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Run(); err != nil {
		l.Logf("the shell ended: %v", err)
	}
	return nil
}
