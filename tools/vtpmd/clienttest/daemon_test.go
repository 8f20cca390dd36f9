package clienttest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"xenvtpm/tools/vtpmd/tpmproc"
)

// TestCrash kills vtpmd at random moments of a stream of NV writes. What was
// answered must be there afterwards, and nothing but what was sent.
func TestCrash(t *testing.T) {
	state := t.TempDir()
	const index = 0x01500001
	d := startUnix(t, state, "--flags", "not-need-init,startup-clear")
	d.tpm(define(index), write(index, 0))
	d.stopNow(t)
	acked, sent := uint64(0), uint64(0)
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	for round := range rounds {
		d := startUnix(t, state, "--flags", "not-need-init,startup-clear")
		v := value(d.tpm(read(index)))
		if v < acked || v > sent {
			t.Fatalf("round %d: NV holds %d after a crash; %d was answered, %d sent", round, v, acked, sent)
		}
		acked, sent = v, v
		kill := time.AfterFunc(time.Duration(rand.IntN(12_000))*time.Microsecond, func() { d.Kill() })
		c, err := net.Dial("unix", d.data)
		for err == nil {
			sent++
			var rsp []byte
			if rsp, err = send(c, write(index, sent)); err == nil {
				if code(rsp) != 0 {
					t.Fatalf("round %d: response code 0x%x", round, code(rsp))
				}
				acked = sent
			}
		}
		if c != nil {
			_ = c.Close() // the other side is dead
		}
		kill.Stop()
		d.Kill()
	}
	if acked == 0 {
		t.Error("not a single write was answered: the test shows nothing")
	}
	if tmp, _ := filepath.Glob(filepath.Join(state, "*")); len(tmp) > 4 {
		t.Errorf("files pile up: %v", tmp)
	}
}

// A second process must not serve the same state.
func TestLocked(t *testing.T) {
	state := t.TempDir()
	d := startUnix(t, state, "--flags", "not-need-init,startup-clear")
	d.tpm(define(0x01500001))
	if out := refused(t, state, "--flags", "not-need-init"); !strings.Contains(out, "lock") && !strings.Contains(out, "in use") {
		t.Errorf("second process: %s", out)
	}
	d.tpm(write(0x01500001, 1)) // the first one goes on
	d.Kill()
	startUnix(t, state, "--flags", "not-need-init,startup-clear").stopNow(t) // a dead process holds no lock
}

// Damaged state is refused, whichever octet is damaged, and left as it is.
func TestDamagedState(t *testing.T) {
	state := t.TempDir()
	d := startUnix(t, state, "--flags", "not-need-init,startup-clear")
	d.tpm(define(0x01500001), write(0x01500001, 1))
	d.stopNow(t)
	file := filepath.Join(state, "tpm2-00.permall")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"empty": {}, "short": good[:len(good)/2], "one missing": good[:len(good)-1], "longer": append(bytes.Clone(good), 0),
		"head": flip(good, 0), "middle": flip(good, len(good)/2), "end": flip(good, len(good)-1),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if out := refused(t, state, "--flags", "not-need-init,startup-clear"); !strings.Contains(out, file) {
				t.Errorf("the message does not name the file: %s", out)
			}
			if left, err := os.ReadFile(file); err != nil || !bytes.Equal(left, bad) {
				t.Errorf("the damaged file was changed (%v)", err)
			}
		})
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	startUnix(t, state, "--flags", "not-need-init,startup-clear").stopNow(t)
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 0x10
	return b
}

// Without an init on the control channel a bad state is told there.
func TestDamagedStateOnInit(t *testing.T) {
	need(t, "swtpm_ioctl")
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "tpm2-00.permall"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := startUnix(t, state)
	d.ioctlFails("-i")
	if rc := d.anyCode(cmdStartup); rc != 0x101 {
		t.Errorf("TPM answers 0x%x", rc)
	}
	d.stopNow(t) // now all its output is here
	if !strings.Contains(d.Output(), "tpm2-00.permall") {
		t.Errorf("log: %s", d.Output())
	}
}

func TestDaemonPidAndSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			run := t.TempDir()
			pidFile, ctrl, log := filepath.Join(run, "pid"), filepath.Join(run, "ctrl"), filepath.Join(run, "log")
			p, err := tpmproc.Start(nil, vtpmd, "socket", "--tpm2", "--tpmstate", "dir="+run, "--ctrl", "type=unixio,path="+ctrl,
				"--daemon", "--pid", "file="+pidFile, "--log", "file="+log+",prefix=[x] ", "--flags", "not-need-init,startup-clear")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				// A daemon that ended well has removed its file.
				if text, err := os.ReadFile(pidFile); err == nil {
					if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
						_ = syscall.Kill(pid, syscall.SIGKILL) // the test has failed already
					}
				}
			})
			if err := p.Wait(20 * time.Second); err != nil {
				t.Fatalf("the parent: %v\n%s", err, p.Output())
			}
			// When the parent is gone the daemon serves.
			if c, err := net.Dial("unix", ctrl); err != nil {
				t.Error(err)
			} else {
				_ = c.Close() // nothing was sent
			}
			text, err := os.ReadFile(pidFile)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil || pid == p.PID() {
				t.Fatalf("pid file %q, parent %d", text, p.PID())
			}
			if err := syscall.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(20 * time.Second); !gone(pid); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					t.Fatal("the daemon did not end")
				}
			}
			for _, f := range []string{pidFile, ctrl} {
				if _, err := os.Stat(f); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s was left behind", f)
				}
			}
		})
	}
	// A daemon that can't serve says so and fails in the foreground.
	if out := refused(t, "/nonexistent/folder", "--daemon"); !strings.Contains(out, "/nonexistent/folder") {
		t.Errorf("message: %s", out)
	}
}

// With --runas everything belongs to the user, the process included.
func TestRunAs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can change the user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, err := strconv.Atoi(nobody.Uid)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "runas") // t.TempDir is below a folder of root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a test folder
	if err := os.Chown(dir, uid, -1); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	p, err := tpmproc.Start(nil, vtpmd, "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+data,
		"--runas", "nobody", "--flags", "not-need-init,startup-clear", "--log", "file="+filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	waitFor(t, p, data)
	d := &unixDaemon{client: client{t: t, dir: dir}, Process: p, data: data}
	d.tpm(define(0x01500001))
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if st, err := f.Info(); err != nil || int(st.Sys().(*syscall.Stat_t).Uid) != uid {
			t.Errorf("%s: %v, want an owner of %d", f.Name(), st, uid)
		}
	}
	if st, err := os.Stat(fmt.Sprintf("/proc/%d", p.PID())); err != nil || int(st.Sys().(*syscall.Stat_t).Uid) != uid {
		t.Errorf("the process: %v, %v", st, err)
	}
}

// gone reports whether a process has ended; one that nobody waited for counts.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

func TestPrint(t *testing.T) {
	state := t.TempDir()
	output := func(args ...string) string {
		t.Helper()
		c := client{t: t, dir: state}
		return strings.TrimSpace(c.run(vtpmd, append([]string{"socket", "--tpm2", "--tpmstate", "dir=" + state}, args...)...))
	}
	if got := output("--print-states"); got != `{ "type": "swtpm", "states": [] }` {
		t.Errorf("no state: %s", got)
	}
	d := startUnix(t, state, "--flags", "not-need-init,startup-clear")
	if need := "swtpm_ioctl"; lookup(need) {
		d.ioctl("-v")
	}
	d.stopNow(t)
	var states struct {
		States []struct {
			Name string
			Size int64
		}
	}
	if err := json.Unmarshal([]byte(output("--print-states")), &states); err != nil || len(states.States) < 1 || states.States[0].Name != "permall" || states.States[0].Size == 0 {
		t.Errorf("states: %+v, %v", states, err)
	}
	var caps struct {
		Type     string
		Features []string
	}
	if err := json.Unmarshal([]byte(output("--print-capabilities")), &caps); err != nil || caps.Type != "swtpm" || len(caps.Features) < 8 {
		t.Errorf("capabilities: %+v, %v", caps, err)
	}
}

func lookup(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// The filter is set in every thread, and said so by the kernel.
func TestFilterIsActive(t *testing.T) {
	for action, want := range map[string]string{"kill": "2", "none": "0"} {
		d := startUnix(t, t.TempDir(), "--seccomp", "action="+action, "--flags", "not-need-init,startup-clear")
		d.tpm(cmdPCRRead16)
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", d.PID()))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("%v, %v", tasks, err)
		}
		for _, f := range tasks {
			b, err := os.ReadFile(f)
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
				continue // the thread ended
			}
			_, rest, ok := strings.Cut(string(b), "\nSeccomp:\t")
			if !ok || !strings.HasPrefix(rest, want+"\n") {
				t.Errorf("action %s: %s: Seccomp %.2q, %v", action, f, rest, err)
			}
		}
		d.stopNow(t)
	}
}

