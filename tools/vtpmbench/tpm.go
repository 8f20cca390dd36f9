package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"xenvtpm/tools/vtpmd/tpmproc"
)

// contender is one running TPM with one connection to it. It is a go-tpm
// transport that sums the time between the sending of commands and their answers.
type contender struct {
	name    string
	proc    *tpmproc.Process
	fd      int // blocking, so that the client adds as little as can be
	buf     []byte
	last    []byte // the command that Send was given last
	timing  bool
	elapsed time.Duration
}

// kinds of TPM: program, options beside those that all share.
type program struct {
	name, path string
	nofsync    bool // a suboption that only vtpmd has; swtpm never syncs
}

func (p program) args(state, sock string) []string {
	dir := "dir=" + state
	if p.nofsync {
		dir += ",nofsync"
	}
	return []string{"socket", "--tpm2", "--tpmstate", dir, "--server", "type=unixio,path=" + sock,
		"--flags", "not-need-init,startup-clear"}
}

// startTPM runs a TPM on a state folder and connects as soon as it can be done.
func startTPM(p program, state, run string) (*contender, error) {
	sock := filepath.Join(run, p.name+".sock")
	if err := os.Remove(sock); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	proc, err := tpmproc.Start(nil, p.path, p.args(state, sock)...)
	if err != nil {
		return nil, err
	}
	c := &contender{name: p.name, proc: proc, buf: make([]byte, 4096)}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Microsecond) {
		if c.fd, err = dial(sock); err == nil {
			return c, nil
		}
		select {
		case <-proc.Done():
			return nil, fmt.Errorf("%s ended: %s", p.name, proc.Output())
		default:
		}
		if time.Now().After(end) {
			proc.Kill()
			return nil, fmt.Errorf("%s does not listen: %w", p.name, err)
		}
	}
}

// Send runs one command.
func (c *contender) Send(cmd []byte) ([]byte, error) {
	c.last = cmd
	from := time.Now()
	n, err := c.exchange(cmd)
	if c.timing {
		c.elapsed += time.Since(from)
	}
	return append([]byte(nil), c.buf[:n]...), err
}

func (c *contender) exchange(cmd []byte) (int, error) {
	if n, err := rawIO(syscall.SYS_WRITE, c.fd, cmd); err != nil || n < len(cmd) {
		return 0, fmt.Errorf("%s: wrote %d of %d octets: %w", c.name, n, len(cmd), err)
	}
	for n := 0; ; {
		more, err := rawIO(syscall.SYS_READ, c.fd, c.buf[n:])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, fmt.Errorf("%s: %w", c.name, err)
		case more == 0:
			return 0, fmt.Errorf("%s ended: %s", c.name, c.end())
		}
		if n += more; n >= 10 && n >= int(binary.BigEndian.Uint32(c.buf[2:])) {
			return n, nil
		}
	}
}

// end says what a process that ended printed.
func (c *contender) end() string {
	if c.proc == nil {
		return "connection closed"
	}
	return c.proc.Output()
}

// rawIO is read or write without telling the Go scheduler, which would add its own
// work to the time of every command. The collector waits for a command meanwhile;
// nothing else runs here.
func rawIO(call uintptr, fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	// SAFETY: p is alive until the call returned, and not empty.
	n, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// dial opens a blocking connection on which a TPM has two minutes to answer:
// RSA keys take long, a hanging TPM longer.
func dial(sock string) (int, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: sock})
	if err == nil {
		err = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 120})
	}
	if err != nil {
		return -1, errors.Join(err, syscall.Close(fd))
	}
	return fd, nil
}

// rss returns the resident memory of now and its highest value, in KiB.
func (c *contender) rss() (now, peak int, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.proc.PID()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "VmRSS:":
			now, err = strconv.Atoi(f[1])
		case "VmHWM:":
			peak, err = strconv.Atoi(f[1])
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return now, peak, nil
}

func (c *contender) close() error {
	return errors.Join(syscall.Close(c.fd), c.proc.Stop(20*time.Second))
}

// startTime measures from the start of a process to its first answer; the state is there already.
func startTime(p program, state, run string) (time.Duration, error) {
	from := time.Now()
	c, err := startTPM(p, state, run)
	if err != nil {
		return 0, err
	}
	_, err = c.Send([]byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 8})
	took := time.Since(from)
	return took, errors.Join(err, c.close())
}
