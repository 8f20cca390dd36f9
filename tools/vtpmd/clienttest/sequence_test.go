package clienttest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"xenvtpm/tools/vtpmd/tpmproc"
)

// recorder stands between QEMU and a TPM and writes down what each says: C and R are requests
// and responses of the control channel, > and < those of the data channel.
type recorder struct {
	t  *testing.T
	mu sync.Mutex
	// QEMU waits for each answer, so the order of entries is the order of events.
	log []string
	wg  sync.WaitGroup
}

func (r *recorder) add(mark string, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf("%s %X", mark, b))
}

// record serves QEMU's control connection at a path with the TPM at another.
func record(t *testing.T, path, tpm string) *recorder {
	t.Helper()
	r := &recorder{t: t}
	l := listenUnix(t, path)
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		c, err := l.AcceptUnix()
		if err != nil {
			t.Errorf("recorder: %v", err)
			return
		}
		defer func() { _ = c.Close() }() // QEMU is gone
		if err := r.control(c, tpm); err != nil {
			t.Errorf("recorder: %v", err)
		}
	}()
	return r
}

func (r *recorder) control(qemu *net.UnixConn, path string) error {
	tpm, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	defer func() { _ = tpm.Close() }() // after its last answer
	b, oob := make([]byte, 4096), make([]byte, 128)
	for {
		n, oobn, _, _, err := qemu.ReadMsgUnix(b, oob)
		if n <= 0 || err != nil {
			return nil // QEMU ended
		}
		r.add("C", b[:n])
		rights := oob[:0]
		if oobn > 0 {
			if rights, err = r.splice(oob[:oobn]); err != nil {
				return err
			}
		}
		_, _, err = tpm.WriteMsgUnix(b[:n], rights, nil)
		if err := errors.Join(err, closeRights(rights)); err != nil {
			return err
		}
		// An answer is shorter than what a socket breaks up.
		if n, err = tpm.Read(b); err != nil {
			return fmt.Errorf("the TPM's answer: %w", err)
		}
		r.add("R", b[:n])
		if _, err := qemu.Write(b[:n]); err != nil {
			return err
		}
	}
}

// splice takes QEMU's data socket out of a message, and gives one for the TPM to be sent instead.
func (r *recorder) splice(oob []byte) ([]byte, error) {
	msgs, err := syscall.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return nil, fmt.Errorf("%d control messages, %w", len(msgs), err)
	}
	fds, err := syscall.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("descriptors %v, %w", fds, err)
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var ends [2]net.Conn
	for i, fd := range []int{fds[0], pair[0]} {
		f := os.NewFile(uintptr(fd), "data")
		ends[i], err = net.FileConn(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		r.data(ends[0], ends[1])
	}()
	return syscall.UnixRights(pair[1]), nil
}

func closeRights(rights []byte) error {
	if len(rights) == 0 {
		return nil
	}
	msgs, err := syscall.ParseSocketControlMessage(rights)
	if err != nil {
		return err
	}
	fds, err := syscall.ParseUnixRights(&msgs[0])
	if err != nil {
		return err
	}
	return syscall.Close(fds[0])
}

// data passes commands and responses on until QEMU ends.
func (r *recorder) data(qemu, tpm net.Conn) {
	defer func() { _ = qemu.Close(); _ = tpm.Close() }() // nothing more to be sent
	for {
		for _, way := range []struct {
			mark     string
			from, to net.Conn
		}{{">", qemu, tpm}, {"<", tpm, qemu}} {
			b, err := message(way.from)
			if err != nil {
				return
			}
			r.add(way.mark, b)
			if _, err := way.to.Write(b); err != nil {
				return
			}
		}
	}
}

// message reads a TPM command or response.
func message(c io.Reader) ([]byte, error) {
	b := make([]byte, 4096)
	for n := 0; ; {
		k, err := c.Read(b[n:])
		if err != nil {
			return nil, err
		}
		if n += k; n >= 6 && n >= int(binary.BigEndian.Uint32(b[2:])) {
			return b[:n], nil
		}
	}
}