// The data socket in its many forms.
func TestServers(t *testing.T) {
	a, b := freePort(t), freePort(t)
	state := t.TempDir()
	ask := func(network, address string) (net.Conn, []byte) {
		t.Helper()
		var c net.Conn
		var err error
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if c, err = net.Dial(network, address); err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { _ = c.Close() })
		return c, mustSend(t, c, cmdPCRRead16)
	}
	serve := func(args ...string) *tpmproc.Process {
		t.Helper()
		p, err := tpmproc.Start(nil, vtpmd, append([]string{"socket", "--tpm2", "--tpmstate", "dir=" + state, "--flags", "not-need-init,startup-clear"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		return p
	}
	local := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

	// --terminate ends with the connection.
	p := serve("--server", fmt.Sprintf("type=tcp,port=%d,bindaddr=127.0.0.1", a), "-t")
	c, _ := ask("tcp", local(a))
	_ = c.Close() // that is the event
	if err := p.Wait(20 * time.Second); err != nil {
		t.Errorf("--terminate: %v\n%s", err, p.Output())
	}
	// disconnect: one command a connection. -p means that too.
	for _, args := range [][]string{{"--server", fmt.Sprintf("type=tcp,port=%d,disconnect", b)}, {"-p", strconv.Itoa(b)}} {
		p = serve(args...)
		for range 3 {
			c, _ := ask("tcp", local(b))
			if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("after the answer: %d octets, %v", n, err)
			}
		}
		if err := p.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
	}
	// -f: a connected socket; the end of it is the end of the TPM.
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := os.NewFile(uintptr(pair[0]), "theirs"), os.NewFile(uintptr(pair[1]), "ours")
	conn, err := net.FileConn(ours)
	if err := errors.Join(err, ours.Close()); err != nil {
		t.Fatal(err)
	}
	p, err = tpmproc.Start([]*os.File{theirs}, vtpmd, "socket", "--tpm2", "--tpmstate", "dir="+state, "--flags", "not-need-init,startup-clear", "-f", "3")
	if err := errors.Join(err, theirs.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	mustSend(t, conn, cmdPCRRead16)
	_ = conn.Close() // that is the event
	if err := p.Wait(20 * time.Second); err != nil {
		t.Errorf("-f: %v\n%s", err, p.Output())
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // only its number was wanted
	return l.Addr().(*net.TCPAddr).Port
}

// A command whose size field lies ends the connection, not the TPM. Any octets may come.
func TestHostileData(t *testing.T) {
	d := startUnix(t, t.TempDir(), "--flags", "not-need-init,startup-clear")
	for i := range 200 {
		c, err := net.Dial("unix", d.data)
		if err != nil {
			t.Fatal(err)
		}
		junk := make([]byte, rand.IntN(5000))
		for j := range junk {
			junk[j] = byte(rand.Uint32())
		}
		if i%2 == 0 && len(junk) > 10 { // a right header before junk
			copy(junk, hx("8001"))
			binary.BigEndian.PutUint32(junk[2:], uint32(len(junk)))
			binary.BigEndian.PutUint32(junk[6:], 0x11f+rand.Uint32N(0x90))
		}
		_, _ = c.Write(junk) // vtpmd may have closed it already
		_ = c.Close()
	}
	d.tpm(cmdPCRRead16)
}

// Linear state in one file, as backend-uri=file:// has it.
func TestLinearFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nvram")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, nofsync := range []string{"", ",nofsync"} {
		run := t.TempDir()
		data := filepath.Join(run, "d")
		p, err := tpmproc.Start(nil, vtpmd, "socket", "--tpm2", "--tpmstate", "backend-uri=file://"+file+nofsync,
			"--server", "type=unixio,path="+data, "--flags", "not-need-init,startup-clear")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		waitFor(t, p, data)
		d := &unixDaemon{client: client{t: t, dir: run}, Process: p, data: data}
		if i == 0 {
			d.tpm(define(0x01500001), write(0x01500001, 77))
		}
		if v := value(d.tpm(read(0x01500001))); v != 77 {
			t.Errorf("NV holds %d", v)
		}
		p.Kill()
	}
}
