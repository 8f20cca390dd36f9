package clienttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xenvtpm/tools/vtpmd/tpmproc"
)

// unixDaemon is a vtpmd on Unix sockets, as QEMU and libvirt start it.
type unixDaemon struct {
	client
	*tpmproc.Process
	state, data, ctrl string
}

func startUnix(t *testing.T, state string, args ...string) *unixDaemon {
	t.Helper()
	run := t.TempDir()
	d := &unixDaemon{client: client{t: t, dir: run}, state: state, data: filepath.Join(run, "data"), ctrl: filepath.Join(run, "ctrl")}
	all := append([]string{"socket", "--tpm2", "--tpmstate", "dir=" + state, "--server", "type=unixio,path=" + d.data,
		"--ctrl", "type=unixio,path=" + d.ctrl}, args...)
	var err error
	if d.Process, err = tpmproc.Start(nil, vtpmd, all...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(20 * time.Second); err != nil {
			t.Errorf("vtpmd: %v", err)
		}
		if t.Failed() {
			t.Logf("vtpmd said:\n%s", d.Output())
		}
	})
	waitFor(t, d.Process, d.ctrl)
	return d
}

// waitFor waits until somebody listens on a socket.
func waitFor(t *testing.T, p *tpmproc.Process, path string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close() // nothing was sent
			return
		}
		select {
		case <-p.Done():
			t.Fatalf("vtpmd ended: %s", p.Output())
		default:
		}
	}
	t.Fatalf("%s did not appear: %s", path, p.Output())
}

// ioctl runs swtpm_ioctl on the control socket.
func (d *unixDaemon) ioctl(args ...string) string {
	d.t.Helper()
	return d.run("swtpm_ioctl", append([]string{"--unix", d.ctrl}, args...)...)
}

func (d *unixDaemon) ioctlFails(args ...string) {
	d.t.Helper()
	d.fails("", "swtpm_ioctl", append([]string{"--unix", d.ctrl}, args...)...)
}

// tpm sends commands and wants success for each; it returns the last response.
func (d *unixDaemon) tpm(cmds ...[]byte) []byte {
	d.t.Helper()
	c, err := net.Dial("unix", d.data)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // only after answers
	var rsp []byte
	for _, cmd := range cmds {
		rsp = mustSend(d.t, c, cmd)
	}
	return rsp
}

// Commands for tests that talk to a TPM themselves.
var (
	cmdStartup   = hx("80010000000c000001440000")
	cmdShutdown  = hx("80010000000c000001450000")
	cmdPCRRead0  = hx("80010000001400000" + "17e00000001000b03010000")
	cmdPCRRead16 = hx("80010000001400000" + "17e00000001000b03000001")
	cmdPCRRead17 = hx("80010000001400000" + "17e00000001000b03000002")
)

func hx(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // a constant of this file
	}
	return b
}

// extend16 extends PCR 16 with a byte repeated.
func extend16(v byte) []byte { return extendPCR(16, v) }

func extendPCR(n, v byte) []byte {
	cmd := hx("80020000004100000182000000" + hex.EncodeToString([]byte{n}) + "00000009400000090000000000" + "00000001000b")
	return append(cmd, bytes.Repeat([]byte{v}, 32)...)
}

// define and write make and write an ordinary owner index of 8 octets.
func define(index uint32) []byte {
	cmd := hx("80020000002d0000012a40000001" + "00000009400000090000000000" + "0000" + "000e")
	cmd = binary.BigEndian.AppendUint32(cmd, index)
	return append(cmd, hx("000b000200020000"+"0008")...) // SHA-256, OWNERWRITE and OWNERREAD
}

func write(index uint32, v uint64) []byte {
	cmd := hx("80020000002b0000013740000001")
	cmd = binary.BigEndian.AppendUint32(cmd, index)
	cmd = append(cmd, hx("00000009400000090000000000"+"0008")...)
	cmd = binary.BigEndian.AppendUint64(cmd, v)
	cmd = append(cmd, 0, 0)
	binary.BigEndian.PutUint32(cmd[2:], uint32(len(cmd)))
	return cmd
}

func read(index uint32) []byte {
	cmd := hx("8002000000230000014e40000001")
	cmd = binary.BigEndian.AppendUint32(cmd, index)
	return append(cmd, hx("00000009400000090000000000"+"00080000")...)
}

// value is what a read of eight octets gave.
func value(rsp []byte) uint64 { return binary.BigEndian.Uint64(rsp[16:]) }

