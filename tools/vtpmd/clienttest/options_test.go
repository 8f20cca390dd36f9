package clienttest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"xenvtpm/tools/vtpmd/options"
	"xenvtpm/tools/vtpmd/tpmproc"
)

// lab is where an option is tried: a folder for state and one for everything else.
type lab struct {
	t          *testing.T
	state, dir string
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) file(name, content string) string {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return l.path(name)
}

func (l *lab) content(name string) string {
	l.t.Helper()
	b, err := os.ReadFile(l.path(name))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b)
}

// started is what most rows begin with.
var started = []string{"--flags", "not-need-init,startup-clear"}

// serve runs vtpmd socket with a data socket that waits; more may name another one.
func (l *lab) serve(files []*os.File, more ...string) *unixDaemon {
	l.t.Helper()
	d := l.bare(files, append(slices.Concat([]string{"socket", "--tpm2", "--tpmstate", "dir=" + l.state, "--server", "type=unixio,path=" + l.path("data"),
		"--ctrl", "type=unixio,path=" + l.path("ctrl")}, started), more...)...)
	waitFor(l.t, d.Process, d.data)
	waitFor(l.t, d.Process, d.ctrl)
	return d
}

// bare runs vtpmd with exactly these arguments.
func (l *lab) bare(files []*os.File, args ...string) *unixDaemon {
	l.t.Helper()
	p, err := tpmproc.Start(files, vtpmd, args...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(p.Kill)
	return &unixDaemon{client: client{t: l.t, dir: l.dir}, Process: p, state: l.state, data: l.path("data"), ctrl: l.path("ctrl")}
}

// mode wants a file's mode; umask is that of the tests.
func (l *lab) mode(path string, want os.FileMode) {
	l.t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		l.t.Fatal(err)
	}
	if st.Mode().Perm() != want {
		l.t.Errorf("%s: mode %o, want %o", path, st.Mode().Perm(), want)
	}
}

// owner wants a file's owner, as user or group.
func (l *lab) owner(path string, group bool, want uint32) {
	l.t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		l.t.Fatal(err)
	}
	if got := map[bool]uint32{false: st.Uid, true: st.Gid}[group]; got != want {
		l.t.Errorf("%s belongs to %d, want %d", path, got, want)
	}
}

// out opens a file for a descriptor of vtpmd's.
func (l *lab) out(name string) *os.File {
	l.t.Helper()
	f, err := os.Create(l.path(name))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = f.Close() }) // vtpmd has its own
	return f
}

// says wants a text in what a refused vtpmd prints.
func (l *lab) says(text string, args ...string) {
	l.t.Helper()
	if out := refusedWith(l.t, args...); !strings.Contains(out, text) {
		l.t.Errorf("%v: %s; want %q", args, out, text)
	}
}

// reached wants a TPM at an address.
func (l *lab) reached(p *tpmproc.Process, network, address string) {
	l.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		c, err := net.Dial(network, address)
		if err == nil {
			defer func() { _ = c.Close() }() // after its answer
			mustSend(l.t, c, cmdPCRRead16)
			return
		}
		if time.Now().After(end) {
			l.t.Fatalf("%v: %s", err, p.Output())
		}
	}
}

// port is one that nobody has now.
func (l *lab) port() string { return strconv.Itoa(freePort(l.t)) }

