package clienttest

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"xenvtpm/tools/vtpmd/tpmproc"
)

// machineLimit bounds everything that a machine under emulation does at once: it is
// for a machine that hangs, not for one that is slow.
const machineLimit = 8 * time.Minute

// vm is a machine with a vtpmd of its own, a console on which one can type, and QEMU's monitor.
type vm struct {
	t     *testing.T
	qemu  *tpmproc.Process
	tpm   *tpmproc.Process
	state string

	console net.Conn
	monitor *json.Decoder
	qmp     net.Conn

	mu   sync.Mutex
	text strings.Builder // what came on the console
}

// spec says what machine it shall be.
type spec struct {
	device string // tpm-tis or tpm-crb
	word   string // of the kernel's command line, for the guest
	// firmware is "", which is SeaBIOS, or a name of firmwares.
	firmware string
	incoming string   // what QEMU's option of that name says, or nothing
	tpm      []string // arguments of vtpmd
	qemu     []string // more arguments of QEMU
	state    string   // of vtpmd; a new folder where it is empty
}

// newVM starts vtpmd, then QEMU, for a migration.
func (l *linux) newVM(t *testing.T, device, incoming string, tpmArgs ...string) *vm {
	t.Helper()
	return l.machine(t, spec{device: device, word: "vtpmd.migrate", incoming: incoming, tpm: tpmArgs, qemu: []string{"-m", "256", "-no-reboot"}})
}

// machine starts vtpmd, then QEMU.
func (l *linux) machine(t *testing.T, s spec) *vm {
	t.Helper()
	run := shortDir(t)
	if s.state == "" {
		s.state = t.TempDir()
	}
	v := &vm{t: t, state: s.state}
	v.tpm = startControl(t, v.state, filepath.Join(run, "ctrl"), s.tpm...)
	// QEMU connects to us, so that no word of the console is lost.
	console, monitor := listenUnix(t, filepath.Join(run, "con")), listenUnix(t, filepath.Join(run, "qmp"))
	args := []string{"-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-cpu", "max",
		"-kernel", l.kernel, "-initrd", l.initrd, "-append", "console=ttyS0 quiet panic=-1 no_timer_check " + s.word,
		"-chardev", "socket,id=con,path=" + filepath.Join(run, "con"), "-serial", "chardev:con",
		"-chardev", "socket,id=mon,path=" + filepath.Join(run, "qmp"), "-mon", "chardev=mon,mode=control",
		"-chardev", "socket,id=c,path=" + filepath.Join(run, "ctrl"), "-tpmdev", "emulator,id=t,chardev=c", "-device", s.device + ",tpmdev=t"}
	args = append(append(args, firmwareArgs(t, s.firmware)...), s.qemu...)
	if s.incoming != "" {
		args = append(args, "-incoming", s.incoming)
	}
	var err error
	if v.qemu, err = tpmproc.Start(nil, "qemu-system-x86_64", args...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.qemu.Kill)
	v.console, v.qmp = v.accept(console), v.accept(monitor)
	go v.listen()
	if s.incoming == "" {
		v.greet()
	}
	return v
}

// shortDir is a folder for sockets, whose paths must be short.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vtpmd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a temporary folder
	return dir
}

