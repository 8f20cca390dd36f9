package clienttest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/vtpmd/tpmproc"
)

const robustIndex = 0x01500001

// control is a connection to the control channel.
func (d *unixDaemon) control(t *testing.T) *net.UnixConn {
	t.Helper()
	return dialUnix(t, d.ctrl)
}

func dialUnix(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // some tests close it themselves
	if err := c.SetDeadline(time.Now().Add(stepLimit)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.UnixConn)
}

// ask sends a control request, with descriptors, and wants a response.
func ask(t *testing.T, c *net.UnixConn, request, want string, fds ...int) {
	t.Helper()
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	if _, _, err := c.WriteMsgUnix(hx(request), rights, nil); err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	answered(t, c, want)
}

// answered wants a response to what was sent.
func answered(t *testing.T, c *net.UnixConn, want string) {
	t.Helper()
	got := make([]byte, len(want)/2)
	if n, err := io.ReadFull(c, got); err != nil || hex.EncodeToString(got) != want {
		t.Fatalf("answer %x, %v; want %s", got[:n], err, want)
	}
}

// closed wants the other side to end a connection without a word.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("%d octets, %v; want the end of the connection", n, err)
	}
}

// resumed wants the TPM to work after a new init, with a value in the index.
func (d *unixDaemon) resumed(t *testing.T, v uint64) {
	t.Helper()
	ask(t, d.control(t), "0000000200000000", "00000000")
	d.tpm(cmdStartup, cmdPCRRead16)
	if got := value(d.tpm(read(robustIndex))); got != v {
		t.Fatalf("NV holds %d, want %d", got, v)
	}
}

// A command whose state cannot be saved fails, and is not done after the next init
// either. What is on disk stays whole, and the TPM works again when there is room.
func TestNoRoom(t *testing.T) {
	for name, full := range map[string]func(t *testing.T, d *unixDaemon) (free func()){
		"quota":         quota,
		"quota nofsync": quota,
		"disk": func(t *testing.T, d *unixDaemon) func() {
			ballast := filepath.Join(d.state, "ballast")
			if err := os.WriteFile(ballast, make([]byte, smallDisk), 0o600); !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("filling the disk: %v", err)
			}
			return func() {
				if err := os.Remove(ballast); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			state := t.TempDir()
			if name == "disk" {
				if err := unix.Mount("tmpfs", state, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk)); err != nil {
					t.Skipf("a disk that can be filled: %v", err)
				}
				t.Cleanup(func() {
					if err := unix.Unmount(state, unix.MNT_DETACH); err != nil {
						t.Error(err)
					}
				})
			}
			if strings.HasSuffix(name, "nofsync") {
				state += ",nofsync"
			}
			d := startUnix(t, state, "--flags", "not-need-init,startup-clear")
			d.tpm(define(robustIndex), write(robustIndex, 1), write(robustIndex, 1))
			free := full(t, d)
			if rc := d.anyCode(write(robustIndex, 2)); rc == 0 {
				t.Error("a write that could not be saved succeeded")
			}
			if rc := d.anyCode(write(robustIndex, 3)); rc == 0 {
				t.Error("the write after it succeeded")
			}
			free()
			d.resumed(t, 1)
			d.tpm(write(robustIndex, 4))
			d.Kill()
			if v := value(startUnix(t, state, "--flags", "not-need-init,startup-clear").stopAfter(t, read(robustIndex))); v != 4 {
				t.Errorf("NV holds %d, want 4", v)
			}
			if !strings.Contains(d.Output(), "state is not saved") {
				t.Errorf("the log does not say it: %s", d.Output())
			}
		})
	}
}

// quota makes files longer than 100 octets impossible.
func quota(t *testing.T, d *unixDaemon) func() {
	var old unix.Rlimit
	if err := unix.Prlimit(d.PID(), unix.RLIMIT_FSIZE, nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(d.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 100, Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Prlimit(d.PID(), unix.RLIMIT_FSIZE, &old, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// smallDisk has room for a few states, in octets.
const smallDisk = 256 << 10

// A folder that vtpmd may not write is refused at the start, by its name; one
// that becomes read-only fails the writes that come.
func TestReadOnlyFolder(t *testing.T) {
	dir, args := t.TempDir(), []string{"--flags", "not-need-init,startup-clear"}
	allow := func(mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 { // root may write anything, so somebody else has to try
		if _, err := user.Lookup("nobody"); err != nil {
			t.Skip(err)
		}
		var err error
		if dir, err = os.MkdirTemp("/tmp", "readonly"); err != nil { // t.TempDir is below a folder of root's
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a test folder
		args = append(args, "--runas", "nobody")
		allow(0o755)
	} else {
		allow(0o500)
		t.Cleanup(func() { allow(0o700) })
	}
	run, err := os.MkdirTemp("/tmp", "readonly")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) }) // a test folder
	if err := os.Chmod(run, 0o777); err != nil {
		t.Fatal(err)
	}
	all := append([]string{"socket", "--tpm2", "--tpmstate", "dir=" + dir, "--server", "type=unixio,path=" + filepath.Join(run, "data"),
		"--ctrl", "type=unixio,path=" + filepath.Join(run, "ctrl")}, args...)
	if out := refusedWith(t, all...); !strings.Contains(out, dir) {
		t.Errorf("the message does not name the folder: %s", out)
	}
	allow(0o777)
	d := &unixDaemon{client: client{t: t, dir: run}, data: filepath.Join(run, "data"), ctrl: filepath.Join(run, "ctrl")}
	if d.Process, err = tpmproc.Start(nil, vtpmd, all...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Kill)
	waitFor(t, d.Process, d.data)
	d.tpm(define(robustIndex), write(robustIndex, 1))
	allow(0o555)
	if rc := d.anyCode(write(robustIndex, 2)); rc == 0 {
		t.Error("a write that could not be saved succeeded")
	}
	allow(0o777)
	d.resumed(t, 1)
	d.tpm(write(robustIndex, 3))
}

// What a killed vtpmd leaves beside the state is not looked at.
func TestLeftOver(t *testing.T) {
	state := t.TempDir()
	d := startUnix(t, state, "--flags", "not-need-init,startup-clear")
	d.tpm(define(robustIndex), write(robustIndex, 1))
	d.Kill()
	good, err := os.ReadFile(filepath.Join(state, "tpm2-00.permall"))
	if err != nil {
		t.Fatal(err)
	}
	for i, left := range [][]byte{nil, good[:len(good)/2], flip(good, 40), bytes.Repeat([]byte("x"), 2<<20)} {
		if err := os.WriteFile(filepath.Join(state, "tpm2-00.permall.tmp"), left, 0o600); err != nil {
			t.Fatal(err)
		}
		d := startUnix(t, state, "--flags", "not-need-init,startup-clear")
		if v := value(d.tpm(read(robustIndex))); v != uint64(i)+1 {
			t.Errorf("NV holds %d, want %d", v, i+1)
		}
		d.tpm(write(robustIndex, uint64(i)+2))
		d.Kill()
	}
}