// listens tries the keys that --server and --ctrl share.
func (l *lab) listens(option, key string) {
	l.t.Helper()
	args := slices.Concat([]string{"socket", "--tpm2", "--tpmstate", "dir=" + l.state}, started)
	if option == "--ctrl" {
		// The data socket is there to be asked.
		args = append(args, "--server", "type=unixio,path="+l.path("data"))
	}
	switch key {
	case "mode":
		d := l.bare(nil, append(args, option, "type=unixio,path="+l.path("s")+",mode=0612")...)
		waitFor(l.t, d.Process, l.path("s"))
		l.mode(l.path("s"), 0o612)
	case "uid", "gid":
		if os.Getuid() != 0 {
			l.t.Skip("only root can give sockets away")
		}
		d := l.bare(nil, append(args, option, "type=unixio,path="+l.path("s")+","+key+"=12")...)
		waitFor(l.t, d.Process, l.path("s"))
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			var st syscall.Stat_t
			if syscall.Stat(l.path("s"), &st) == nil && (st.Uid == 12 || st.Gid == 12) {
				break
			}
		}
		l.owner(l.path("s"), key == "gid", 12)
	case "type", "path":
		d := l.bare(nil, append(args, option, "type=unixio,path="+l.path("s"))...)
		waitFor(l.t, d.Process, l.path("s"))
		l.says("type", append(args, option, "type=avian,path="+l.path("x"))...)
	case "port", "bindaddr", "ifname":
		port := l.port()
		spec := "type=tcp,port=" + port
		address := "127.0.0.1:" + port
		switch key {
		case "bindaddr":
			spec, address = spec+",bindaddr=127.0.0.2", "127.0.0.2:"+port
		case "ifname":
			l.says("none0", append(args, option, spec+",bindaddr=fe80::1,ifname=none0")...)
			return
		}
		d := l.bare(nil, append(args, option, spec)...)
		if option == "--server" {
			l.reached(d.Process, "tcp", address)
			return
		}
		l.controlled(d, address)
	case "fd", "clientfd":
		l.inherits(args, option, key)
	}
}

// controlled wants a control channel at an address.
func (l *lab) controlled(d *unixDaemon, address string) {
	l.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			l.capabilities(c)
			return
		}
		if time.Now().After(end) {
			l.t.Fatalf("%v: %s", err, d.Output())
		}
	}
}

func (l *lab) capabilities(c net.Conn) {
	l.t.Helper()
	defer func() { _ = c.Close() }() // after its answer
	got := make([]byte, 8)
	err := c.SetDeadline(time.Now().Add(stepLimit))
	if err == nil {
		_, err = c.Write(hx("00000001"))
	}
	if err == nil {
		_, err = c.Read(got)
	}
	if err != nil || got[7] != 0xff {
		l.t.Errorf("capabilities: %x, %v", got, err)
	}
}

// inherits gives vtpmd one end of a connection.
func (l *lab) inherits(args []string, option, key string) {
	l.t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	theirs, ours := os.NewFile(uintptr(pair[0]), "theirs"), os.NewFile(uintptr(pair[1]), "ours")
	conn, err := net.FileConn(ours)
	if err != nil {
		l.t.Fatal(err)
	}
	l.bare([]*os.File{theirs}, append(args, option, "type=unixio,"+key+"=3")...)
	if err := errors.Join(ours.Close(), theirs.Close()); err != nil {
		l.t.Fatal(err)
	}
	if option == "--ctrl" {
		l.capabilities(conn)
		return
	}
	defer func() { _ = conn.Close() }() // after its answer
	mustSend(l.t, conn, cmdPCRRead16)
}

// keyed makes a TPM with a key, which must be needed to open it again, whatever else the key says.
func (l *lab) keyed(option string, files []*os.File, spec string) {
	l.t.Helper()
	d := l.serve(files, option, spec)
	if option == "--migration-key" {
		ask(l.t, d.control(l.t), "0000000f", "0000000000000002")
		return
	}
	d.tpm(define(0x01500001))
	d.stopNow(l.t)
	if out := refused(l.t, l.state, started...); !strings.Contains(out, "no key was given") {
		l.t.Errorf("without the key: %s", out)
	}
}

