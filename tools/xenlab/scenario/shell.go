package scenario

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/xenlab/machine"
	"xenvtpm/tools/xenlab/report"
)

// Shell is a machine for a person: dom0 with u-root's shell on the console, all images that were built, and the guest.
func (w *Workshop) Shell() (*Scenario, error) {
	images, err := w.built()
	if err != nil {
		return nil, err
	}
	return &Scenario{
		Name: "shell", About: "a shell in dom0", Images: images, Guest: true, TPM: machine.TPM20, Interactive: true,
		Phases: []Phase{{Name: "shell", Timeout: 12 * time.Hour, Job: report.Job{Step: "shell", Images: imageNames(images)}}},
	}, nil
}

// terminal connects the person's terminal to the machine's console until stop is called.
func terminal(console io.ReadWriter) (stop func(), err error) {
	fd := int(os.Stdin.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("xenlab: the shell needs a terminal: %w", err)
	}
	raw := *old
	raw.Iflag &^= unix.ICRNL | unix.IXON
	raw.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("xenlab: %w", err)
	}
	// Both end with the machine, or with the program.
	go func() { _, _ = io.Copy(console, os.Stdin) }()
	go func() { _, _ = io.Copy(os.Stdout, console) }()
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }, nil
}