// startControl runs vtpmd as libvirt does: with a control channel, over which the data socket comes.
func startControl(t *testing.T, state, ctrl string, args ...string) *tpmproc.Process {
	t.Helper()
	program := vtpmd
	if *reference {
		program = "swtpm"
	}
	p, err := tpmproc.Start(nil, program, append([]string{"socket", "--tpm2", "--tpmstate", "dir=" + state, "--ctrl", "type=unixio,path=" + ctrl, "-t"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(ctrl); err == nil {
			return p
		}
		if time.Now().After(end) {
			t.Fatalf("no control socket: %s", p.Output())
		}
	}
}

func listenUnix(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // it was closed after its one client
	return l
}

func (v *vm) accept(l *net.UnixListener) net.Conn {
	v.t.Helper()
	if err := l.SetDeadline(time.Now().Add(machineLimit)); err != nil {
		v.t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		v.fatalf("QEMU does not come: %v", err)
	}
	v.t.Cleanup(func() { _ = c.Close() }) // QEMU is gone by then
	return c
}

func (v *vm) listen() {
	b := make([]byte, 4096)
	for {
		n, err := v.console.Read(b)
		v.mu.Lock()
		v.text.Write(b[:n])
		v.mu.Unlock()
		if err != nil {
			return // QEMU ended
		}
	}
}

// said is what came on the console so far.
func (v *vm) said() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.text.String()
}

func (v *vm) fatalf(format string, a ...any) {
	v.t.Helper()
	v.t.Fatalf(format+"\nconsole: %s\nQEMU: %s\nvtpmd: %s", append(a, v.said(), v.qemu.Output(), v.tpm.Output())...)
}

// expect waits for a text on the console, or on the consoles of several machines one after another.
func (v *vm) expect(text string, before ...*vm) {
	v.t.Helper()
	for end := time.Now().Add(machineLimit); ; time.Sleep(5 * time.Millisecond) {
		var all strings.Builder
		for _, b := range before {
			all.WriteString(b.said())
		}
		all.WriteString(v.said())
		switch {
		case strings.Contains(all.String(), text):
			return
		case strings.Contains(all.String(), "vtpmd: error"):
			v.fatalf("waiting for %q", text)
		case time.Now().After(end):
			v.fatalf("no %q in time", text)
		}
		select {
		case <-v.qemu.Done():
			if !strings.Contains(v.said(), text) {
				v.fatalf("QEMU ended before %q", text)
			}
		default:
		}
	}
}

// enter types a line and waits for its echo: then the guest's kernel has it.
func (v *vm) enter(word string) {
	v.t.Helper()
	before := strings.Count(v.said(), word+"\r\n")
	if _, err := v.console.Write([]byte(word + "\n")); err != nil {
		v.fatalf("console: %v", err)
	}
	for end := time.Now().Add(machineLimit); strings.Count(v.said(), word+"\r\n") == before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			v.fatalf("no echo of %q", word)
		}
	}
}

// greet begins a conversation with QEMU's monitor.
func (v *vm) greet() {
	v.t.Helper()
	v.monitor = json.NewDecoder(v.qmp)
	var hello map[string]any
	if err := v.monitor.Decode(&hello); err != nil || hello["QMP"] == nil {
		v.fatalf("monitor: %v, %v", hello, err)
	}
	v.ask("qmp_capabilities", nil)
}

// ask runs a monitor command.
func (v *vm) ask(command string, args any) map[string]any {
	v.t.Helper()
	m := map[string]any{"execute": command}
	if args != nil {
		m["arguments"] = args
	}
	if err := v.qmp.SetDeadline(time.Now().Add(machineLimit)); err != nil {
		v.t.Fatal(err)
	}
	if err := json.NewEncoder(v.qmp).Encode(m); err != nil {
		v.fatalf("%s: %v", command, err)
	}
	for {
		var r struct {
			Return map[string]any
			Error  any
			Event  string
		}
		if err := v.monitor.Decode(&r); err != nil || r.Error != nil {
			v.fatalf("%s: %v, %v", command, r.Error, err)
		}
		if r.Event == "" {
			return r.Return
		}
	}
}

// until asks until a field has a value, and not one of the bad ones.
func (v *vm) until(command, field string, want any, bad ...any) {
	v.t.Helper()
	for end := time.Now().Add(machineLimit); ; time.Sleep(10 * time.Millisecond) {
		got := v.ask(command, nil)
		if got[field] == want {
			return
		}
		for _, b := range bad {
			if got[field] == b {
				v.fatalf("%s: %v", command, got)
			}
		}
		if time.Now().After(end) {
			v.fatalf("%s: %v, want %v", command, got, want)
		}
	}
}

// send sends the machine away; this one stops.
func (v *vm) send(uri string) {
	v.t.Helper()
	v.ask("migrate", map[string]string{"uri": uri})
	v.until("query-migrate", "status", "completed", "failed", "cancelled")
}

// migrate sends the machine away, then ends this one.
func (v *vm) migrate(uri string) {
	v.t.Helper()
	v.send(uri)
	v.ask("quit", nil)
	v.ended()
}

// ended waits until QEMU and, with it, vtpmd are gone.
func (v *vm) ended() {
	v.t.Helper()
	if err := v.qemu.Wait(machineLimit); err != nil {
		v.fatalf("QEMU: %v", err)
	}
	if err := v.tpm.Wait(machineLimit); err != nil {
		v.fatalf("vtpmd: %v", err)
	}
}