// key tries the keys of --key and --migration-key.
func (l *lab) key(option, key string) {
	l.t.Helper()
	word, digits := l.file("word", "words"), l.file("digits", strings.Repeat("ab", 32))
	args := []string{"socket", "--tpm2", "--tpmstate", "dir=" + l.state, "--ctrl", "type=unixio,path=" + l.path("ctrl"), option}
	open := func(name string) []*os.File {
		f, err := os.Open(name)
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { _ = f.Close() }) // only read
		return []*os.File{f}
	}
	switch key {
	case "file":
		l.keyed(option, nil, "file="+digits)
	case "fd":
		l.keyed(option, open(digits), "fd=3")
	case "pwdfile":
		l.keyed(option, nil, "pwdfile="+word)
	case "pwdfd":
		l.keyed(option, open(word), "pwdfd=3")
	case "format":
		l.keyed(option, nil, "format=binary,file="+l.file("raw", strings.Repeat("k", 32)))
		l.says("hexadecimal", append(args, "format=hex,file="+l.path("raw"))...)
	case "mode":
		l.keyed(option, nil, "mode=aes-256-cbc,file="+digits)
		l.says("16 bytes", append(args, "mode=aes-256-cbc,file="+l.file("short", strings.Repeat("ab", 16)))...)
	case "kdf":
		l.keyed(option, nil, "kdf=sha512,pwdfile="+word)
		if option == "--key" {
			l.says("wrong key", append(args, "kdf=pbkdf2,pwdfile="+word, "--flags", "not-need-init")...)
		}
	case "remove":
		l.keyed(option, nil, "remove=true,file="+digits)
		if _, err := os.Stat(digits); !errors.Is(err, os.ErrNotExist) {
			l.t.Errorf("the key's file: %v", err)
		}
	}
}