func TestIoctl(t *testing.T) {
	need(t, "swtpm_ioctl")
	d := startUnix(t, t.TempDir())
	if out := d.ioctl("-c"); !strings.Contains(out, "ptm capability is 0x1ffff") {
		t.Errorf("capabilities: %s", out)
	}
	d.ioctl("-i")
	d.tpm(cmdStartup, extend16(1))
	if out := d.ioctl("-e"); !strings.Contains(out, "tpmEstablished is 0") {
		t.Errorf("established: %s", out)
	}
	if out := d.ioctl("-g"); !strings.Contains(out, "0x0") {
		t.Errorf("configuration: %s", out)
	}
	if out := d.ioctl("-b", "0"); !strings.Contains(out, "4096") {
		t.Errorf("buffer size: %s", out)
	}
	if out := d.ioctl("--info", "1"); !strings.Contains(out, `"family":"2.0"`) {
		t.Errorf("info: %s", out)
	}
	d.ioctl("-l", "2")
	d.ioctl("-l", "0")
	d.ioctlFails("-l", "5")
	d.ioctl("-C")
	d.ioctlFails("-r", "1")
	// The volatile state survives an init.
	before := d.tpm(cmdPCRRead16)
	d.ioctl("-v")
	d.ioctl("-i")
	if after := d.tpm(cmdPCRRead16); !bytes.Equal(before, after) {
		t.Errorf("PCR 16 was %x, is %x", before, after)
	}
	d.ioctl("-i") // a power cycle: the volatile state was used up
	d.tpm(cmdStartup)
	if after := d.tpm(cmdPCRRead16); bytes.Equal(before, after) {
		t.Error("PCR 16 survived a power cycle")
	}
	d.ioctl("--stop")
	if rsp := d.anyCode(cmdStartup); rsp != 0x101 {
		t.Errorf("a stopped TPM answers 0x%x", rsp)
	}
	d.ioctl("-s")
	if err := d.Wait(20 * time.Second); err != nil {
		t.Errorf("after shutdown: %v", err)
	}
	for _, f := range []string{d.data, d.ctrl} {
		if _, err := os.Stat(f); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was left behind: %v", f, err)
		}
	}
}

func (d *unixDaemon) anyCode(cmd []byte) uint32 {
	d.t.Helper()
	c, err := net.Dial("unix", d.data)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // only after answers
	rsp, err := send(c, cmd)
	if err != nil {
		d.t.Fatal(err)
	}
	return code(rsp)
}

// A measured launch through the control channel ends in PCR 17.
func TestIoctlHash(t *testing.T) {
	need(t, "swtpm_ioctl")
	d := startUnix(t, t.TempDir())
	d.ioctl("-i")
	d.tpm(cmdStartup)
	unset := d.tpm(cmdPCRRead17)
	d.ioctl("-h", "launch code")
	set := d.tpm(cmdPCRRead17)
	if !bytes.HasSuffix(unset, bytes.Repeat([]byte{0xff}, 32)) || bytes.HasSuffix(set, bytes.Repeat([]byte{0xff}, 32)) {
		t.Errorf("PCR 17 was %x, is %x", unset, set)
	}
	if out := d.ioctl("-e"); !strings.Contains(out, "tpmEstablished is 1") {
		t.Errorf("established: %s", out)
	}
	d.ioctl("-r", "3")
	if out := d.ioctl("-e"); !strings.Contains(out, "tpmEstablished is 0") {
		t.Errorf("established: %s", out)
	}
}

// TestMigration moves a running TPM to another folder through state blobs.
func TestMigration(t *testing.T) {
	need(t, "swtpm_ioctl")
	key := filepath.Join(t.TempDir(), "key")
	pwd := filepath.Join(t.TempDir(), "pwd")
	for name, content := range map[string]string{key: strings.Repeat("0123456789abcdef", 4), pwd: "a passphrase"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		args   []string
		config string
		secret bool
	}{
		"plain": {nil, "0x0", false},
		// swtpm_ioctl asks for plain state, which a --key does not prevent.
		"file key":  {[]string{"--key", "file=" + key + ",format=hex,mode=aes-256-cbc"}, "0x1", false},
		"migration": {[]string{"--migration-key", "pwdfile=" + pwd}, "0x2", true},
		"both":      {[]string{"--key", "pwdfile=" + pwd + ",kdf=sha512", "--migration-key", "file=" + key + ",format=hex,mode=aes-256-cbc"}, "0x3", true},
	} {
		t.Run(name, func(t *testing.T) {
			from := startUnix(t, t.TempDir(), c.args...)
			from.ioctl("-i")
			from.tpm(cmdStartup, define(0x01500001), write(0x01500001, 0x4d49475241544521), extend16(7))
			if out := from.ioctl("-g"); !strings.Contains(out, c.config) {
				t.Errorf("configuration: %s", out)
			}
			pcr := from.tpm(cmdPCRRead16)
			for _, b := range []string{"permanent", "volatile", "savestate"} {
				from.ioctl("--save", b, from.path(b))
			}
			if plain := strings.Contains(from.read("permanent"), "MIGRATE!"); plain == c.secret {
				t.Errorf("state readable in the blob: %v", plain)
			}
			from.ioctl("-s")
			to := startUnix(t, t.TempDir(), c.args...)
			for _, b := range []string{"permanent", "volatile"} {
				to.ioctl("--load", b, from.path(b))
			}
			to.ioctl("-i")
			if v := value(to.tpm(read(0x01500001))); v != 0x4d49475241544521 {
				t.Errorf("NV holds %x", v)
			}
			if after := to.tpm(cmdPCRRead16); !bytes.Equal(pcr, after) {
				t.Errorf("PCR 16 was %x, is %x", pcr, after)
			}
			to.ioctlFails("--load", "permanent", from.path("permanent")) // while it runs
			to.ioctl("--stop")
			damaged := []byte(from.read("permanent"))
			damaged[len(damaged)/2] ^= 4
			from.write("damaged", string(damaged))
			to.ioctlFails("--load", "permanent", from.path("damaged"))
			if c.secret {
				stranger := startUnix(t, t.TempDir())
				stranger.ioctlFails("--load", "permanent", from.path("permanent"))
			}
		})
	}
}