// What QEMU 7.2 and swtpm 0.7 were seen to say to each other, from before SeaBIOS to after Linux, but for
// the commands of those two. QEMU asks first whether this is a TPM 2.0.
const recordedSequence = `
C 00000010
R 00000000
> 80010000000A00000181
< 80010000000A00000101
C 00000001
R 000000000000FFFF
C 0000000E
R 00000000
C 0000001100000000
R 000000000000100000000AF800001000
C 0000000E
R 00000000
C 0000001100001000
R 000000000000100000000AF800001000
C 0000000200000000
R 00000000
C 00000004
R 0000000000000000
C 0000000500000000
R 00000000
> 80010000000C000001440000
< 80010000000A00000000
C 00000003
R 00000000
`

// sequence is what has to be seen with a device. The recording is of tpm-tis; tpm-crb
// differs in the size of its buffer.
func sequence(device string) []string {
	s := recordedSequence
	if !*reference {
		// LOCK_STORAGE, which swtpm has since 0.8.
		s = strings.Replace(s, "000000000000FFFF", "000000000001FFFF", 1)
	}
	if device == "tpm-crb" {
		s = strings.Replace(s, "C 0000001100001000\nR 0000000000001000", "C 0000001100000F80\nR 0000000000000F80", 1)
	}
	return strings.Split(strings.TrimSpace(s), "\n")
}

// TestQEMUControlSequence compares what QEMU says to vtpmd, and vtpmd to QEMU, with what
// was recorded of swtpm.
func TestQEMUControlSequence(t *testing.T) {
	need(t, "qemu-system-x86_64")
	version, err := exec.Command("qemu-system-x86_64", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{"tpm-tis", "tpm-crb"} {
		t.Run(device, func(t *testing.T) {
			state := t.TempDir()
			for range 2 { // a new TPM, then one with state
				got := recordBoot(t, state, device)
				if !strings.Contains(string(version), "version 7.2.") {
					t.Logf("%s\n%s", version, strings.Join(got, "\n"))
					checkSuccess(t, got)
					continue
				}
				if want := sequence(device); !slices.Equal(got, want) {
					t.Errorf("the sequence is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		})
	}
}

// checkSuccess is what can be said of a QEMU whose sequence is not known.
func checkSuccess(t *testing.T, got []string) {
	t.Helper()
	for i, line := range got {
		if strings.HasPrefix(line, "R ") && got[i-1] != "C 00000001" && !strings.HasPrefix(line, "R 00000000") {
			t.Errorf("%s is answered with %s", got[i-1], line)
		}
	}
	if len(got) < 10 || got[len(got)-2] != "C 00000003" {
		t.Errorf("the sequence ends early:\n%s", strings.Join(got, "\n"))
	}
}

// recordBoot boots SeaBIOS, which finds no disk and gives up, and returns what
// was said but for SeaBIOS's commands after Startup.
func recordBoot(t *testing.T, state, device string) []string {
	t.Helper()
	dir := shortDir(t)
	ctrl, between := filepath.Join(dir, "ctrl"), filepath.Join(dir, "between")
	tpm := startControl(t, state, ctrl)
	r := record(t, between, ctrl)
	p, err := tpmproc.Start(nil, "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35",
		"-accel", "tcg", "-m", "64", "-boot", "reboot-timeout=1",
		"-chardev", "socket,id=c,path="+between, "-tpmdev", "emulator,id=t,chardev=c", "-device", device+",tpmdev=t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if err := p.Wait(machineLimit); err != nil {
		t.Fatalf("QEMU: %v\n%s", err, p.Output())
	}
	r.wg.Wait()
	if err := tpm.Wait(machineLimit); err != nil {
		t.Fatalf("the TPM: %v\n%s", err, tpm.Output())
	}
	started, skip := false, false
	return slices.DeleteFunc(r.log, func(line string) bool {
		if started && strings.HasPrefix(line, ">") {
			skip = true
		}
		drop := skip && (line[0] == '>' || line[0] == '<')
		if strings.HasPrefix(line, "> 80010000000C00000144") {
			started = true
		}
		return drop
	})
}