// locality4 is TPM2_PCR_Reset of PCR 17, which locality 4 may do, with the simulator's header.
func (l *lab) locality4(d *unixDaemon) uint32 {
	l.t.Helper()
	c := dialUnix(l.t, d.data)
	reset := hx("80020000001b0000013d00000011" + "00000009400000090000000000")
	if _, err := c.Write(append(hx("00000008"+"04"+"0000001b"), reset...)); err != nil {
		l.t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := c.Read(b)
	if err != nil || n < 18 {
		l.t.Fatalf("%x, %v", b[:n], err)
	}
	return code(b[4:])
}

// optionEffects has what each option, or key of one, changes that can be seen.
var optionEffects = map[string]func(l *lab){
	"--help": func(l *lab) {
		if out, err := (&client{t: l.t, dir: l.dir}).try(vtpmd, "socket", "--help"); err != nil || !strings.Contains(out, "--tpmstate") {
			l.t.Errorf("%s, %v", out, err)
		}
	},
	"--tpm2": func(l *lab) { l.says("--tpm2", "socket", "--tpmstate", "dir="+l.state, "--server", "type=tcp,port=1") },
	"--print-capabilities": func(l *lab) {
		out := (&client{t: l.t, dir: l.dir}).run(vtpmd, "socket", "--print-capabilities")
		if !strings.HasPrefix(out, `{ "type": "swtpm", "features": [ "tpm-2.0", `) {
			l.t.Error(out)
		}
	},
	"--print-states": func(l *lab) {
		d := l.serve(nil)
		ask(l.t, d.control(l.t), "0000000a", "00000000")
		d.stopNow(l.t)
		out := (&client{t: l.t, dir: l.dir}).run(vtpmd, "socket", "--tpm2", "--print-states", "--tpmstate", "dir="+l.state)
		want := fmt.Sprintf(`{ "type": "swtpm", "states": [ {"name": "permall", "size": %d}, {"name": "volatilestate", "size": %d} ] }`,
			size(l.t, filepath.Join(l.state, "tpm2-00.permall")), size(l.t, filepath.Join(l.state, "tpm2-00.volatilestate")))
		if out != want {
			l.t.Errorf("%s, want %s", out, want)
		}
		l.says("no such file", "socket", "--tpm2", "--print-states", "--tpmstate", "dir="+l.path("none"))
	},
	"--daemon": func(l *lab) {
		d := l.bare(nil, append(slices.Concat([]string{"socket", "--tpm2", "--tpmstate", "dir=" + l.state, "--ctrl", "type=unixio,path=" + l.path("ctrl")}, started), "-d")...)
		if err := d.Wait(20 * time.Second); err != nil {
			l.t.Fatalf("%v: %s", err, d.Output())
		}
		ask(l.t, d.control(l.t), "00000003", "00000000") // it serves, and ends
	},
	"--terminate": func(l *lab) {
		d := l.bare(nil, append(slices.Concat([]string{"socket", "--tpm2", "--tpmstate", "dir=" + l.state, "--ctrl", "type=unixio,path=" + l.path("ctrl")}, started), "-t")...)
		waitFor(l.t, d.Process, d.ctrl)
		if err := d.Wait(20 * time.Second); err != nil {
			l.t.Error(err)
		}
	},
	"--vtpm-proxy": func(l *lab) {
		l.says("belong to vtpmd chardev", "socket", "--tpm2", "--tpmstate", "dir="+l.state, "--vtpm-proxy")
		if _, err := os.Stat("/dev/vtpmx"); err != nil {
			l.says("/dev/vtpmx", "chardev", "--tpm2", "--tpmstate", "dir="+l.state, "--vtpm-proxy")
		} // TestProxy has it in a machine
	},
	"--chardev": func(l *lab) {
		l.says("belong to vtpmd chardev", "socket", "--tpm2", "--tpmstate", "dir="+l.state, "--chardev", "/dev/null")
		l.says("not a character device", "chardev", "--tpm2", "--tpmstate", "dir="+l.state, "--chardev", l.file("plain", ""))
	},
	"--runas": func(l *lab) {
		l.says("nobody-of-that-name", "socket", "--tpm2", "--tpmstate", "dir="+l.state, "--server", "type=tcp,port=1", "--runas", "nobody-of-that-name")
	},
	"--port": func(l *lab) {
		port := l.port()
		d := l.bare(nil, append(slices.Concat([]string{"socket", "--tpm2", "--tpmstate", "dir=" + l.state}, started), "--port", port)...)
		l.reached(d.Process, "tcp", "127.0.0.1:"+port)
	},
	"--fd": func(l *lab) {
		l.inherits(slices.Concat([]string{"socket", "--tpm2", "--tpmstate", "dir=" + l.state}, started), "--server", "fd")
	},

	"--tpmstate dir": func(l *lab) { l.serve(nil); l.mode(filepath.Join(l.state, "tpm2-00.permall"), 0o640) },
	"--tpmstate mode": func(l *lab) {
		l.serve(nil, "--tpmstate", "mode=600,dir="+l.state)
		l.mode(filepath.Join(l.state, "tpm2-00.permall"), 0o600)
	},
	"--tpmstate backend-uri": func(l *lab) {
		l.serve(nil, "--tpmstate", "mode=0604,backend-uri=file://"+l.path("linear"))
		l.mode(l.path("linear"), 0o604)
	},
	"--tpmstate nofsync": func(l *lab) {
		d := l.serve(nil, "--tpmstate", "nofsync,dir="+l.state)
		d.tpm(define(0x01500001))
		l.mode(filepath.Join(l.state, "tpm2-00.permall.spare"), 0o640)
	},
	"--server disconnect": func(l *lab) {
		d := l.serve(nil, "--server", "disconnect,type=unixio,path="+l.path("data"))
		c := dialUnix(l.t, d.data)
		mustSend(l.t, c, cmdPCRRead16)
		closed(l.t, c)
	},

	"--flags not-need-init": func(l *lab) {
		d := startUnix(l.t, l.state, "--flags", "not-need-init")
		if rc := d.anyCode(cmdPCRRead16); rc != 0x100 {
			l.t.Errorf("0x%x", rc)
		}
	},
	"--flags startup-clear": func(l *lab) { startUnix(l.t, l.state, "--flags", "startup-clear").tpm(cmdPCRRead16) },
	"--flags startup-none": func(l *lab) {
		if rc := startUnix(l.t, l.state, "--flags", "startup-none").anyCode(cmdPCRRead16); rc != 0x101 {
			l.t.Errorf("0x%x", rc)
		}
	},
	"--flags startup-state": func(l *lab) {
		d := startUnix(l.t, l.state, started...)
		d.tpm(extendPCR(0, 1), hx("80010000000c000001450001"))
		d.stopNow(l.t)
		if pcr := startUnix(l.t, l.state, "--flags", "startup-state").tpm(cmdPCRRead0); !strings.HasSuffix(string(pcr), string(pcrOf(1))) {
			l.t.Errorf("PCR 0 was not kept: %x", pcr)
		}
	},
	"--flags rsa1024": func(l *lab) {
		parms := hx("80010000001600000" + "18a" + "000100100010040000000000")
		without := []string{"--profile", "name=custom,remove-disabled=fips-host"}
		if rc := startUnix(l.t, l.state, append(without, started...)...).anyCode(parms); rc != 0x1C4 {
			l.t.Errorf("without: 0x%x", rc)
		}
		if rc := startUnix(l.t, l.t.TempDir(), append(without, "--flags", "not-need-init,startup-clear,rsa1024")...).anyCode(parms); rc != 0 {
			l.t.Errorf("0x%x", rc)
		}
	},
	"--print-profiles": func(l *lab) {
		out := (&client{t: l.t, dir: l.dir}).run(vtpmd, "socket", "--tpm2", "--print-profiles")
		if !strings.HasPrefix(out, `{"AvailableProfiles":[{"Name":"default-v1","StateFormatLevel":7,"Commands":"0x11f-0x122,`) {
			l.t.Error(out)
		}
	},
	"--profile name":    func(l *lab) { l.profile(nil, 164, "name=null") },
	"--profile profile": func(l *lab) { l.profile(nil, 185, `profile={"Name":"xenvtpm-v1"}`) },
	"--profile file": func(l *lab) {
		l.profile(nil, 185, "file="+l.file("p.json", `{"Name":"custom", "Commands":"0x11f-0x122,0x124-0x12e,0x130-0x140,0x142-0x159,0x15b-0x15e,0x160-0x165,0x167-0x174,0x176-0x178,0x17a-0x193,0x1a0"}`))
	},
	"--profile fd": func(l *lab) {
		f, err := os.Open(l.file("p.json", `{"Name":"null"}`))
		if err != nil {
			l.t.Fatal(err)
		}
		defer f.Close()
		l.profile([]*os.File{f}, 164, "fd=3")
	},
	"--profile remove-disabled": func(l *lab) {
		d := l.profile(nil, 183, "name=custom,remove-disabled=fips-host")
		if rc := d.anyCode(hx("80010000001200000" + "18a" + "0025002600800043")); rc == 0 {
			l.t.Error("there is Camellia")
		}
	},
	"--flags startup-deactivated": func(l *lab) {
		l.says("TPM 1.2", "socket", "--tpm2", "--tpmstate", "dir="+l.state, "--server", "type=tcp,port=1", "--flags", "startup-deactivated")
	},
	"--locality reject-locality-4": func(l *lab) {
		if rc := l.locality4(l.serve(nil, "--locality", "reject-locality-4")); rc != 0x101 {
			l.t.Errorf("0x%x", rc)
		}
	},
	"--locality allow-set-locality": func(l *lab) {
		set := hx("80010000000b2000100003")
		if rc := l.serve(nil).anyCode(set); rc != 0x143 {
			l.t.Errorf("without it: 0x%x", rc)
		}
		other := &lab{t: l.t, state: l.t.TempDir(), dir: l.t.TempDir()}
		other.serve(nil, "--locality", "allow-set-locality").tpm(set)
	},

	"--log file":   func(l *lab) { l.logs("file="+l.path("log"), nil, "state in "+l.state) },
	"--log fd":     func(l *lab) { l.logs("fd=3", []*os.File{l.out("log")}, "state in "+l.state) },
	"--log prefix": func(l *lab) { l.logs("prefix=[x] ,file="+l.path("log"), nil, "[x] vtpmd ") },
	"--log truncate": func(l *lab) {
		l.file("log", "older\n")
		if text := l.logs("truncate,file="+l.path("log"), nil, "vtpmd"); strings.Contains(text, "older") {
			l.t.Errorf("kept: %s", text)
		}
	},
	"--log level": func(l *lab) {
		for level, want := range map[int][3]bool{0: {}, 1: {true, false, false}, 5: {true, true, false}, 20: {true, true, true}} {
			name := fmt.Sprintf("log%d", level)
			other := &lab{t: l.t, state: l.t.TempDir(), dir: l.t.TempDir()}
			d := other.serve(nil, "--log", fmt.Sprintf("level=%d,file=%s", level, other.path(name)))
			d.tpm(cmdPCRRead16)
			ask(l.t, d.control(l.t), "0000000f", "0000000000000000")
			d.stopNow(l.t)
			text := other.content(name)
			for i, word := range []string{"the TPM has power", "GET_CONFIG", "TPM command 0x17e of 20 octets at locality 0: 0x0"} {
				if strings.Contains(text, word) != want[i] {
					l.t.Errorf("level %d: %q is in the log: %v\n%s", level, word, !want[i], text)
				}
			}
		}
	},
	"--pid file": func(l *lab) {
		d := l.serve(nil, "--pid", "file="+l.path("pid"))
		if text := l.content("pid"); strings.TrimSpace(text) != strconv.Itoa(d.PID()) {
			l.t.Errorf("%q, want %d", text, d.PID())
		}
	},
	"--pid fd": func(l *lab) {
		d := l.serve([]*os.File{l.out("pid")}, "--pid", "fd=3")
		if text := l.content("pid"); strings.TrimSpace(text) != strconv.Itoa(d.PID()) {
			l.t.Errorf("%q, want %d", text, d.PID())
		}
	},
	"--seccomp action": func(l *lab) {
		d := l.serve(nil, "--seccomp", "action=none")
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.PID()))
		if err != nil || !strings.Contains(string(text), "\nSeccomp:\t0\n") {
			l.t.Errorf("%v\n%s", err, text)
		} // TestFilterIsActive has the others
	},
}