// State on disk is encrypted with --key and unreadable without it.
func TestKeys(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	for name, content := range map[string]string{"hex": strings.Repeat("ab", 32), "bin": strings.Repeat("k", 32), "short": strings.Repeat("ab", 16), "bad": "xyz", "pwd": "word"} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := func(s string) string { return strings.ReplaceAll(s, "@", files+"/") }
	for i, spec := range []string{"file=@hex,format=hex,mode=aes-256-cbc", "file=@bin,format=binary,mode=aes-256-cbc", "file=@short,format=hex,mode=aes-cbc",
		"pwdfile=@pwd", "pwdfile=@pwd,kdf=sha512", "pwdfile=@pwd,mode=aes-256-cbc,kdf=pbkdf2"} {
		t.Run(fmt.Sprint(i), func(t *testing.T) { // a comma in the name would end up in paths
			state := filepath.Join(dir, fmt.Sprint(i))
			if err := os.Mkdir(state, 0o700); err != nil {
				t.Fatal(err)
			}
			args := []string{"--flags", "not-need-init,startup-clear", "--key", file(spec)}
			d := startUnix(t, state, args...)
			d.tpm(define(0x01500001), write(0x01500001, 0x5345435245544e56))
			d.stopNow(t)
			m, err := filepath.Glob(filepath.Join(state, "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range m {
				if b, err := os.ReadFile(f); err != nil || bytes.Contains(b, []byte("SECRETNV")) {
					t.Errorf("%s: plain text, or %v", f, err)
				}
			}
			if v := value(startUnix(t, state, args...).stopAfter(t, read(0x01500001))); v != 0x5345435245544e56 {
				t.Errorf("NV holds %x", v)
			}
			for _, other := range []string{"", "file=@bin,format=binary,mode=aes-256-cbc", "pwdfile=@hex"} {
				if other == spec {
					continue
				}
				wrong := args[:2:2]
				if other != "" {
					wrong = append(wrong, "--key", file(other))
				}
				if out := refused(t, state, wrong...); !strings.Contains(out, "key") {
					t.Errorf("with key %q: %s", other, out)
				}
			}
		})
	}
	for _, spec := range []string{"file=@bad,format=hex", "file=@none", "file=@pwd,format=binary", "mode=aes-cbc"} {
		refused(t, dir, "--flags", "not-need-init", "--key", file(spec))
	}
	// remove= deletes the file once it was read.
	d := startUnix(t, t.TempDir(), "--key", file("file=@hex,format=hex,mode=aes-256-cbc,remove=true"))
	if _, err := os.Stat(filepath.Join(files, "hex")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("key file still there: %v", err)
	}
	d.stopNow(t)
}

func (d *unixDaemon) stopNow(t *testing.T) {
	t.Helper()
	if err := d.Stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
}

func (d *unixDaemon) stopAfter(t *testing.T, cmd []byte) []byte {
	t.Helper()
	rsp := d.tpm(cmd)
	d.stopNow(t)
	return rsp
}

// refused wants vtpmd not to start, and returns what it said.
func refused(t *testing.T, state string, args ...string) string {
	t.Helper()
	return refusedWith(t, append([]string{"socket", "--tpm2", "--tpmstate", "dir=" + state, "--ctrl", "type=unixio,path=" + filepath.Join(t.TempDir(), "c")}, args...)...)
}

func refusedWith(t *testing.T, args ...string) string {
	t.Helper()
	p, err := tpmproc.Start(nil, vtpmd, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	var exit *exec.ExitError
	if err := p.Wait(20 * time.Second); !errors.As(err, &exit) || exit.ExitCode() < 1 || exit.ExitCode() > 2 {
		t.Fatalf("%v: %v, want a refusal\n%s", args, err, p.Output())
	}
	return p.Output()
}

// pcrOf is what a SHA-256 PCR holds after extends with octets repeated.
func pcrOf(values ...byte) []byte {
	pcr := make([]byte, 32)
	for _, v := range values {
		sum := sha256.Sum256(append(pcr, bytes.Repeat([]byte{v}, 32)...))
		pcr = sum[:]
	}
	return pcr
}
