package clienttest

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xenvtpm/tools/vtpmd/tpmproc"
)

// vtpmd is the program under test, built once by TestMain.
var vtpmd string

// reference checks the tests themselves: they should pass with another TPM too,
// save where the specification and that TPM differ.
var reference = flag.Bool("reference", false, "run the clients' tests with swtpm instead of vtpmd")

// A limit on every step keeps a hanging TPM from hanging the tests. RSA keys of
// 4096 bits on a busy machine take longest.
const stepLimit = 2 * time.Minute

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vtpmd-clients")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	vtpmd = filepath.Join(dir, "vtpmd")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	err = tpmproc.Build(ctx, vtpmd)
	cancel()
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// need skips a test whose client is not installed, or fails where clients are required.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if required() {
			t.Fatalf("%s is not installed, and clients are required here", p)
		}
		t.Skipf("%s is not installed", p)
	}
}

func required() bool {
	return os.Getenv("CI") != "" || os.Getenv("XENVTPM_REQUIRE_CLIENTS") != ""
}

// daemon is a vtpmd that listens on two TCP ports, the second one above the
// first, as TCTI swtpm wants them.
type daemon struct {
	*tpmproc.Process
	port int
	dir  string // of its state
}

// listenPair opens two neighbouring ports. The descriptors go to the child, so
// that nobody can take the ports in between.
func listenPair(t *testing.T) (port int, files []*os.File) {
	t.Helper()
	for range 100 {
		a, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port = a.Addr().(*net.TCPAddr).Port
		b, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port+1))
		if err != nil {
			_ = a.Close() // the neighbour is taken; try elsewhere
			continue
		}
		for _, l := range []net.Listener{a, b} {
			f, err := l.(*net.TCPListener).File()
			if err := errors.Join(err, l.Close()); err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		return port, files
	}
	t.Fatal("found no two free ports side by side")
	return 0, nil
}

// start runs vtpmd with a started TPM and stops it at the end of the test.
func start(t *testing.T, args ...string) *daemon {
	t.Helper()
	return startIn(t, t.TempDir(), append([]string{"--flags", "not-need-init,startup-clear"}, args...)...)
}

// startIn runs vtpmd on a state folder.
func startIn(t *testing.T, dir string, args ...string) *daemon {
	t.Helper()
	d := &daemon{dir: dir}
	var files []*os.File
	d.port, files = listenPair(t)
	program, sockets := vtpmd, []string{"--server", "fd=3", "--ctrl", "type=tcp,fd=4"}
	if *reference {
		// swtpm takes no listening socket.
		for _, f := range files {
			_ = f.Close() // nothing was written
		}
		files = nil
		program, sockets = "swtpm", []string{"--server", fmt.Sprintf("type=tcp,port=%d", d.port), "--ctrl", fmt.Sprintf("type=tcp,port=%d", d.port+1)}
	}
	p, err := tpmproc.Start(files, program, slices.Concat([]string{"socket", "--tpm2", "--tpmstate", "dir=" + dir}, sockets, args)...)
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	d.Process = p
	if *reference {
		time.Sleep(300 * time.Millisecond) // until it listens; a probing connection would be taken for a client
	}
	t.Cleanup(func() { d.end(t) })
	return d
}

// end stops a daemon and shows what it said when the test failed. Stopping must work, under the filter too.
func (d *daemon) end(t *testing.T) {
	t.Helper()
	if err := d.Stop(20 * time.Second); err != nil {
		t.Errorf("vtpmd: %v", err)
	}
	if t.Failed() && d.Output() != "" {
		t.Logf("vtpmd said:\n%s", d.Output())
	}
}

// dial connects to a daemon's data channel.
func (d *daemon) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", d.port))
	if err != nil {
		t.Fatalf("%v\n%s", err, d.Output())
	}
	t.Cleanup(func() { _ = c.Close() }) // some tests close it themselves
	return c
}

// send runs one TPM command on a connection.
func send(c net.Conn, cmd []byte) ([]byte, error) {
	if err := c.SetDeadline(time.Now().Add(stepLimit)); err != nil {
		return nil, err
	}
	if _, err := c.Write(cmd); err != nil {
		return nil, err
	}
	var head [10]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[2:])
	if n < 10 || n > 4096 {
		return nil, fmt.Errorf("response has size %d", n)
	}
	rsp := append(head[:], make([]byte, n-10)...)
	_, err := io.ReadFull(c, rsp[10:])
	return rsp, err
}

func code(rsp []byte) uint32 { return binary.BigEndian.Uint32(rsp[6:]) }

// mustSend wants TPM_RC_SUCCESS.
func mustSend(t *testing.T, c net.Conn, cmd []byte) []byte {
	t.Helper()
	rsp, err := send(c, cmd)
	if err != nil {
		t.Fatalf("%x: %v", cmd, err)
	}
	if code(rsp) != 0 {
		t.Fatalf("%x: response code 0x%x", cmd, code(rsp))
	}
	return rsp
}

// client runs programs in a folder of their own with an environment that leads
// them to a daemon.
type client struct {
	t   *testing.T
	dir string
	env []string
}

// run wants success and returns what the program printed.
func (c *client) run(program string, args ...string) string {
	c.t.Helper()
	out, err := c.try(program, args...)
	if err != nil {
		c.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return out
}

// fails wants the program to fail with a message that has a text in it.
func (c *client) fails(text, program string, args ...string) {
	c.t.Helper()
	out, err := c.try(program, args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(out, text) {
		c.t.Fatalf("%s %s: %v, want a failure with %q\n%s", program, strings.Join(args, " "), err, text, out)
	}
}

func (c *client) try(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = c.dir
	cmd.Env = append(surroundings(c.dir), c.env...)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return string(out), err
}

// surroundings is the environment of a client, in which nothing depends on whose
// machine this is: messages are English, settings below the home folder are its own,
// and no variable leads a TPM's client elsewhere.
func surroundings(home string) (env []string) {
	for _, kv := range os.Environ() {
		if !slices.ContainsFunc([]string{"TPM", "TSS", "TCTI", "LC_", "LANG", "XDG_", "TZ=", "HOME="}, func(p string) bool { return strings.HasPrefix(kv, p) }) {
			env = append(env, kv)
		}
	}
	return append(env, "LC_ALL=C", "TZ=UTC", "HOME="+home, "XDG_CONFIG_HOME="+home)
}

func (c *client) path(name string) string { return filepath.Join(c.dir, name) }

func (c *client) write(name, content string) {
	c.t.Helper()
	if err := os.WriteFile(c.path(name), []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read(name string) string {
	c.t.Helper()
	b, err := os.ReadFile(c.path(name))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// same wants two files to be equal.
func (c *client) same(a, b string) {
	c.t.Helper()
	if x, y := c.read(a), c.read(b); x != y {
		c.t.Fatalf("%s is %x, %s is %x", a, x, b, y)
	}
}