// profile starts a TPM with a profile, and wants its revision of the specification.
func (l *lab) profile(files []*os.File, revision uint32, spec string) *unixDaemon {
	l.t.Helper()
	d := l.serve(files, "--profile", spec)
	rsp := d.tpm(hx("80010000001600000" + "17a" + "000000060000010200000001"))
	if len(rsp) != 27 || binary.BigEndian.Uint32(rsp[23:]) != revision {
		l.t.Errorf("%s: %x, want revision %d", spec, rsp, revision)
	}
	return d
}

// logs wants a text in the log of level 1.
func (l *lab) logs(spec string, files []*os.File, want string) string {
	l.t.Helper()
	l.serve(files, "--log", "level=1,"+spec).stopNow(l.t)
	text := l.content("log")
	if !strings.Contains(text, want) {
		l.t.Errorf("%q is not in the log: %s", want, text)
	}
	return text
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// TestEveryOption goes through all options that there are, and all keys of those that are lists.
func TestEveryOption(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0)) // of the files' modes
	for _, option := range slices.Sorted(maps.Keys(options.All)) {
		keys := options.All[option]
		if keys == nil {
			keys = []string{""}
		}
		for _, key := range keys {
			name := strings.TrimSpace(option + " " + key)
			t.Run(name, func(t *testing.T) {
				l := &lab{t: t, state: t.TempDir(), dir: shortDir(t)}
				effect := optionEffects[name]
				switch {
				case effect != nil:
					effect(l)
				case option == "--server" || option == "--ctrl":
					l.listens(option, key)
				case option == "--key" || option == "--migration-key":
					l.key(option, key)
				default:
					t.Error("nobody says what this option does")
				}
			})
		}
	}
}
