package clienttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/vtpmd/tpmproc"
)

// terminal makes a pair of raw character devices, one end of which vtpmd may have.
func terminal(t *testing.T) (ours *os.File, theirs string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skip(err)
	}
	ours = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { _ = ours.Close() }) // vtpmd has ended
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetTermios(fd, unix.TCSETS, &unix.Termios{Cflag: unix.CS8 | unix.CREAD, Cc: [19]uint8{unix.VMIN: 1}})
	}
	if err == nil {
		err = ours.SetDeadline(time.Now().Add(stepLimit))
	}
	if err != nil {
		t.Fatal(err)
	}
	return ours, fmt.Sprintf("/dev/pts/%d", n)
}

// A character device that is there already, by path and as a descriptor.
func TestCharacterDevice(t *testing.T) {
	for _, byPath := range []bool{true, false} {
		ours, theirs := terminal(t)
		args, files := []string{"--chardev", theirs}, []*os.File(nil)
		if !byPath {
			f, err := os.OpenFile(theirs, os.O_RDWR|syscall.O_NOCTTY, 0)
			if err != nil {
				t.Fatal(err)
			}
			args, files = []string{"-f3"}, []*os.File{f}
		}
		run := t.TempDir()
		d := &unixDaemon{client: client{t: t, dir: run}, state: run, ctrl: filepath.Join(run, "ctrl")}
		var err error
		d.Process, err = tpmproc.Start(files, vtpmd, append([]string{"chardev", "--tpm2", "--tpmstate", "dir=" + run, "--ctrl", "type=unixio,path=" + d.ctrl,
			"--locality", "allow-set-locality"}, args...)...)
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Kill)
		waitFor(t, d.Process, d.ctrl)
		send := func(cmd string) string {
			t.Helper()
			if _, err := ours.Write(hx(cmd)); err != nil {
				t.Fatal(err)
			}
			rsp, err := message(ours)
			if err != nil {
				t.Fatalf("%v\n%s", err, d.Output())
			}
			return fmt.Sprintf("%x", rsp)
		}
		if rsp := send("80010000000c000001440000"); rsp != "80010000000a00000101" {
			t.Errorf("before init: %s", rsp)
		}
		c := d.control(t)
		ask(t, c, "0000000200000000", "00000000")
		for _, cmd := range []string{"80010000000c000001440000", "80010000000b2000100003"} { // Startup; a locality
			if rsp := send(cmd); rsp != "80010000000a00000000" {
				t.Errorf("%s: %s", cmd, rsp)
			}
		}
		ask(t, c, "00000003", "00000000")
		if err := d.Wait(60 * time.Second); err != nil {
			t.Errorf("after shutdown: %v\n%s", err, d.Output())
		}
		if _, err := os.Stat(d.ctrl); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the control socket was left: %v", err)
		}
	}
	for want, args := range map[string][]string{
		"one of":                 {"chardev", "--tpm2", "--tpmstate", "dir=" + t.TempDir()},
		"--fd":                   {"chardev", "--tpm2", "--tpmstate", "dir=" + t.TempDir(), "--vtpm-proxy", "-p", "1"},
		"not a character device": {"chardev", "--tpm2", "--tpmstate", "dir=" + t.TempDir(), "-c", "/etc/passwd"},
		"vtpmd chardev":          {"socket", "--tpm2", "--tpmstate", "dir=" + t.TempDir(), "-c", "/dev/null"},
		"cuse":                   {"cuse", "-n", "x"},
		"TPM 2.0 only":           {"chardev", "--tpmstate", "dir=" + t.TempDir(), "--vtpm-proxy"},
		"vtpmx":                  {"proxy", "--tpm2", "--tpmstate", "dir=" + t.TempDir()},
	} {
		if want == "vtpmx" {
			if _, err := os.Stat("/dev/vtpmx"); err == nil {
				continue // that would make a device of this machine
			}
		}
		if out := refusedWith(t, args...); !strings.Contains(out, want) {
			t.Errorf("%v: %s", args, out)
		}
	}
}
